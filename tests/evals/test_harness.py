"""lm-eval's tasks as benchmarks of ours: what we ask and make of the answers is what lm-eval asks and makes of them."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness_data
import numpy as np
import pytest
import torch

from cpt.config import BenchmarkConfig
from cpt.errors import UserError
from cpt.evals.benchmark import Item, Question, ScoringResources, Unit
from cpt.evals.benchmarks.harness.lm_eval_task import HARNESS, NAMES, PROTOCOL, Harness
from cpt.evals.benchmarks.harness.tasks import data, metrics
from cpt.evals.questions import Choice, as_record, from_record
from cpt.languages import registry

EVERY = {name: type(name, (Harness,), {"name": name}) for name in data.SOURCES}
"""Also the two that have protocols of their own here, for they are tasks of lm-eval too."""
SHOTS = {"sib200": 2, "taxi1500": 2, "flores200": 1, "mgsm_direct": 1, "mgsm_cot": 1, "belebele": 1, "arc": 1}
SHORT = 20
"""Tokens that the tiny model generates at most, which is all that time allows."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("harness")
    harness_data.write(path)
    return path


def benchmark(name: str, folder: Path, shots: int = 0, items: int | None = None) -> Harness:
    return EVERY[name](BenchmarkConfig([PROTOCOL], shots, items), folder / data.place(name), ScoringResources())


def unit(name: str) -> Unit:
    return Unit(name, harness_data.LANGUAGES[name], "", PROTOCOL)


@pytest.fixture(scope="module")
def model() -> Any:
    """lm-eval's own way to ask a model, over a tiny one with random weights that reads bytes."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({token: i for i, token in enumerate(["<s>", "</s>", *letters])}, []))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.5,
    )
    return HFLM(pretrained=LlamaForCausalLM(config).eval(), tokenizer=tokenizer, batch_size=8, device="cpu")


def answer(model: Any, questions: list[Question]) -> list[Item]:
    """Our questions, put by lm-eval's model; what is kept has been through JSON as on disk."""
    from lm_eval.api.instance import Instance

    requests: dict[str, list[Instance]] = {"loglikelihood": [], "generate_until": []}
    for question in questions:
        request = question.request
        if isinstance(request, Choice):
            requests["loglikelihood"] += [(request.prompt, ending) for ending in request.endings]
        else:
            limits = {"until": list(request.stops), "max_gen_toks": min(request.tokens, SHORT), "do_sample": False}
            requests["generate_until"].append((request.prompt, limits))
    given = {
        kind: iter(getattr(model, kind)([Instance(kind, {}, args, 0) for args in several], disable_tqdm=True))
        for kind, several in requests.items()
        if several
    }
    items = []
    for question in questions:
        request = question.request
        if isinstance(request, Choice):
            found: Any = [next(given["loglikelihood"]) for _ in request.endings]
        else:
            found = next(given["generate_until"])
        record = json.loads(json.dumps([as_record(request), question.facts, found]))
        items.append(Item(from_record(record[0]), record[1], record[2]))
    return items


@pytest.fixture
def groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Our task files as plain lm-eval sees them, over the files and languages of this test."""
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("EMMA500_DATA", str(folder))
    return TaskManager(include_path=data.HERE, include_defaults=False)


def test_scores_are_those_of_plain_lm_eval_on_the_same_files(folder: Path, model: Any, groups: Any) -> None:
    """Every benchmark on its files in their layout: HFLM in lm-eval's own loop, and our questions and measures."""
    from lm_eval import simple_evaluate

    tasks = []
    for name, language in harness_data.LANGUAGES.items():
        spec = data.member(name, language)
        read = {**_loaded_group(name), **spec, "task": f"{name}::{language}", "num_fewshot": SHOTS.get(name, 0)}
        tasks += groups.load(read)["tasks"].values()
    plain = simple_evaluate(
        model,
        tasks=tasks,
        task_manager=groups,
        bootstrap_iters=0,
        log_samples=False,
        gen_kwargs={"max_gen_toks": SHORT},
    )
    checked = 0
    for name, language in harness_data.LANGUAGES.items():
        ours = benchmark(name, folder, SHOTS.get(name, 0))
        ours.check(unit(name))
        assert all(path.exists() for path in ours.files(unit(name)))
        items = answer(model, ours.questions(unit(name), encode=_no_tokens))
        measured = {one.metric: one for one in ours.measure(unit(name), items)}
        expected = plain["results"][f"{name}::{language}"]
        assert expected["sample_len"] >= 5
        for (metric, kind), called in NAMES.items():
            if f"{metric},{kind}" in expected:
                one = measured.pop(called)
                value = one.score(one.statistics.sum(axis=0))
                assert value == pytest.approx(expected[f"{metric},{kind}"], abs=1e-9), (name, called)
                assert len(one.statistics) == expected["sample_len"]
                checked += 1
        assert not measured
    assert checked == len(EVERY) + 2 + 2 + 3  # normalised accuracy, strict matches, chrF++ of summaries


def _loaded_group(name: str) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    kept = load_yaml(data.HERE / f"{name}.yaml")
    return {key: value for key, value in kept.items() if key not in ("group", "aggregate_metric_list", "metadata")}


def _no_tokens(texts: list[str]) -> list[list[int]]:
    raise AssertionError("lm-eval's tasks do not depend on a tokenizer")


def test_the_group_of_all_twelve_loads_and_passes_lm_evals_validation(
    groups: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lm_eval._cli.harness import HarnessCLI

    names = ["emma500", *(f"emma500_{name}" for name in data.SOURCES)]
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda include_path: groups)  # not its own 13,000 tasks
    command = ["lm-eval", "validate", "--tasks", ",".join(names), "--include_path", str(data.HERE)]
    monkeypatch.setattr("sys.argv", command)
    cli = HarnessCLI()
    cli.execute(cli.parse_args())
    assert "All tasks found and valid" in capsys.readouterr().out
    everything = groups.load("emma500")
    assert everything["group_map"]["emma500"] == names[1:]
    pair = {"flores200": ["eng_Latn-lao_Laoo", "lao_Laoo-eng_Latn"]}
    found = {name: pair.get(name, [language]) for name, language in harness_data.LANGUAGES.items()}
    assert set(everything["tasks"]) == {f"emma500_{name}::{code}" for name, codes in found.items() for code in codes}
    assert all(
        task.fewshot_context(task.eval_docs[0], 0) for name, task in everything["tasks"].items() if "xnli" not in name
    )


def test_a_group_is_over_the_languages_that_are_chosen(groups: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMA500_LANGUAGES", "zul_Latn,tha_Thai,lao_Laoo")
    monkeypatch.setenv("EMMA500_PAIRS", "all")
    assert [one["task"] for one in data.members("xcopa")] == ["tha_Thai"]
    assert len(data.members("flores200")) == 6
    monkeypatch.setenv("EMMA500_LANGUAGES", "zul_Latn,eng_Latn")
    monkeypatch.delenv("EMMA500_PAIRS")
    with pytest.raises(FileNotFoundError, match=r"devtest/zul_Latn.devtest: not found"):
        groups.load("emma500_flores200")


SHIPPED = {
    "xcopa": "xcopa/default_{}.yaml",
    "xstorycloze": "xstorycloze/default_{}.yaml",
    "xnli": "xnli/xnli_{}.yaml",
    "belebele": "belebele/belebele_{}.yaml",
    "arc": "okapi/arc_multilingual/arc_{}.yaml",
    "mgsm_direct": "mgsm/direct/mgsm_direct_{}.yaml",
    "mgsm_cot": "mgsm/native_cot/mgsm_native_cot_{}.yaml",
}
"""Where lm-eval keeps its own tasks of the same benchmarks."""


@pytest.mark.parametrize("name", SHIPPED)
def test_prompts_are_those_of_lm_evals_own_tasks(name: str, folder: Path) -> None:
    """In the language of the files: its templates over our rows, and ours, give the same requests, shots included."""
    from lm_eval.tasks import TaskManager

    language = harness_data.LANGUAGES[name]
    shots = SHOTS.get(name, 0)
    ours = benchmark(name, folder, shots)
    theirs = _theirs(name, data.codes(name)[language])
    read = {"custom_dataset": _splits(name, language, folder), "dataset_path": None, "num_fewshot": shots}
    given = {**theirs, **read, "fewshot_split": theirs.get("fewshot_split", "train"), "task": f"theirs_{name}"}
    [task] = TaskManager(include_defaults=False).load(given)["tasks"].values()
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    asked = [instance.args for instance in task.instances]
    mine = [instance.args for instance in ours._task(unit(name)).instances]
    assert [args[0] for args in mine] == [args[0] for args in asked]
    if name.startswith("mgsm"):
        assert all(mine[i][1]["until"] == asked[i][1]["until"] for i in range(len(mine)))
        patterns = [one["filter"][0].get("regex_pattern") for one in data.member(name, language)["filter_list"]]
        assert patterns == [one["filter"][0].get("regex_pattern") for one in theirs["filter_list"]]
    else:
        assert mine == asked


def _theirs(name: str, code: str) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(importlib.resources.files("lm_eval") / "tasks" / SHIPPED[name].format(code))


def _splits(name: str, language: str, folder: Path) -> Callable[..., Any]:
    def loaded(**_: Any) -> Any:
        found = data.load(name, language, str(folder / data.place(name)))
        if name == "arc":  # theirs hands on the number of a question, which ours has no use for
            found = type(found)({key: split.add_column("id", range(len(split))) for key, split in found.items()})
        shots = found.get("shots", found["test"])
        validation = shots if name in ("xcopa", "arc") else found["test"]
        return {"test": found["test"], "validation": validation, "eval": found["test"], "train": shots}

    return loaded


def test_words_of_every_language_are_lm_evals_own() -> None:
    """What a language's prompt has of its own, in every language of the benchmark and not only the one above."""
    for language, code in data.codes("xnli").items():
        words = data._words()["xnli"][code]
        text = _theirs("xnli", code)["doc_to_choice"]
        assert all(f'premise+", {words["right"]}? {words[key]}, "' in text for key in ("yes", "also", "no")), language
    for language, code in data.codes("xcopa").items():
        connector = _theirs("xcopa", code)["doc_to_text"].keywords["connector"]
        assert data._words()["xcopa"][code] == connector, language
    for language, code in data.codes("mgsm_cot").items():
        words, cot, direct = data._words()["mgsm"][code], _theirs("mgsm_cot", code), _theirs("mgsm_direct", code)
        assert f'{{{{"{words["question"]} "+question+"\\n{words["steps"]}"}}}}' in cot["doc_to_text"], language
        assert f'{{{{"{words["question"]} "+question+"\\n{words["answer"]}"}}}}' in direct["doc_to_text"], language
        assert cot["filter_list"][0]["filter"][0]["regex_pattern"] == words["result"]
        assert cot["generation_kwargs"]["until"][0] == words["question"]
        assert f"answer[{len(words['steps']) + 1}:]" in cot["doc_to_target"]


def test_every_language_of_the_registry_is_known_under_one_name() -> None:
    assert {code: data._table()[code]["name"] for code in registry()} == {c: one.name for c, one in registry().items()}
    for name in HARNESS:
        units = benchmark(name, Path()).units(list(registry()))
        assert units, name
        assert all(one.protocol == PROTOCOL and one.task == name for one in units)
    assert len(benchmark("taxi1500", Path()).units(list(registry()))) == len(registry())
    assert not benchmark("xcopa", Path()).units(["zul_Latn"])


def test_items_limit_the_documents_and_a_changed_file_is_noticed(folder: Path, tmp_path: Path) -> None:
    few = benchmark("belebele", folder, items=2)
    questions = few.questions(unit("belebele"), _no_tokens)
    assert [one.facts["document"] for one in questions] == [0, 1]
    assert questions[0].request.endings == (" A", " B", " C", " D")
    items = [
        Item(one.request, one.facts, [[-1.0, False], [-2.0, False], [-3.0, False], [-4.0, False]]) for one in questions
    ]
    [accuracy, _] = few.measure(unit("belebele"), items)
    assert accuracy.metric == "accuracy"
    assert np.array_equal(accuracy.statistics, [[1, 1], [0, 1]])
    harness_data.belebele(tmp_path / "belebele")
    path = tmp_path / "belebele" / "data" / "zul_Latn.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("mude", "mkhulu"), encoding="utf-8")
    with pytest.raises(UserError, match="evaluate it again"):
        benchmark("belebele", tmp_path, items=2).measure(unit("belebele"), items)


def test_spaces_before_an_ending_belong_to_it(folder: Path) -> None:
    """As lm-eval counts them; one story here ends in a space."""
    questions = benchmark("xstorycloze", folder).questions(unit("xstorycloze"), _no_tokens)
    assert questions[2].request.prompt.endswith("велик.")
    assert questions[2].request.endings == ("  Лето пришло.", "  Они радовались.")


STORY_LINE = "row 1: column 'AnswerRightEnding' is missing; expected InputStoryid, InputSentence1"
BROKEN = [
    ("belebele", "data/zul_Latn.jsonl", '"mc_answer2"', '"answer2"', "row 1: column 'mc_answer2' is missing; expected"),
    (
        "belebele",
        "data/zul_Latn.jsonl",
        '"correct_answer_num": "1"',
        '"correct_answer_num": "5"',
        "expected one of 1, 2",
    ),
    ("xcopa", "data/th/test.th.jsonl", "{", "[", "test.th.jsonl:1: not valid JSON"),
    ("taxi1500", "zho_Hani/zho_Hani_test.tsv", "\tGrace\t", "\tgrace\t", "row 5: label is 'grace'; expected one of"),
    ("taxi1500", "zho_Hani/zho_Hani_test.tsv", "\tGrace\t", "\t", "row 5: not as many fields as columns"),
    ("xstorycloze", "spring2016.val.ru.tsv.split_20_80_eval.tsv", "AnswerRightEnding", "Answer", STORY_LINE),
    ("arc", "data/mr/test.jsonl", '"answer": "B"', '"answer": "F"', "answer is 'F'; expected one of A, B"),
    ("flores200", "devtest/lao_Laoo.devtest", "ຝົນຕົກ.\n", "", "parallel; sentences found: eng_Latn 5, lao_Laoo 4"),
    ("xlsum", "kyrgyz_test.jsonl", '"summary"', '"abstract"', "column 'summary' is missing"),
    (
        "xlsum",
        "kyrgyz_test.jsonl",
        '"summary": "Команда утту."',
        '"summary": ["a"]',
        "row 4: summary is ['a']; expected",
    ),
    ("xlsum", "kyrgyz_test.jsonl", "Команда", "\\ud83d", r"row 4: summary has half a character ('\ud83d'); expected"),
    ("belebele", "data/zul_Latn.jsonl", '"Unjani umfula? "', "5", "row 1: question is 5; expected a text"),
    ("xcopa", "data/th/test.th.jsonl", "ฝนตกหนัก.", " ", "row 3: premise is ' '; expected a text that is not empty"),
    ("xcopa", "data/th/test.th.jsonl", '"label": 1', '"label": [1]', "row 3: label is [1]; expected one of 0, 1"),
    (
        "arc",
        "data/mr/test.jsonl",
        '"answer": "C"',
        '"answer": "D"',
        "row 3: answer is 'D', but option_d is empty; found",
    ),
    ("mgsm", "mgsm_th.tsv", "1,450\n", "abc\n", "row 3: answer_number is 'abc'; expected a whole number"),
    (
        "mgsm",
        "exemplars.py",
        "{'th'",
        "{{'th'",
        "exemplars.py:2: expected Python with EXEMPLAR_NUMBER_ANSWERS, a list,",
    ),
    ("mgsm", "exemplars.py", "EXEMPLAR_NUMBER", "NUMBER", "found otherwise (no 'EXEMPLAR_NUMBER_ANSWERS'); download"),
    ("mgsm", "exemplars.py", "{'th'", "{'de'", "a q and an a for each under 'th'; found otherwise (no 'th')"),
    ("mgsm", "exemplars.py", "'a':", "'b':", "found otherwise (no 'a')"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "told"), BROKEN)
def test_a_damaged_file_is_named_with_what_was_expected(
    name: str, file: str, old: str, new: str, told: str, tmp_path: Path
) -> None:
    harness_data.WRITERS[name](tmp_path / name)
    path = tmp_path / name / file
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
    assert told in refusal(name, tmp_path)


def refusal(name: str, folder: Path) -> str:
    """What is told before any model is loaded, always with the place of the benchmark's files."""
    called = "mgsm_cot" if name == "mgsm" else name
    with pytest.raises(UserError) as raised:
        benchmark(called, folder).check(unit(called))
    assert str(folder / name) in str(raised.value)
    return str(raised.value)


def test_files_that_are_no_text_or_no_table_are_named(tmp_path: Path) -> None:
    for name in ("xlsum", "xnli", "taxi1500"):
        harness_data.WRITERS[name](tmp_path / name)
    path = tmp_path / "xlsum" / "kyrgyz_test.jsonl"
    path.write_bytes(path.read_bytes().replace("Команда".encode(), "Команда".encode("cp1251")))
    assert "kyrgyz_test.jsonl:4: expected text in UTF-8, found other bytes" in refusal("xlsum", tmp_path)
    path = tmp_path / "xnli" / "hi" / "validation-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    told = refusal("xnli", tmp_path)
    assert "00001.parquet: expected a whole Parquet file (" in told
    assert told.endswith("; download it again")
    path = tmp_path / "taxi1500" / "zho_Hani" / "zho_Hani_test.tsv"
    path.write_text(f"55\tGrace\t{'神' * 140_000}\n", encoding="utf-8")
    assert "zho_Hani_test.tsv:1: expected fields with tabs between them (" in refusal("taxi1500", tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(folder: Path, tmp_path: Path) -> None:
    files = {
        "taxi1500": "zho_Hani/zho_Hani_test.tsv",
        "belebele": "data/zul_Latn.jsonl",
        "xstorycloze": "spring2016.val.ru.tsv.split_20_80_eval.tsv",
        "mgsm": "exemplars.py",
    }
    for name, file in files.items():
        harness_data.WRITERS[name](tmp_path / name)
        path = tmp_path / name / file
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        called, split = ("mgsm_cot", "shots") if name == "mgsm" else (name, "test")
        language = harness_data.LANGUAGES[called]
        assert data.rows(called, language, split, tmp_path / name) == data.rows(called, language, split, folder / name)


def test_one_row_is_too_few_for_a_score(tmp_path: Path) -> None:
    harness_data.WRITERS["belebele"](tmp_path / "belebele")
    path = tmp_path / "belebele" / "data" / "zul_Latn.jsonl"
    path.write_text(path.read_text(encoding="utf-8").split("\n")[0], encoding="utf-8")
    assert refusal("belebele", tmp_path).endswith("zul_Latn.jsonl: 1 rows; at least 2 are needed for a score")


def test_an_answer_is_found_among_the_options_that_are_there(tmp_path: Path) -> None:
    harness_data.WRITERS["arc"](tmp_path)
    path = tmp_path / "data" / "mr" / "test.jsonl"
    first = {**json.loads(path.read_text(encoding="utf-8").split("\n")[0]), "option_c": None, "answer": "D"}
    path.write_text(json.dumps(first), encoding="utf-8")
    [row] = data.rows("arc", "mar_Deva", "test", tmp_path)
    assert row["choices"][row["gold"]] == first["option_d"]


def test_missing_files_and_too_few_examples_are_told(folder: Path, tmp_path: Path) -> None:
    absent = benchmark("xnli", tmp_path)
    assert absent.files(unit("xnli")) == [tmp_path / "xnli" / "hi" / "validation-00000-of-00001.parquet"]
    with pytest.raises(UserError, match=r"hi/validation-00000-of-00001.parquet: not found; xnli has"):
        absent.check(unit("xnli"))
    with pytest.raises(UserError, match="4 rows to draw from, too few for 8 shots"):
        benchmark("mgsm_cot", folder, shots=8).check(unit("mgsm_cot"))


def test_the_hubs_layout_is_read_as_well(folder: Path, tmp_path: Path) -> None:
    rows = [{"question": "2 + 2", "answer": None, "answer_number": 4, "equation_solution": None}] * 5
    harness_data.parquet(tmp_path / "th" / "test-00000-of-00001.parquet", rows)
    [first, *_] = data.rows("mgsm_direct", "tha_Thai", "test", tmp_path)
    assert (first["answer_number"], first["answer"], first["asked"]) == (4, None, "โจทย์:")
    told = [
        json.loads(line) for line in (folder / "xcopa/data/th/test.th.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    harness_data.parquet(tmp_path / "th" / "test-00000-of-00001.parquet", told)
    assert data.rows("xcopa", "tha_Thai", "test", tmp_path) == data.rows("xcopa", "tha_Thai", "test", folder / "xcopa")


def test_rouge_counts_words_and_characters_of_scripts_without_spaces() -> None:
    assert metrics.tokens("It's Wàhálà, 3!") == ["it", "s", "wàhálà", "3"]
    assert metrics.tokens("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert metrics.tokens("ที่นี่ A1你好") == ["ที่", "นี่", "a1", "你", "好"]
    assert metrics.rouge_l("a b c d", "a x c") == pytest.approx(2 * 2 / 7)
    assert metrics.rouge_l("", "a") == metrics.rouge_l("a", "...") == 0.0

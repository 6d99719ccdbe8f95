"""Prompts and shots word for word, intervals on known values, and evaluations that go on where they stopped."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import zstandard
from transformers import LlamaForCausalLM

from cpt.config import BenchmarkConfig, PathsConfig
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.evals.benchmark import Question, ScoringResources, Unit
from cpt.evals.benchmarks import flores200, sib200
from cpt.evals.items import Items, frames
from cpt.evals.metrics.bootstrap import interval, ratio
from cpt.evals.metrics.measured import Score
from cpt.evals.questions import Continuation, ModelRequest
from cpt.evals.scorers.torch_scorer import Scorer
from cpt.evals.suite import BENCHMARKS, Evaluation, Suite, known_scores
from cpt.files import read_lines
from cpt.models.base_model import BaseModel
from cpt.models.toy import STAND_INS, architecture


def test_the_sib_prompt_is_the_studys_up_to_is() -> None:
    shots = [("a b", "travel"), ("c", "sports"), ("d", "health")]
    assert sib200.prompt(shots, "e f") == (
        "Topic Classification: science/technology, travel, politics, sports, health, entertainment, geography.\n\n"
        'The topic of the news "a b" is travel\n'
        'The topic of the news "c" is sports\n'
        'The topic of the news "d" is health\n'
        'The topic of the news "e f" is'
    )


def test_sib_shots_are_drawn_as_the_study_draws_them() -> None:
    train = pd.DataFrame({"text": [f"t{i}" for i in range(50)], "category": ["travel"] * 50})
    random.seed(42)
    seeds = [random.randint(0, 1000) for _ in range(5)]
    expected = [list(train.sample(n=3, random_state=seed)["text"]) for seed in seeds]
    assert [[text for text, _ in shots] for shots in sib200.draw_shots(train, 5, 3)] == expected


def test_the_flores_prompt_is_the_studys() -> None:
    shots = [("one", "ukunye"), ("two", "kubili"), ("three", "kuthathu")]
    assert flores200.prompt(("English", "Zulu"), shots, "four") == (
        "[English]: one\n[Zulu]: ukunye\n[English]: two\n[Zulu]: kubili\n[English]: three\n[Zulu]: kuthathu\n"
        "Translate the following sentence from English to Zulu\n[English]: four\n[Zulu]:"
    )


def test_flores_shots_are_drawn_as_the_study_draws_them() -> None:
    random.seed(42)
    seeds = [random.randint(0, 1000) for _ in range(4)]
    expected = []
    for seed in seeds:
        random.seed(seed)
        expected.append([random.randint(0, 996) for _ in range(3)])
    assert flores200.draw_shots(997, 4, 3) == expected


def test_sib_files_are_read_as_written_and_bad_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text('index_id\tcategory\ttext\n1\ttravel\t"a ""b"" c\nd"\n2\tsports\tNA\n')
    assert list(sib200.read_split(path)["text"]) == ['a "b" c\nd', "NA"]
    path.write_text("index_id\tcategory\ttext\n1\tcooking\tx\n")
    with pytest.raises(UserError, match=r"test\.tsv: category 'cooking' of row 1 is not one of the seven"):
        sib200.read_split(path)
    path.write_text("id\ttext\n1\tx\n")
    with pytest.raises(UserError, match="columns category, index_id are missing"):
        sib200.read_split(path)


def test_an_interval_of_a_proportion_is_near_its_known_width() -> None:
    right = np.array([1.0] * 60 + [0.0] * 40)
    low, high = interval(np.stack([right, np.ones(100)], axis=1), ratio, samples=4000)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 100)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.015)
    assert interval(np.ones((16, 2)), ratio, samples=100) == pytest.approx((0.8064, 1.0), abs=1e-4)  # Wilson's


LANGUAGES = ["eng_Latn", "zul_Latn"]
UNITS = 3 + 2 + 2 * 2 + 2 * 2  # bits per byte with code and of FLORES-200, then both protocols; FLORES-200 both ways


class Killed(BaseException):
    """Ends an evaluation where it stands, as a kill does."""


class Counting:
    """A model that counts the batches it is asked, and dies when it has answered so many."""

    def __init__(self, scorer: Scorer, dies_after: int = 10**9) -> None:
        self.scorer, self.left, self.asked = scorer, dies_after, 0
        self.encode, self.batches = scorer.encode, scorer.batches

    def answer(self, requests: Sequence[ModelRequest]) -> list[Any]:
        if self.asked == self.left:
            raise Killed
        self.asked += 1
        return self.scorer.answer(requests)


def suite_of(folder: Path, bootstrap: int = 100) -> Suite:
    several = {name: ["paper", "sound"] if name in ("sib200", "flores200") else [] for name in BENCHMARKS}
    settings = {name: BenchmarkConfig(several[name], 3, None, 3) for name in TASKS}
    return Suite.of(
        settings, {name: folder / BENCHMARKS[name].paths_key for name in TASKS}, bootstrap, ScoringResources()
    )


TASKS = ("bpb", "bpb_flores", "sib200", "flores200")


def carry_out(suite: Suite, scorer: Callable[[], Any], folder: Path, rank: int = 0, world_size: int = 1) -> None:
    Evaluation(suite, LANGUAGES, scorer, folder, rank, world_size).run()


@pytest.fixture(scope="module")
def scorer(world: ToyWorld) -> Scorer:
    world.benchmarks()
    torch.manual_seed(0)
    model = LlamaForCausalLM(architecture(STAND_INS["l3"]))
    return Scorer(model, BaseModel("toy:l3", "main", world).tokenizer(), "cpu")


@pytest.fixture(scope="module")
def straight(world: ToyWorld, scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    carry_out(suite_of(world.folder), lambda: scorer, folder)
    return folder


def kept(folder: Path) -> dict[str, dict[int, Any]]:
    """Every question with its answer by unit and number, whoever's file it is in."""
    found: dict[str, dict[int, Any]] = {}
    for path in sorted((folder / "items").glob("*.zst")):
        unit = path.name.rsplit(".", 3)[0]
        for record in frames(path)[0]:
            found.setdefault(unit, {})[record["item"]] = record
    return found


def test_a_killed_evaluation_goes_on_at_the_question_where_it_stopped(
    world: ToyWorld, scorer: Scorer, straight: Path, tmp_path: Path
) -> None:
    whole = Counting(scorer)
    carry_out(suite_of(world.folder), lambda: whole, tmp_path / "whole")
    asked = 0
    for dies_after in (2, 9, 10):
        dying = Counting(scorer, dies_after)
        with pytest.raises(Killed):
            carry_out(suite_of(world.folder), repeat(dying).__next__, tmp_path / "broken")
        asked += dying.asked
        torn = max((tmp_path / "broken/items").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        with torn.open("ab") as file:
            file.write(torn.read_bytes()[: torn.stat().st_size // 2])  # what a kill leaves of a batch
    with (tmp_path / "broken/evals.jsonl").open("a") as journal:
        journal.write('{"key": "torn')
    last = Counting(scorer)
    carry_out(suite_of(world.folder), lambda: last, tmp_path / "broken")
    # Of a batch appended twice, whole or cut, nothing is asked again.
    assert asked + last.asked == whole.asked
    assert kept(tmp_path / "broken") == kept(straight)
    assert read_lines(tmp_path / "broken/evals.jsonl") == read_lines(straight / "evals.jsonl")
    assert len(known_scores(straight / "evals.jsonl")) == UNITS


def test_several_processes_ask_the_same_and_the_first_does_what_another_left(
    world: ToyWorld, scorer: Scorer, straight: Path, tmp_path: Path
) -> None:
    second, first = Counting(scorer, dies_after=12), Counting(scorer)
    with pytest.raises(Killed):
        carry_out(suite_of(world.folder), lambda: second, tmp_path, 1, 2)
    carry_out(suite_of(world.folder), lambda: first, tmp_path, 0, 2)
    assert {path.name.split(".")[-3] for path in (tmp_path / "items").iterdir()} == {"0", "1"}
    assert second.asked == 12
    assert kept(tmp_path) == kept(straight)
    assert read_lines(tmp_path / "evals.jsonl") == read_lines(straight / "evals.jsonl")


def test_scores_are_computed_anew_without_a_model(world: ToyWorld, straight: Path, tmp_path: Path) -> None:
    shutil.copytree(straight, tmp_path / "copy")
    (tmp_path / "copy/evals.jsonl").unlink()
    carry_out(suite_of(world.folder), lambda: pytest.fail("no model is needed"), tmp_path / "copy")
    assert read_lines(tmp_path / "copy/evals.jsonl") == read_lines(straight / "evals.jsonl")
    carry_out(suite_of(world.folder, 150), lambda: pytest.fail("no model is needed"), tmp_path / "copy")
    before, after = (known_scores(folder / "evals.jsonl") for folder in (straight, tmp_path / "copy"))
    assert len(after) == 2 * len(before)
    assert [score.value for found in after.values() for score in found][: len(before)]


def test_a_damaged_answer_is_asked_again(world: ToyWorld, scorer: Scorer, straight: Path, tmp_path: Path) -> None:
    shutil.copytree(straight, tmp_path / "copy")
    (tmp_path / "copy/evals.jsonl").unlink()
    path = next((tmp_path / "copy/items").glob("sib200.zul_Latn.sound*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    counting = Counting(scorer)
    carry_out(suite_of(world.folder), lambda: counting, tmp_path / "copy")
    assert 0 < counting.asked < 6
    assert kept(tmp_path / "copy") == kept(straight)


def test_scores_carry_n_and_an_interval(straight: Path) -> None:
    scores = [score for found in known_scores(straight / "evals.jsonl").values() for score in found]
    assert {"bits_per_byte", "accuracy", "chrf++", "copied", "empty", "repeated"} <= {s.metric for s in scores}
    assert all(score.ci_low <= score.value <= score.ci_high for score in scores)
    assert {score.n for score in scores if score.metric in ("bits_per_byte", "accuracy", "chrf++")} == {4, 14, 8}
    assert all("nw:2" in score.signature for score in scores if score.metric == "chrf++")


def test_a_language_without_files_is_left_out_and_a_changed_file_is_scored_anew(
    world: ToyWorld, tmp_path: Path
) -> None:
    world.benchmarks()
    shutil.copytree(world.folder, tmp_path / "copy")
    (tmp_path / "copy/sib200/zul_Latn/test.tsv").unlink()
    suite = suite_of(tmp_path / "copy")
    there, missing = suite.units(LANGUAGES)
    assert missing == [Unit("sib200", "zul_Latn", "", protocol) for protocol in ("paper", "sound")]
    assert len(there) == UNITS - 2
    unit = Unit("bpb", "eng_Latn", "", "")
    before = suite.key(unit)
    with (tmp_path / "copy/heldout/eng_Latn.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    assert suite_of(tmp_path / "copy").key(unit) != before


def test_sides_that_are_not_parallel_are_named(world: ToyWorld, tmp_path: Path) -> None:
    world.benchmarks()
    shutil.copytree(world.folder / "flores200", tmp_path / "flores200")
    path = tmp_path / "flores200/devtest/zul_Latn.devtest"
    lines = path.read_text().splitlines(keepends=True)
    benchmark = flores200.Flores200(BenchmarkConfig(["sound"], 3), tmp_path / "flores200", ScoringResources())
    unit = benchmark.units(LANGUAGES)[0]
    benchmark.check(unit)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match=r"zul_Latn\.devtest: 7 lines, .*eng_Latn\.devtest has 8"):
        benchmark.check(unit)
    path.write_text("".join([*lines[:2], "\n", *lines[3:]]))
    with pytest.raises(UserError, match=r"zul_Latn\.devtest: line 3 is empty"):
        benchmark.check(unit)


def test_texts_may_hold_any_separator(tmp_path: Path) -> None:
    """Many characters end a line for Python, few for files; none of them cuts a record short."""
    odd = [f"before{separator}after" for separator in "\u2028\u2029\x85\x0b\x0c\x1c\r\n\ud800"]
    questions = [Question(Continuation(text, 5), {"reference": text}) for text in odd]
    items = Items(tmp_path, Unit("flores200", "zul_Latn", "en-x", "sound"), "12345678")
    for number, text in enumerate(odd):
        items.append(0, [number], questions, [text])
    assert items.known(questions) == set(range(len(odd)))
    found = items.complete()
    assert found is not None
    assert [item.answer for item in found] == odd


def test_every_item_has_its_own_scores(straight: Path) -> None:
    [path] = (straight / "scores").glob("sib200.zul_Latn.sound*")
    lines = [
        json.loads(line) for line in zstandard.ZstdDecompressor().decompress(path.read_bytes()).split(b"\n") if line
    ]
    assert [line["item"] for line in lines] == list(range(14))
    [accuracy] = [
        score.value
        for record in read_lines(straight / "evals.jsonl")
        for score in [Score(**score) for score in record["scores"]]
        if record["unit"] == {"task": "sib200", "language": "zul_Latn", "direction": "", "protocol": "sound"}
    ]
    assert sum(line["scores"]["accuracy"] for line in lines) / 14 == pytest.approx(accuracy)


CHOICES = Path(__file__).parents[2] / "conf/evals"


def test_a_benchmark_brings_its_name_its_folder_and_its_protocols() -> None:
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert hasattr(PathsConfig(), benchmark.paths_key.partition("/")[0])
        assert (CHOICES / f"{name}.yaml").is_file()
    assert {file.stem for file in CHOICES.glob("*.yaml")} - set(BENCHMARKS) == {"emma500"}

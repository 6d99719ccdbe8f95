"""Where the rows of each benchmark come from: files in the layout of its release, or the hub's copy of them.

lm-eval loads this file beside the YAML files that name it, also where nothing of this project is installed, so it
imports nothing of the project. `EMMA500_DATA` is a folder with a folder a benchmark; without it the hub is asked.
`EMMA500_LANGUAGES` chooses languages, by codes as in languages.csv and separated by commas. `EMMA500_PAIRS=all` makes
FLORES-200 every pair of the languages, not only those with English.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import json
import os
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

HERE = Path(__file__).parent
ENGLISH = "eng_Latn"
VERSION = 1.0
"""Of the prompts; raised when one changes, so that lm-eval shows scores of both as different."""
Row = dict[str, Any]

SIB_LABELS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")
TAXI_LABELS = ("Recommendation", "Faith", "Description", "Sin", "Grace", "Violence")
OPTIONS = ("option_a", "option_b", "option_c", "option_d", "option_e")
STORY = {
    "InputStoryid": "story_id",
    **{f"InputSentence{number}": f"input_sentence_{number}" for number in (1, 2, 3, 4)},
    "RandomFifthSentenceQuiz1": "sentence_quiz1",
    "RandomFifthSentenceQuiz2": "sentence_quiz2",
    "AnswerRightEnding": "answer_right_ending",
}
HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, as JSON can hold where a text was cut; nothing that is written as UTF-8 can."""


class Source(NamedTuple):
    """A benchmark's files. `test` is what is evaluated, `shots` what examples are drawn from, if not from `test`.

    Columns are called as in the files. What a column holds is a text, unless `values` or `numbers` have it.
    """

    columns: tuple[str, ...]
    test: tuple[str, ...]
    """Places in its folder, tried in order; the last of them is its place on the hub."""
    shots: tuple[str, ...] = ()
    values: Mapping[str, tuple[Any, ...]] = {}
    """What some columns may hold."""
    numbers: tuple[str, ...] = ()
    """Columns of whole numbers."""
    empty: tuple[str, ...] = ()
    """Columns that may hold nothing; one that is not among `columns` may also be missing."""
    names: tuple[str, ...] = ()
    """Of the columns of a file without a line of names."""
    rename: Mapping[str, str] = {}
    """What columns are called in prompts, where not as in the files."""
    quoted: bool = False
    """Whether fields of a .tsv may stand in quotation marks."""
    folder: str = ""
    hub: str = ""
    revision: str = "main"
    whole: str = ""
    """A data set of the hub that has all languages in one split, told apart by a column `language`."""
    get: str = ""
    """How to get it, where the hub has no open copy."""


_ARTICLE = ("text", "summary")
_ARTICLES = ("{code}_test.jsonl", "{code}.jsonl")
_MGSM = Source(
    columns=("question", "answer_number"),
    numbers=("answer_number",),
    empty=("answer",),
    names=("question", "answer_number"),
    test=("mgsm_{code}.tsv", "{code}/test-00000-of-00001.parquet"),
    shots=("exemplars.py", "{code}/train-00000-of-00001.parquet"),
    folder="mgsm",
    hub="juletxara/mgsm",
)

SOURCES: dict[str, Source] = {
    "sib200": Source(
        columns=("index_id", "category", "text"),
        values={"category": SIB_LABELS},
        test=("{code}/test.tsv", "data/{code}/test.tsv"),
        shots=("{code}/train.tsv", "data/{code}/train.tsv"),
        quoted=True,
        hub="Davlan/sib200",
    ),
    "taxi1500": Source(
        columns=("id", "label", "verse"),
        names=("id", "label", "verse"),
        values={"label": TAXI_LABELS},
        test=("{code}/{code}_test.tsv",),
        shots=("{code}/{code}_train.tsv",),
        get="its Bibles are under licences; ask as github.com/cisnlp/Taxi1500 says",
    ),
    "xcopa": Source(
        columns=("premise", "choice1", "choice2", "question", "label"),
        values={"question": ("cause", "effect"), "label": (0, 1)},
        test=("data/{code}/test.{code}.jsonl", "{code}/test-00000-of-00001.parquet"),
        shots=("data/{code}/val.{code}.jsonl", "{code}/validation-00000-of-00001.parquet"),
        hub="cambridgeltl/xcopa",
    ),
    "xstorycloze": Source(
        columns=tuple(STORY),
        values={"AnswerRightEnding": (1, 2)},
        rename=STORY,
        test=("spring2016.val.{code}.tsv.split_20_80_eval.tsv",),
        shots=("spring2016.val.{code}.tsv.split_20_80_train.tsv",),
        quoted=True,
        hub="juletxara/xstory_cloze",
    ),
    "xnli": Source(
        columns=("premise", "hypothesis", "label"),
        values={"label": (0, 1, 2)},
        test=("{code}/validation-00000-of-00001.parquet",),
        shots=("{code}/test-00000-of-00001.parquet",),
        hub="facebook/xnli",
    ),
    "flores200": Source(
        columns=("sentence",),
        test=("devtest/{code}.devtest",),
        shots=("dev/{code}.dev",),
        get="unpack dl.fbaipublicfiles.com/nllb/flores200_dataset.tar.gz",
    ),
    "xlsum": Source(
        columns=_ARTICLE,
        test=("{code}_test.jsonl", "{code}/test/0000.parquet"),
        shots=("{code}_val.jsonl", "{code}/validation/0000.parquet"),
        hub="csebuetnlp/xlsum",
        revision="refs/convert/parquet",
    ),
    "massivesumm_long": Source(_ARTICLE, _ARTICLES, whole="MaLA-LM/MassiveSumm_long"),
    "massivesumm_short": Source(_ARTICLE, _ARTICLES, whole="MaLA-LM/MassiveSumm_short"),
    "belebele": Source(
        columns=("flores_passage", "question", *(f"mc_answer{n}" for n in "1234"), "correct_answer_num"),
        values={"correct_answer_num": ("1", "2", "3", "4")},
        test=("data/{code}.jsonl",),
        hub="facebook/belebele",
    ),
    "arc": Source(
        columns=("instruction", *OPTIONS, "answer"),
        values={"answer": tuple("ABCDE")},
        empty=OPTIONS[2:],
        test=("data/{code}/test.jsonl",),
        shots=("data/{code}/train.jsonl",),
        hub="alexandrainst/m_arc",
    ),
    "mgsm_direct": _MGSM,
    "mgsm_cot": _MGSM,
}


def place(benchmark: str) -> str:
    """The name of a benchmark's folder: the two forms of MGSM share one."""
    return SOURCES[benchmark].folder or benchmark


@cache
def _table() -> dict[str, dict[str, str]]:
    with (HERE / "languages.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: row for row in csv.DictReader(file)}


@cache
def _words() -> dict[str, dict[str, dict[str, str]]]:
    words: dict[str, dict[str, dict[str, str]]] = json.loads((HERE / "words.json").read_text(encoding="utf-8"))
    return words


def codes(benchmark: str) -> dict[str, str]:
    """The languages of a benchmark, each with its name there. Taxi1500 has more: any folder of it is a language."""
    return {code: row[place(benchmark)] for code, row in _table().items() if row[place(benchmark)]}


def members(benchmark: str) -> list[Row]:
    """The tasks of a benchmark's group, in the form lm-eval gives to tasks inside a group.

    Over the languages that are chosen and it has; else over those there are files of; else over all it has.
    """
    chosen = [code for code in os.environ.get("EMMA500_LANGUAGES", "").split(",") if code]
    known, folder = codes(benchmark), _folder(benchmark)
    if benchmark == "taxi1500" and folder:
        others = {path.name for path in folder.glob("*_*")} - set(known.values())
        known = known | {code: code for code in sorted(others)}
    languages = [code for code in chosen or known if code in known]
    if folder and not chosen:
        languages = [code for code in languages if _file(benchmark, code, "test", folder).exists()]
    if benchmark == "flores200":
        others = set(languages) if os.environ.get("EMMA500_PAIRS") == "all" else {ENGLISH}
        both = {(a, b) for a in languages for b in others if a != b}
        languages = [f"{a}-{b}" for a, b in sorted(both | {(b, a) for a, b in both})]
    return [member(benchmark, language) for language in languages]


def _folder(benchmark: str) -> Path | None:
    root = os.environ.get("EMMA500_DATA")
    return Path(root) / place(benchmark) if root else None


def member(benchmark: str, language: str) -> Row:
    """One task: a language, or a pair of them; MGSM's words to stop at and to look for are its language's."""
    task: Row = {"task": language, "dataset_kwargs": {"benchmark": benchmark, "language": language}}
    task["metadata"] = {"version": VERSION}
    if place(benchmark) == "mgsm":
        words = _words()["mgsm"][codes(benchmark)[language]]
        task["generation_kwargs"] = {"do_sample": False, "until": [words["question"], "</s>", "<|im_end|>"]}
        last = {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
        strict = {"function": "regex", "regex_pattern": words["result"]}
        first = {"function": "remove_whitespace"} if benchmark == "mgsm_direct" else strict
        task["filter_list"] = [
            {"name": "strict-match", "filter": [first, {"function": "take_first"}]},
            {"name": "flexible-extract", "filter": [last, {"function": "take_first"}]},
        ]
    return task


def __getattr__(name: str) -> list[Row]:
    """`!function data.xcopa` is the members of xcopa's group at the time its YAML file is read."""
    if name in SOURCES:
        return members(name)
    raise AttributeError(name)


def load(benchmark: str, language: str, folder: str | None = None, **_: Any) -> Any:
    """What lm-eval calls for a task's data (`custom_dataset`), with what else it hands over left aside."""
    from datasets import Dataset, DatasetDict

    base = Path(folder) if folder else _folder(benchmark)
    splits = {"test": rows(benchmark, language, "test", base)}
    if SOURCES[benchmark].shots:
        try:
            splits["shots"] = rows(benchmark, language, "shots", base)
        except FileNotFoundError:  # examples are asked for in few runs only
            splits["shots"] = []
    return DatasetDict({split: Dataset.from_list(found) for split, found in splits.items()})


def files(benchmark: str, language: str, folder: Path, shots: bool) -> list[Path]:
    """What a task reads in a folder; where a file is in none of its places, the first of them."""
    splits = ["test", "shots"] if shots and SOURCES[benchmark].shots else ["test"]
    return [_file(benchmark, code, split, folder) for split in splits for code in language.split("-")]


def _places(benchmark: str, split: str) -> tuple[str, ...]:
    return SOURCES[benchmark].shots if split == "shots" else SOURCES[benchmark].test


def _file(benchmark: str, language: str, split: str, folder: Path) -> Path:
    code = codes(benchmark).get(language, language)
    paths = [folder / pattern.format(code=code) for pattern in _places(benchmark, split)]
    return next((path for path in paths if path.exists()), paths[0])


def rows(benchmark: str, language: str, split: str, folder: Path | None) -> list[Row]:
    """The rows of a split, checked, with the words of the prompt that depend on the language."""
    sides = [_read(benchmark, code, split, folder) for code in language.split("-")]
    if benchmark != "flores200":
        return sides[0]
    names = [_table()[code]["name"] for code in language.split("-")]
    if len(sides[0]) != len(sides[1]):
        found = ", ".join(f"{code} {len(side)}" for code, side in zip(language.split("-"), sides, strict=True))
        raise ValueError(f"{folder}: the two sides of {split} must be parallel; sentences found: {found}")
    pairs = zip(sides[0], sides[1], strict=True)
    ends = dict(zip(("source_name", "target_name"), names, strict=True))
    return [{"source": a["sentence"], "target": b["sentence"], **ends} for a, b in pairs]


def _read(benchmark: str, language: str, split: str, folder: Path | None) -> list[Row]:
    source, code = SOURCES[benchmark], codes(benchmark).get(language, language)
    if folder is None and source.whole:
        from datasets import load_dataset

        everything = load_dataset(source.whole, split="train")
        return list(everything.filter(lambda row: row["language"] == code))
    path = _file(benchmark, language, split, folder) if folder else _from_hub(benchmark, code, split)
    if not path.exists():
        places = " or ".join(pattern.format(code=code) for pattern in _places(benchmark, split))
        raise FileNotFoundError(f"{path}: not found; {benchmark} has {places} in its folder")
    found = _parsed(path, source, code)
    if not found:
        raise ValueError(f"{path}: no rows; {benchmark} has columns {', '.join(source.columns)}")
    placed = [(row, f"{path}: row {number}") for number, row in enumerate(found, start=1)]
    return [_with_words(benchmark, code, _checked(row, where, source), where) for row, where in placed]


def _from_hub(benchmark: str, code: str, split: str) -> Path:
    source = SOURCES[benchmark]
    if not source.hub:
        raise FileNotFoundError(f"{benchmark} has no open copy on the hub: {source.get}, and set EMMA500_DATA")
    from huggingface_hub import hf_hub_download

    name = _places(benchmark, split)[-1].format(code=code)
    return Path(hf_hub_download(source.hub, name, repo_type="dataset", revision=source.revision))


def _parsed(path: Path, source: Source, code: str) -> list[Row]:
    """The records of a file by its kind; a text that is none of these has a sentence a line."""
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix == ".py":
        return _exemplars(path, code)
    lines = _text(path).removesuffix("\n").split("\n")
    if path.suffix == ".jsonl":
        return [_json(line, path, number) for number, line in enumerate(lines, start=1) if line]
    if path.suffix == ".tsv":
        return _table_of(lines, path, source)
    return [{"sentence": line.strip()} for line in lines]


def _text(path: Path) -> str:
    """A file with its lines ended alike and without the mark that some editors put before the first."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        told = f"expected text in UTF-8, found other bytes ({error.reason}); save it as UTF-8 or download it again"
        raise ValueError(f"{path}:{line}: {told}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_table(path).to_pylist())
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path}: expected a whole Parquet file ({error}); download it again") from error


def _table_of(lines: list[str], path: Path, source: Source) -> list[Row]:
    names = source.names or None
    marks = '"' if source.quoted else None
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if source.quoted else csv.QUOTE_NONE
    reader = csv.DictReader(lines, names, delimiter="\t", quotechar=marks, quoting=quoting)
    try:
        table = list(reader)
    except csv.Error as error:
        told = f"expected fields with tabs between them ({error}); download it again"
        raise ValueError(f"{path}:{reader.line_num + 1}: {told}") from error
    return table[1:] if names and table and table[0][names[0]] == names[0] else table


def _json(line: str, path: Path, number: int) -> Row:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}:{number}: not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}:{number}: expected a JSON object, found {type(record).__name__}")
    return record


def _exemplars(path: Path, code: str) -> list[Row]:
    """MGSM's worked examples, which are released as a Python file; it is read, not run."""
    text, names = _text(path), ("EXEMPLAR_NUMBER_ANSWERS", "MGSM_EXEMPLARS")
    found: dict[str, Any] = {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
                found[node.targets[0].id] = ast.literal_eval(node.value)
        numbers, examples = found["EXEMPLAR_NUMBER_ANSWERS"], found["MGSM_EXEMPLARS"][code]
        pairs = [(examples[str(index)], number) for index, number in enumerate(numbers, start=1)]
        return [{"question": one["q"], "answer": one["a"], "answer_number": number} for one, number in pairs]
    except (SyntaxError, LookupError, TypeError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else f"no {error}" if isinstance(error, KeyError) else error
        expected = f"expected Python with {names[0]}, a list, and {names[1]}, with a q and an a for each under '{code}'"
        raise ValueError(f"{path}{line}: {expected}; found otherwise ({why}); download it again") from error


def _checked(row: Row, where: str, source: Source) -> Row:
    columns = ", ".join(source.columns)
    if missing := [name for name in source.columns if name not in row]:
        raise ValueError(
            f"{where}: column '{missing[0]}' is missing; expected {columns}; found {', '.join(map(str, row))}"
        )
    if None in row or any(row[name] is None for name in source.columns if name not in source.empty):
        raise ValueError(f"{where}: not as many fields as columns, or one is null; expected {columns}")
    # What else is in a row stays behind: no prompt has it, and its types may differ from row to row.
    names = dict.fromkeys((*source.columns, *source.empty))
    return {source.rename.get(name, name): _value(row.get(name), name, where, source) for name in names}


def _value(found: Any, name: str, where: str, source: Source) -> Any:
    """What a column holds, in the type that prompts are made with."""
    told = f"{where}: {name} is {reprlib.repr(found)}"
    if allowed := source.values.get(name):
        if isinstance(found, str | int):
            with contextlib.suppress(ValueError):
                found = type(allowed[0])(found)
        if found not in allowed:
            raise ValueError(f"{told}; expected one of {', '.join(map(str, allowed))}")
        return allowed[allowed.index(found)]
    if name in source.numbers:
        with contextlib.suppress(ValueError):
            number = float(str(found).replace(",", ""))
            if number.is_integer():
                return int(number)
        raise ValueError(f"{told}; expected a whole number")
    if name in source.empty and found in (None, ""):
        return found
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{told}; expected a text that is not empty")
    if half := HALF.search(found):
        raise ValueError(f"{where}: {name} has half a character ({half[0]!r}); expected text that UTF-8 can hold")
    return found


def _with_words(benchmark: str, code: str, row: Row, where: str) -> Row:
    if benchmark == "xcopa":
        return {**row, "connector": _words()["xcopa"][code][row["question"]]}
    if benchmark == "xnli":
        return {**row, **_words()["xnli"][code]}
    if benchmark == "arc":
        there, right = [name for name in OPTIONS if row[name]], f"option_{row['answer'].lower()}"
        if right not in there:
            raise ValueError(f"{where}: answer is {row['answer']!r}, but {right} is empty; found {', '.join(there)}")
        query, options = f"Question: {_plain(row['instruction'])}\nAnswer:", [_plain(row[name]) for name in there]
        return {**row, "query": query, "choices": options, "gold": there.index(right)}
    if place(benchmark) == "mgsm":
        words = _words()["mgsm"][code]
        return {**row, "asked": words["question"], "steps": words["steps"], "direct": words["answer"]}
    return row


def _plain(text: str) -> str:
    """As lm-eval cleans ARC's and HellaSwag's texts: without marks in brackets and doubled spaces."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")

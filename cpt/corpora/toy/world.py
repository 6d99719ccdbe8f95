"""Files of the toy world, in the layouts of the real ones; each is a pure function of the world and its name.

monolingual/ bilingual/ code/ general/   training corpora (conf/corpora/toy.yaml says what is what)
heldout/<language>.jsonl           unseen documents, for bits per byte; heldout/code.jsonl
sib200/<language>/{train,test}.tsv and flores200/{dev,devtest}/<language>.{dev,devtest}: the benchmarks' layouts
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cpt.added_keys import hashed_settings
from cpt.corpora.document import CODE, count_words
from cpt.corpora.toy.grammar import Meaning, draw, say
from cpt.corpora.toy.lexicon import TOPICS
from cpt.files import locked, replacing, write_text
from cpt.languages import ENGLISH, registry

GENERATOR_VERSION = 1
"""Raised when the generator changes what it writes, so that nothing made from an older world is reused."""

_NOUNS = ["total", "count", "index", "value", "item", "score", "price", "size", "width", "depth"]
_VERBS = ["compute", "update", "find", "merge", "count", "sort", "read", "check"]
_OPERATORS = ("+", "-", "*", "//", "%")
_COMPARISONS = ("<", ">", "==", "!=")


@dataclass(frozen=True)
class WorldSize:
    """The amount of each kind of text."""

    english_words: int = 42_000
    words: int = 8_000
    """Of each other language; the study's largest budget is a bit below, at the toy's scale."""
    scarce_words: int = 60
    """Of Wolof, which has less monolingual text than its budget asks for."""
    pair_words: int = 8_000
    """Of the source side of a pair."""
    topic_words: int = 26_000
    sample_docs: int = 20
    code_snippets: int = 2_000
    heldout_docs: int = 12
    sib_train: int = 56
    sib_test: int = 21
    flores_dev: int = 24
    flores_devtest: int = 16


class ToyWorld:
    """The toy world of one seed; its files are made on first use."""

    SCARCE = "wol_Latn"

    def __init__(self, cache: Path, seed: int = 0, size: WorldSize | None = None) -> None:
        self.seed = seed
        self.size = size or WorldSize()
        spec = json.dumps([GENERATOR_VERSION, seed, hashed_settings(self.size)])
        self.fingerprint = f"toy:{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
        self.folder = cache / "toy" / self.fingerprint.removeprefix("toy:")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToyWorld) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def file(self, name: str) -> Path:
        """The path of a file of the world, which is written if it does not exist."""
        path = self.folder / name
        if not path.exists():
            group, _, rest = name.partition("/")
            lines = self._writers()[group](rest.rsplit(".", 1)[0], self._rng(name))
            with replacing(path) as file:
                for line in lines:
                    file.write(line.encode("utf-8"))
        return path

    def benchmarks(self) -> None:
        """Write SIB-200, FLORES-200 and the held-out text for every language."""
        marker = self.folder / "benchmarks.done"
        with locked(self.folder / "benchmarks.lock"):
            if marker.exists():
                return
            for name in [*registry(), CODE]:
                self.file(f"heldout/{name}.jsonl")
            self._write_sib()
            self._write_flores()
            write_text(marker, "")

    def _writers(self) -> dict[str, Callable[[str, random.Random], Iterator[str]]]:
        return {
            "monolingual": self._monolingual,
            "general": self._monolingual,
            "bilingual": self._bilingual,
            "code": lambda _, rng: (_record(text=_snippet(rng)) for _ in range(self.size.code_snippets)),
            "topics": self._topics,
            "samples": lambda code, rng: (
                _record(text=_document(rng, code, for_test=False)) for _ in range(self.size.sample_docs)
            ),
            "heldout": self._heldout,
        }

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")

    def _monolingual(self, code: str, rng: random.Random) -> Iterator[str]:
        size = self.size
        left = size.scarce_words if code == self.SCARCE else size.english_words if code == ENGLISH else size.words
        while left > 0:
            text = _document(rng, code, for_test=False)
            left -= count_words(text)
            yield _record(text=text)

    def _bilingual(self, pair: str, rng: random.Random) -> Iterator[str]:
        source, target = pair.split("-")
        left = self.size.pair_words
        while left > 0:
            meaning = _any_meaning(rng, for_test=False)
            original = say(meaning, source)
            left -= count_words(original)
            yield _record(source=original, target=say(meaning, target))

    def _topics(self, code: str, rng: random.Random) -> Iterator[str]:
        """Sentences labelled by topic in plain words: from these the base models learn what topics are."""
        left = self.size.topic_words
        while left > 0:
            lines = []
            for _ in range(4):
                topic = rng.randrange(len(TOPICS))
                text = say(draw(rng, topic, for_test=False, clauses=rng.choice((1, 2))), code)
                lines.append(f'The topic of the news "{text}" is {TOPICS[topic].label}\n')
            labels = ", ".join(topic.label for topic in TOPICS)
            document = f"Topic Classification: {labels}.\n\n" + "".join(lines)
            left -= count_words(document)
            yield _record(text=document)

    def _heldout(self, code: str, rng: random.Random) -> Iterator[str]:
        for _ in range(self.size.heldout_docs):
            yield _record(text=_snippet(rng) if code == CODE else _document(rng, code, for_test=True))

    def _write_sib(self) -> None:
        for split, count in (("train", self.size.sib_train), ("test", self.size.sib_test)):
            rng = self._rng(f"sib200/{split}")
            meanings = [draw(rng, index % len(TOPICS), for_test=True) for index in range(count)]
            rng.shuffle(meanings)
            for code in registry():
                rows = ["index_id\tcategory\ttext\n"]
                rows += [f"{index}\t{TOPICS[m.topic].label}\t{say(m, code)}\n" for index, m in enumerate(meanings)]
                write_text(self.folder / "sib200" / code / f"{split}.tsv", "".join(rows))

    def _write_flores(self) -> None:
        for split, count in (("dev", self.size.flores_dev), ("devtest", self.size.flores_devtest)):
            rng = self._rng(f"flores200/{split}")
            meanings = [_any_meaning(rng, for_test=True) for _ in range(count)]
            for code in registry():
                text = "".join(f"{say(meaning, code)}\n" for meaning in meanings)
                write_text(self.folder / "flores200" / split / f"{code}.{split}", text)


def _record(**fields: str) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _any_meaning(rng: random.Random, for_test: bool) -> Meaning:
    return draw(rng, rng.randrange(len(TOPICS)), for_test)


def _document(rng: random.Random, code: str, for_test: bool) -> str:
    """Three to six sentences on one topic."""
    topic = rng.randrange(len(TOPICS))
    sentences = [say(draw(rng, topic, for_test, rng.choice((1, 1, 2))), code) for _ in range(rng.randint(3, 6))]
    return " ".join(sentences) + "\n"


def _snippet(rng: random.Random) -> str:
    """One function of four to eight lines, its names and operators drawn."""
    noun, other = rng.sample(_NOUNS, 2)
    name = f"{rng.choice(_VERBS)}_{noun}"
    operator, comparison, number = rng.choice(_OPERATORS), rng.choice(_COMPARISONS), rng.randint(1, 9)
    body = rng.randrange(3)
    lines = [f"def {name}({other}s):"]
    if body == 0:
        lines += [f"    {noun} = {rng.randint(0, 9)}", f"    for {other} in {other}s:"]
        lines += [f"        if {other} {comparison} {number}:", f"            {noun} = {noun} {operator} {other}"]
        lines += [f"    return {noun}"]
    elif body == 1:
        lines += [f"    {noun} = [{other} {operator} {number} for {other} in {other}s]"]
        lines += [f"    if len({noun}) {comparison} {number}:", "        return None", f"    return sum({noun})"]
    else:
        lines += [f"    {noun} = {{}}", f"    for key, {other} in {other}s.items():"]
        lines += [f"        {noun}[key] = {other} {operator} {number}", f"    return {noun}"]
    return "\n".join(lines) + "\n"

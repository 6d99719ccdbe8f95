"""An evaluation: the chosen benchmarks' units, asked item by item, scored from what is kept of the answers."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.added_keys import hashed_settings
from cpt.config import BenchmarkConfig
from cpt.evals.aids import Aids
from cpt.evals.benchmark import Benchmark, Item, Measured, Score, Unit
from cpt.evals.benchmarks.bpb import BitsPerByte, FloresBitsPerByte
from cpt.evals.benchmarks.flores200 import Flores200
from cpt.evals.benchmarks.harness.benchmark import HARNESS
from cpt.evals.benchmarks.harness.tasks.data import place
from cpt.evals.benchmarks.sib200 import Sib200
from cpt.evals.items import Items, called, write_item_scores
from cpt.evals.metrics.bootstrap import interval
from cpt.files import file_hash

if TYPE_CHECKING:
    from cpt.evals.scorers.torch_scorer import Backend

log = logging.getLogger(__name__)

BENCHMARKS: dict[str, type[Benchmark]] = {
    "bpb": BitsPerByte,
    "bpb_flores": FloresBitsPerByte,
    "sib200": Sib200,
    "flores200": Flores200,
    **HARNESS,
}
"""Every benchmark by the name of its file in conf/evals/."""
FOLDERS = {
    "bpb": "heldout",
    "bpb_flores": "flores200",
    "sib200": "sib200",
    "flores200": "flores200",
    **{name: f"harness/{place(name)}" for name in HARNESS},
}
"""Which key of `paths` says where a benchmark's files are; behind a slash, the folder in it."""
ASKING, SCORING = 2, 2
"""Raised when what a benchmark asks changes, or how answers are scored, so that no older one is taken for a newer."""


@dataclass(frozen=True)
class Seat:
    """Which of the processes that evaluate a model together one is. Each asks its share; the first does the rest."""

    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class Suite:
    """The chosen benchmarks with their folders, in a fixed order."""

    benchmarks: dict[str, Benchmark]
    settings: dict[str, BenchmarkConfig]
    folders: dict[str, Path]
    bootstrap: int
    backend: str = "torch"
    """Who answers: another draws otherwise, and rounds otherwise."""

    @classmethod
    def of(
        cls,
        settings: dict[str, BenchmarkConfig],
        folders: dict[str, Path],
        bootstrap: int,
        aids: Aids,
        backend: str = "torch",
    ) -> Suite:
        made = {name: BENCHMARKS[name](settings[name], folders[name], aids) for name in settings}
        return cls(made, settings, folders, bootstrap, backend)

    def units(self, languages: list[str]) -> tuple[list[Unit], list[Unit]]:
        """Units whose files are there, and those whose files are not."""
        units = [unit for benchmark in self.benchmarks.values() for unit in benchmark.units(languages)]
        missing = [u for u in units if not all(path.exists() for path in self.benchmarks[u.task].files(u))]
        lacking = set(missing)
        return [unit for unit in units if unit not in lacking], missing

    def asking_key(self, unit: Unit) -> str:
        """Settings, content of the files, and wording of a unit, in one hash."""
        files = [file_hash(path) for path in self.benchmarks[unit.task].files(unit)]
        settings = hashed_settings(self.settings[unit.task])
        settings = {key: value for key, value in settings.items() if key not in ("protocol", "batch")}
        return _hash(
            [ASKING, hashed_settings(unit), settings, files, self.benchmarks[unit.task].wording(unit), self.backend]
        )

    def key(self, unit: Unit) -> str:
        """What is asked, and how it is scored."""
        variant = self.benchmarks[unit.task].variant(unit)
        return _hash([SCORING, self.asking_key(unit), self.bootstrap, variant])

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        return self.benchmarks[unit.task].measure(unit, items)


def scored(measured: Measured, samples: int) -> Score:
    """A metric's value over all items, with its interval and how many items it is over.

    Items that a share says nothing of, such as outputs too short to tell their language, are not counted.
    """
    statistics = measured.statistics
    n = int(measured.counted.sum())
    low, high = interval(statistics, measured.score, samples)
    return Score(measured.metric, measured.score(statistics.sum(axis=0)), n, low, high, measured.signature)


@dataclass
class Evaluation:
    """One model under a suite. Its folder holds `items/`, and `evals.jsonl` with the scores."""

    suite: Suite
    languages: list[str]
    scorer: Callable[[], Backend]
    folder: Path
    seat: Seat = Seat()
    progress: Callable[[int, int], None] = lambda done, of: None

    def __post_init__(self) -> None:
        self.units, _ = self.suite.units(self.languages)
        self.journal = self.folder / "evals.jsonl"
        self._loaded: Backend | None = None

    def carry_out(self) -> None:
        """Ask what is not answered yet; the model is loaded only if something is. The first process then scores."""
        if self.seat.rank == 0:
            mend_journal(self.journal)
        known = known_scores(self.journal)
        keys = {unit: self.suite.key(unit) for unit in self.units}
        todo = [unit for unit in self.units if keys[unit] not in known]
        for index, unit in enumerate(todo):
            self._ask(unit, index, len(todo), whole=self.seat.ranks == 1)
            if self.seat.ranks == 1:
                self._score(unit, keys[unit])
        if self.seat.ranks > 1 and self.seat.rank == 0:
            for index, unit in enumerate(todo):
                self._ask(unit, index, len(todo), whole=True)  # what the others have not done, or died over
                self._score(unit, keys[unit])
        self.progress(len(todo), len(todo))

    def _ask(self, unit: Unit, index: int, of: int, whole: bool) -> None:
        items = self.items(unit)
        if items.complete() is not None:
            return
        benchmark, began = self.suite.benchmarks[unit.task], time.monotonic()
        self._loaded = backend = self._loaded or self.scorer()
        questions = benchmark.questions(unit, lambda texts: backend.encode(texts, special=False))
        items.forget(len(questions))
        batches = backend.batches([question.ask for question in questions], self.suite.settings[unit.task].batch)
        # Which questions make a batch follows from the questions alone, so answers do not depend on who asks, or when.
        mine = batches if whole else batches[self.seat.rank :: self.seat.ranks]
        shared = whole and self.seat.ranks > 1
        known, asked = items.known(questions), 0
        for batch in reversed(mine) if shared else mine:  # towards what the others may be at
            self.progress(index, of)
            if shared:
                known = items.known(questions)
            if set(batch) <= known:
                continue
            items.append(self.seat.rank, batch, questions, backend.answer([questions[n].ask for n in batch]))
            asked += len(batch)
        seconds = time.monotonic() - began
        log.info("%s: %d of %d items asked in %.1f s", unit.title, asked, len(questions), seconds)

    def items(self, unit: Unit) -> Items:
        return Items(self.folder / "items", unit, self.suite.asking_key(unit))

    def _score(self, unit: Unit, key: str) -> None:
        items = self.items(unit).complete()
        assert items is not None, f"{unit} was asked whole"
        measured = self.suite.measure(unit, items)
        scores = [score for score in (scored(each, self.suite.bootstrap) for each in measured) if score.n]
        write_item_scores(self.folder / "scores" / f"{called(unit)}.jsonl.zst", measured)
        record = {"key": key, "unit": asdict(unit), "scores": [asdict(score) for score in scores]}
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def known_scores(journal: Path) -> dict[str, list[Score]]:
    """What a journal holds, by the key of its unit."""
    return {record["key"]: [Score(**score) for score in record["scores"]] for record in _whole(journal)[0]}


def known_units(journal: Path) -> list[Unit]:
    """What a journal holds scores of, in its order."""
    return list(dict.fromkeys(Unit(**record["unit"]) for record in _whole(journal)[0]))


def mend_journal(journal: Path) -> None:
    """Cut the journal at a line that is not whole, which a kill or a damaged disk left; what stood behind is redone."""
    _, whole = _whole(journal)
    if journal.exists() and whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def _whole(journal: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal up to the first line that is not whole, and how many bytes they are."""
    records, size = [], 0
    for line in journal.read_bytes().splitlines(keepends=True) if journal.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        records.append(record)
        size += len(line)
    return records, size


def _hash(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

"""The evaluation of a model: answer the questions of the chosen benchmarks' units, then score the stored answers."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.added_keys import hashed_settings
from cpt.config import BenchmarkConfig
from cpt.evals import benchmarks
from cpt.evals.benchmark import REGISTRY, Benchmark, Item, ScoringResources, Unit
from cpt.evals.items import Items, unit_name, write_item_scores
from cpt.evals.metrics.measured import Measured, Score, scored
from cpt.files import file_hash

if TYPE_CHECKING:
    from cpt.evals.scorers.torch_scorer import Backend

log = logging.getLogger(__name__)


def _discovered() -> dict[str, type[Benchmark]]:
    """Import every module below cpt/evals/benchmarks/, which registers its benchmarks."""
    for module in pkgutil.walk_packages(benchmarks.__path__, f"{benchmarks.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(REGISTRY.items()))


BENCHMARKS = _discovered()
"""Every benchmark by the name of its file in conf/evals/."""
PROMPT_VERSION, SCORING_VERSION = 2, 2
"""Raised when a benchmark's questions, or the scoring of answers, change: older ones are then not reused."""


@dataclass(frozen=True)
class Suite:
    """The chosen benchmarks with their folders, in a fixed order."""

    benchmarks: dict[str, Benchmark]
    settings: dict[str, BenchmarkConfig]
    folders: dict[str, Path]
    bootstrap: int
    backend: str = "torch"
    """Part of the key: backends differ in sampling and rounding."""

    @classmethod
    def of(
        cls,
        settings: dict[str, BenchmarkConfig],
        folders: dict[str, Path],
        bootstrap: int,
        resources: ScoringResources,
        backend: str = "torch",
    ) -> Suite:
        chosen = {name: BENCHMARKS[name](settings[name], folders[name], resources) for name in settings}
        return cls(chosen, settings, folders, bootstrap, backend)

    def units(self, languages: list[str]) -> tuple[list[Unit], list[Unit]]:
        """Units with and without their files."""
        units = [unit for benchmark in self.benchmarks.values() for unit in benchmark.units(languages)]
        missing = [u for u in units if not all(path.exists() for path in self.benchmarks[u.task].files(u))]
        without = set(missing)
        return [unit for unit in units if unit not in without], missing

    def prompt_key(self, unit: Unit) -> str:
        """Hash of everything a unit's questions depend on: settings, files, the benchmark's own fingerprint."""
        files = [file_hash(path) for path in self.benchmarks[unit.task].files(unit)]
        settings = hashed_settings(self.settings[unit.task])
        settings = {key: value for key, value in settings.items() if key not in ("protocol", "batch")}
        return _hash(
            [
                PROMPT_VERSION,
                hashed_settings(unit),
                settings,
                files,
                self.benchmarks[unit.task].prompt_fingerprint(unit),
                self.backend,
            ]
        )

    def key(self, unit: Unit) -> str:
        """Hash of the questions and of the scoring."""
        fingerprint = self.benchmarks[unit.task].scoring_fingerprint(unit)
        return _hash([SCORING_VERSION, self.prompt_key(unit), self.bootstrap, fingerprint])

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        return self.benchmarks[unit.task].measure(unit, items)


@dataclass
class Evaluation:
    """One model under a suite. Its folder gets `items/`, and `evals.jsonl` with the scores."""

    suite: Suite
    languages: list[str]
    scorer: Callable[[], Backend]
    folder: Path
    rank: int = 0
    """Each rank answers its part of the questions; rank 0 answers the rest and computes the scores."""
    world_size: int = 1
    progress: Callable[[int, int], None] = lambda done, of: None

    def __post_init__(self) -> None:
        self.units, _ = self.suite.units(self.languages)
        self.journal = self.folder / "evals.jsonl"
        self._loaded: Backend | None = None

    def run(self) -> None:
        """Answer the open questions and score; the model is loaded only if there are any."""
        if self.rank == 0:
            repair_journal(self.journal)
        known = known_scores(self.journal)
        keys = {unit: self.suite.key(unit) for unit in self.units}
        todo = [unit for unit in self.units if keys[unit] not in known]
        for index, unit in enumerate(todo):
            self._answer(unit, index, len(todo), everything=self.world_size == 1)
            if self.world_size == 1:
                self._score(unit, keys[unit])
        if self.world_size > 1 and self.rank == 0:
            for index, unit in enumerate(todo):
                self._answer(unit, index, len(todo), everything=True)  # what other ranks have not finished
                self._score(unit, keys[unit])
        self.progress(len(todo), len(todo))

    def _answer(self, unit: Unit, index: int, of: int, everything: bool) -> None:
        items = self.items(unit)
        if items.complete() is not None:
            return
        benchmark, begin = self.suite.benchmarks[unit.task], time.monotonic()
        self._loaded = backend = self._loaded or self.scorer()
        questions = benchmark.questions(unit, lambda texts: backend.encode(texts, special=False))
        items.discard_outdated(len(questions))
        batches = backend.batches([question.request for question in questions], self.suite.settings[unit.task].batch)
        # Batches follow from the questions alone, so answers do not depend on rank or time.
        mine = batches if everything else batches[self.rank :: self.world_size]
        shared = everything and self.world_size > 1
        known, answered = items.known(questions), 0
        for batch in reversed(mine) if shared else mine:  # other ranks may still be working from the front
            self.progress(index, of)
            if shared:
                known = items.known(questions)
            if set(batch) <= known:
                continue
            items.append(self.rank, batch, questions, backend.answer([questions[n].request for n in batch]))
            answered += len(batch)
        seconds = time.monotonic() - begin
        log.info("%s: %d of %d items answered in %.1f s", unit.title, answered, len(questions), seconds)

    def items(self, unit: Unit) -> Items:
        return Items(self.folder / "items", unit, self.suite.prompt_key(unit))

    def _score(self, unit: Unit, key: str) -> None:
        items = self.items(unit).complete()
        assert items is not None, f"{unit} has unanswered questions"
        measured = self.suite.measure(unit, items)
        scores = [score for score in (scored(each, self.suite.bootstrap) for each in measured) if score.n]
        write_item_scores(self.folder / "scores" / f"{unit_name(unit)}.jsonl.zst", measured)
        record = {"key": key, "unit": asdict(unit), "scores": [asdict(score) for score in scores]}
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def known_scores(journal: Path) -> dict[str, list[Score]]:
    """The scores in a journal, by the key of their unit."""
    return {record["key"]: [Score(**score) for score in record["scores"]] for record in _valid_records(journal)[0]}


def known_units(journal: Path) -> list[Unit]:
    """The units with scores in a journal, in its order."""
    return list(dict.fromkeys(Unit(**record["unit"]) for record in _valid_records(journal)[0]))


def repair_journal(journal: Path) -> None:
    """Truncate the journal at an incomplete or damaged line; the rest is computed again."""
    _, whole = _valid_records(journal)
    if journal.exists() and whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def _valid_records(journal: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal up to the first invalid line, and their size in bytes."""
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

"""The one process that sees a source's records in order: it remembers, decides, and counts what each step removed."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from cpt.corpora.cleaning.base import Memory
from cpt.corpora.cleaning.pipeline import REMEMBERING, Cleaning, Looked
from cpt.corpora.reading.base import Record

SAMPLES = 20
"""Records shown for each step: enough to see what it is doing."""


class Gate:
    """Of one source. What it admits depends on the order of records alone, not on which process looked at them."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._cleaning = cleaning
        self._memories: dict[int, Memory] = {
            index: step.memory() for index, (_, step) in enumerate(cleaning.steps) if isinstance(step, REMEMBERING)
        }
        self._read = _nothing()
        self._kept = _nothing()
        self._steps: list[dict[str, Any]] = [{"removed": {}, "noted": {}, "samples": []} for _ in cleaning.steps]

    def admit(self, looked: Looked) -> bool:
        """Whether the record is kept; to be asked once for each record, in order."""
        at, reason = self._removal(looked)
        _count(self._read, looked.words)
        for index, note in looked.notes:
            if index <= at:
                self._tell(index, "noted", note, looked)
        if reason:
            self._tell(at, "removed", reason, looked)
            return False
        _count(self._kept, looked.words)
        self._remember(looked.sketches)
        return True

    def report(self) -> dict[str, Any]:
        """Counts so far, by step and reason; can be written as JSON, and gone on from by `restore`."""
        names = [name for name, _ in self._cleaning.steps]
        return deepcopy({"read": self._read, "kept": self._kept, "steps": dict(zip(names, self._steps, strict=True))})

    def restore(self, kept: Iterable[Record], languages: tuple[str, ...], report: dict[str, Any]) -> None:
        """Take up where another gate of the same cleaning stopped, from the records it kept and its report then."""
        saved = deepcopy(report)
        self._read, self._kept = saved["read"], saved["kept"]
        self._steps = [saved["steps"][name] for name, _ in self._cleaning.steps]
        for texts in kept:
            self._remember(self._cleaning.sketches(texts, languages))

    def _removal(self, looked: Looked) -> tuple[int, str]:
        """The first step in order that removes the record, and why."""
        for index, sketch in looked.sketches:
            if reason := self._memories[index].known(sketch):
                return index, reason
        return looked.at, looked.reason

    def _remember(self, sketches: Iterable[tuple[int, Any]]) -> None:
        for index, sketch in sketches:
            self._memories[index].add(sketch)

    def _tell(self, index: int, what: str, why: str, looked: Looked) -> None:
        step = self._steps[index]
        _count(step[what].setdefault(why, _nothing()), looked.words)
        if len(step["samples"]) < SAMPLES:
            step["samples"].append({"why": why, "text": looked.sample})


def _nothing() -> dict[str, int]:
    return {"records": 0, "words": 0}


def _count(amount: dict[str, int], words: int) -> None:
    amount["records"] += 1
    amount["words"] += words

"""Cleaning steps in order: what any process computes from one record, and the gate that sees all records in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from cpt.added_keys import is_hashed
from cpt.corpora.cleaning.duplicates import Exact, Near
from cpt.corpora.cleaning.normalise import Normalise
from cpt.corpora.cleaning.step import Memory, Step
from cpt.corpora.document import count_words
from cpt.corpora.reading.layout import Record
from cpt.errors import config_error

VERSION = 1
"""Raised when a step removes or writes something else under the same settings, so that nothing older is reused."""
CHANGING = (Normalise,)
"""Steps that change texts. Other steps compare texts, and must see them as they are written."""
STATEFUL = (Exact, Near)
SAMPLE = 300
"""Characters of a record that are shown in reports."""


@dataclass(frozen=True)
class CleanedRecord:
    """The result of all steps on one record, independent of other records. Small for a removed one."""

    texts: Record
    """As they are written; empty for a record that a step removed by itself."""
    words: int
    at: int
    """Index of the step that removed it by itself; the number of steps if none did."""
    reason: str
    sketches: tuple[tuple[int, Any], ...]
    """Sketches by the stateful steps before `at`, with their index."""
    notes: tuple[tuple[int, str], ...]
    sample: str


@dataclass(frozen=True)
class Cleaning:
    """Named steps in order; picklable, for every process that reads text."""

    steps: tuple[tuple[str, Step], ...]

    def __post_init__(self) -> None:
        stateful = ""
        for name, step in self.steps:
            if isinstance(step, STATEFUL):
                stateful = stateful or name
            if stateful and isinstance(step, CHANGING):
                raise config_error(
                    "cleaning.steps",
                    ", ".join(name for name, _ in self.steps),
                    f"'{name}' changes texts that '{stateful}' has compared; put '{name}' before '{stateful}'",
                )

    def apply(self, texts: Record, languages: tuple[str, ...]) -> CleanedRecord:
        sample = _sample(texts)
        sketches: list[tuple[int, Any]] = []
        notes: list[tuple[int, str]] = []
        for index, (_, step) in enumerate(self.steps):
            result = step.apply(texts, languages)
            notes += [(index, note) for note in result.notes]
            if result.removed:
                return CleanedRecord((), _words(texts), index, result.removed, tuple(sketches), tuple(notes), sample)
            texts = result.texts
            if result.sketch is not None:
                sketches.append((index, result.sketch))
        return CleanedRecord(texts, _words(texts), len(self.steps), "", tuple(sketches), tuple(notes), sample)

    def sketches(self, texts: Record, languages: tuple[str, ...]) -> list[tuple[int, Any]]:
        """The sketches by which stateful steps recognise a record that has passed."""
        results = [
            (index, step.apply(texts, languages).sketch)
            for index, (_, step) in enumerate(self.steps)
            if isinstance(step, STATEFUL)
        ]
        return [(index, sketch) for index, sketch in results if sketch is not None]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides which text stays, as JSON data."""
        return {"version": VERSION, "steps": [{"step": name, **_described(step)} for name, step in self.steps]}


def _described(step: Any) -> dict[str, Any]:
    values = {item.name: getattr(step, item.name) for item in fields(step) if is_hashed(item, getattr(step, item.name))}
    tools = {item.name for item in fields(step) if item.default is MISSING}
    return {name: _tool_fingerprint(value) if name in tools else value for name, value in values.items()}


def _tool_fingerprint(tool: Any) -> str:
    if isinstance(tool, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(tool).tobytes()).hexdigest()[:16]
    return str(tool.fingerprint)


def _words(texts: Record) -> int:
    return sum(count_words(text) for text in texts)


def _sample(texts: Record) -> str:
    return " | ".join(text[:SAMPLE] for text in texts)[:SAMPLE]


SAMPLES = 20
"""Records shown for each step: enough to see what it is doing."""


class Gate:
    """Decides about the records of one source in order, and counts what each step removed.

    The decision depends on the order of records alone, not on which process cleaned them."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._cleaning = cleaning
        self._memories: dict[int, Memory] = {
            index: step.memory() for index, (_, step) in enumerate(cleaning.steps) if isinstance(step, STATEFUL)
        }
        self._read = _nothing()
        self._kept = _nothing()
        self._steps: list[dict[str, Any]] = [{"removed": {}, "noted": {}, "samples": []} for _ in cleaning.steps]

    def admit(self, cleaned: CleanedRecord) -> bool:
        """Whether the record stays; call it once for each record, in order."""
        at, reason = self._removal(cleaned)
        _count(self._read, cleaned.words)
        for index, note in cleaned.notes:
            if index <= at:
                self._record(index, "noted", note, cleaned)
        if reason:
            self._record(at, "removed", reason, cleaned)
            return False
        _count(self._kept, cleaned.words)
        self._remember(cleaned.sketches)
        return True

    def report(self) -> dict[str, Any]:
        """Counts so far, by step and reason, as JSON data that `restore` accepts."""
        names = [name for name, _ in self._cleaning.steps]
        return deepcopy({"read": self._read, "kept": self._kept, "steps": dict(zip(names, self._steps, strict=True))})

    def restore(self, stored_records: Iterable[Record], languages: tuple[str, ...], report: dict[str, Any]) -> None:
        """Continue another gate of the same cleaning from the records it let pass and its report at that time."""
        saved = deepcopy(report)
        self._read, self._kept = saved["read"], saved["kept"]
        self._steps = [saved["steps"][name] for name, _ in self._cleaning.steps]
        for texts in stored_records:
            self._remember(self._cleaning.sketches(texts, languages))

    def _removal(self, cleaned: CleanedRecord) -> tuple[int, str]:
        """The first step in order that removes the record, and why."""
        for index, sketch in cleaned.sketches:
            if reason := self._memories[index].known(sketch):
                return index, reason
        return cleaned.at, cleaned.reason

    def _remember(self, sketches: Iterable[tuple[int, Any]]) -> None:
        for index, sketch in sketches:
            self._memories[index].add(sketch)

    def _record(self, index: int, what: str, why: str, cleaned: CleanedRecord) -> None:
        step = self._steps[index]
        _count(step[what].setdefault(why, _nothing()), cleaned.words)
        if len(step["samples"]) < SAMPLES:
            step["samples"].append({"why": why, "text": cleaned.sample})


def _nothing() -> dict[str, int]:
    return {"records": 0, "words": 0}


def _count(amount: dict[str, int], words: int) -> None:
    amount["records"] += 1
    amount["words"] += words

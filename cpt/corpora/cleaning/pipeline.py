"""Cleaning steps in order: what any process finds out about a record by itself, to be judged by the gate."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from cpt.added_keys import is_hashed
from cpt.corpora.cleaning.base import Step
from cpt.corpora.cleaning.duplicates import Exact, Near
from cpt.corpora.cleaning.normalise import Normalise
from cpt.corpora.document import count_words
from cpt.corpora.reading.base import Record
from cpt.errors import config_error

VERSION = 1
"""Raised when a step removes or writes something else under the same settings, so that nothing older is reused."""
CHANGING = (Normalise,)
"""Steps that change texts. Others compare them, and must see them as they are kept."""
REMEMBERING = (Exact, Near)
SAMPLE = 300
"""Characters of a record that are shown in reports."""


@dataclass(frozen=True)
class Looked:
    """All that the steps make of a record without knowing the others. Small for one that is removed."""

    texts: Record
    """As they are kept; nothing for a record that a step removed by itself."""
    words: int
    at: int
    """Index of the step that removed it by itself; the number of steps where none did."""
    reason: str
    sketches: tuple[tuple[int, Any], ...]
    """Of the remembering steps before that, by index."""
    notes: tuple[tuple[int, str], ...]
    sample: str


@dataclass(frozen=True)
class Cleaning:
    """Named steps in order; picklable, for every process that reads text."""

    steps: tuple[tuple[str, Step], ...]

    def __post_init__(self) -> None:
        remembering = ""
        for name, step in self.steps:
            if isinstance(step, REMEMBERING):
                remembering = remembering or name
            if remembering and isinstance(step, CHANGING):
                raise config_error(
                    "cleaning.steps",
                    ", ".join(name for name, _ in self.steps),
                    f"'{name}' changes texts that '{remembering}' has compared; put '{name}' before '{remembering}'",
                )

    def look(self, texts: Record, languages: tuple[str, ...]) -> Looked:
        sample = _sample(texts)
        sketches: list[tuple[int, Any]] = []
        notes: list[tuple[int, str]] = []
        for index, (_, step) in enumerate(self.steps):
            look = step.look(texts, languages)
            notes += [(index, note) for note in look.notes]
            if look.removed:
                return Looked((), _words(texts), index, look.removed, tuple(sketches), tuple(notes), sample)
            texts = look.texts
            if look.sketch is not None:
                sketches.append((index, look.sketch))
        return Looked(texts, _words(texts), len(self.steps), "", tuple(sketches), tuple(notes), sample)

    def sketches(self, texts: Record, languages: tuple[str, ...]) -> list[tuple[int, Any]]:
        """Of a record that has passed: what the remembering steps know it by."""
        looks = [
            (index, step.look(texts, languages).sketch)
            for index, (_, step) in enumerate(self.steps)
            if isinstance(step, REMEMBERING)
        ]
        return [(index, sketch) for index, sketch in looks if sketch is not None]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Names everything that what is kept follows from; can be written as JSON."""
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

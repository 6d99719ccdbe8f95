"""What a cleaning step is: a look at one record, by itself, in any process; a few also remember what they let pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from cpt.corpora.reading.base import Record


@dataclass(frozen=True)
class Look:
    """What a step makes of a record."""

    texts: Record
    """As they go on to the next step; a step may change them."""
    removed: str = ""
    """Why the record is removed, in a few words that are counted; empty for one that stays."""
    notes: tuple[str, ...] = ()
    """What is counted without removing, such as an overlap with a test set that is only reported."""
    sketch: Any = None
    """What a remembering step compares records by."""


class Step(Protocol):
    """A frozen, picklable dataclass whose fields are its settings in conf/cleaning/."""

    def look(self, texts: Record, languages: tuple[str, ...]) -> Look:
        """A pure function of the record; `languages` are those its texts are expected to be in."""
        ...


class Remembering(Step, Protocol):
    """A step that removes a record for what came before it. Only records that pass every step are remembered."""

    def memory(self) -> Memory: ...


class Memory(Protocol):
    """Of one source, kept by the one process that sees its records in order."""

    def known(self, sketch: Any) -> str:
        """Why a record of this sketch is removed, or nothing."""
        ...

    def add(self, sketch: Any) -> None: ...

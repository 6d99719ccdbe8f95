"""Plain values that the page's templates lay out as tables: texts already formatted, never markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cpt.results.analysis.study_results import StudyResults
from cpt.results.rows.measures import NONE, Measure, number


@dataclass(slots=True)
class Cell:
    text: str
    note: str = ""
    """A second, smaller text: an interval, or what a number is over."""
    sort: float | None = None
    """The number that the cell sorts by; None for words."""
    title: str = ""
    """What is shown when a reader points at the cell."""
    style: str = ""
    """CSS classes."""
    strong: bool = False

    @property
    def key(self) -> str:
        """The number it sorts by as an attribute; empty if there is none."""
        return "" if self.sort is None or not math.isfinite(self.sort) else f"{self.sort:.6g}"


EMPTY = Cell("")


@dataclass(slots=True)
class TableRow:
    """A row of a table: the name that heads it, and its cells."""

    name: str
    cells: list[Cell]
    title: str = ""
    point: int | None = None
    """The point of the study that the row is about; the page's filter shows and hides rows by it."""
    base: bool = False
    """Whether it is about a base model."""


@dataclass(frozen=True)
class Head:
    """The head of a column: lines that break nowhere else, and a note below them."""

    lines: Sequence[str]
    note: str


@dataclass
class Table:
    """The body of a table. Columns without a number to sort by are text, and aligned to the left."""

    rows: list[TableRow]
    heads: Sequence[Head | str] = ()
    """Empty if the template names the columns."""
    number_columns: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        for i, column in enumerate(zip(*(row.cells for row in self.rows), strict=True), start=1):
            if any(cell.sort is not None for cell in column):
                self.number_columns.add(i)
            else:
                for cell in column:
                    cell.style = f"{cell.style} t".lstrip()


def run_row(results: StudyResults, run_id: str, cells: list[Cell], langcat: str = "") -> TableRow:
    """The row of a run, or of a base model in one language category."""
    point, base = results.point(run_id, langcat), run_id in results.bases
    return TableRow(results.labels[run_id], cells, run_id, point, base)


def texts(*words: str) -> list[Cell]:
    return [Cell(word) for word in words]


def amount(value: float | None, digits: int = 0) -> Cell:
    """A number to sort by, or a dash."""
    return Cell(NONE) if value is None else Cell(number(value, digits), sort=value)


def span(low: float, high: float, digits: int = 0) -> str:
    """A range of counts, or the one count."""
    return number(low, digits) + (f" to {number(high, digits)}" if high > low else "")


def measure_head(measure: Measure, note: str) -> Head:
    return Head(measure.words, f"{note}, {measure.protocol}" if measure.protocol else note)


def measure_of(row: Any) -> Measure:
    """The measure that a row of a table of results is about."""
    return Measure(row.task, row.direction, row.protocol, row.metric)

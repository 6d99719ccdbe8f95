"""The description of a plot: marks in panels, panels in a figure, and the text that replaces it where it is not seen.

A plot is described once, in the coordinates of its data. `inline` renders it into the report, whose style sheet gives
the colours; `plot_files` draws it with matplotlib, whose style sheet gives colours, fonts and line widths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cpt.results.rows.banners import BANNERS
from cpt.results.rows.measures import Measure

Point = tuple[float, float]
SIZE = 10.5
"""Font size in pixels of the page."""
LETTER = 0.6
"""About how wide a letter is as a share of its size; an upper bound, because fonts differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """Straight lines from point to point; closed, a filled area."""

    points: tuple[Point, ...]
    style: str
    title: str = ""
    closed: bool = False
    point: int | None = None
    """For a mark that shows one run: its index in `StudyResults.points`, by which the page filters."""


@dataclass(frozen=True, slots=True)
class Dot:
    at: Point
    shape: str
    radius: float
    """In pixels."""
    style: str
    title: str = ""
    point: int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    at: Point
    style: str = ""
    anchor: str = "start"
    """Which end of the text is at the point: start, middle or end."""
    offset: Point = (0, 0)
    """Pixels from the point, rightward and downward."""


Mark = Line | Dot | Words
SHAPES = ("circle", "up", "square", "diamond", "down")
"""The easiest to tell apart first; `left` and `right` are arrowheads."""


@dataclass(frozen=True)
class Axis:
    low: float
    """At the left or the bottom."""
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    """Values with their labels; each gets a grid line."""
    label: str = ""

    def at(self, value: float) -> float:
        """Where a value is, as a share of the axis."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Panel:
    name: str
    x: Axis
    y: Axis
    width: float
    """Of the plot area without labels, in pixels."""
    height: float
    marks: tuple[Mark, ...]
    description: str
    """What it shows, in words, with its numbers."""

    def position(self, point: Point) -> Point:
        """A point of the data in pixels from the left and the top of the plot area."""
        return self.width * self.x.at(point[0]), self.height * (1 - self.y.at(point[1]))


@dataclass(frozen=True)
class Key:
    """An entry of the legend: marks in a box of 28 by 12 pixels, and what they stand for."""

    marks: tuple[Line | Dot, ...]
    words: str


@dataclass(frozen=True)
class Figure:
    name: str
    """Of its files."""
    title: str
    note: str
    """How to read it, in a sentence or two."""
    rows: tuple[tuple[Panel, ...], ...]
    keys: tuple[Key, ...] = ()
    tag: str = ""
    """The scale whose numbers must not pass as real results of ours; empty for those."""
    measure: Measure | None = None
    """The page filters by it; None if the figure is about several."""

    @property
    def banner(self) -> str:
        """What must be seen before any number."""
        return BANNERS.get(self.tag, "")

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row]


def axis(values: Sequence[float], margin: float = 0.05, most: int = 4, label: str = "") -> Axis:
    """An axis that holds all values, with at most `most` ticks and a margin as a share of the values' range."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * margin or 0.5
    named = tuple((value, f"{value:,.4g}".replace("-", "−")) for value in ticks(low - room, high + room, most))
    return Axis(low - room, high + room, named, label)


def rows_axis(height: float) -> Axis:
    """A vertical axis in pixels from the top, for panels whose rows are categories."""
    return Axis(height, 0)


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers between two bounds: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most)
    return [step * place for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def width_of(text: str, size: float = SIZE) -> float:
    return len(text) * size * LETTER


def box(x: float, y: float, width: float, height: float, style: str, title: str = "") -> Line:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Line(corners, style, title, closed=True)


STYLES: dict[str, dict[str, str]] = {
    "grid": {"fill": "none", "stroke": "var(--rule)", "stroke-width": "1"},
    "zero": {"fill": "none", "stroke": "var(--soft)", "stroke-width": "1"},
    "line": {"fill": "none", "stroke": "var(--c3)", "stroke-width": "1.6", "stroke-linejoin": "round"},
    "dashed": {"stroke-dasharray": "5 3"},
    "dot": {"fill": "var(--c3)", "stroke": "var(--c3)", "stroke-width": "1.4"},
    "area": {"fill": "var(--c3)", "fill-opacity": "0.15", "stroke": "none"},
    **{f"c{number}": {"stroke": f"var(--c{number})"} for number in range(4)},
    **{f"f{number}": {"fill": f"var(--c{number})"} for number in range(4)},
    "better": {"fill": "var(--b5)", "stroke": "var(--b5)"},
    "worse": {"fill": "var(--w5)", "stroke": "var(--w5)"},
    "unclear": {"fill": "var(--paper)", "stroke": "var(--soft)"},
    "hollow": {"fill": "var(--paper)"},
    "cell": {"fill": "var(--band)", "stroke": "var(--paper)", "stroke-width": "1"},
    **{f"{side}{shade}": {"fill": f"var(--{side}{shade})"} for side in "bw" for shade in range(1, 6)},
    "words": {"fill": "var(--soft)", "stroke": "none", "font-size": "10.5px"},
    "label": {"fill": "var(--ink)"},
    "strong": {"fill": "var(--ink)", "font-weight": "600"},
    "small": {"font-size": "8px"},
    "weak": {"fill": "var(--weak)"},
    "bright": {"fill": "var(--strong)"},
}
"""A mark has one or more; of several, the later one here wins, as in a style sheet."""


def look(style: str) -> dict[str, str]:
    """The properties of a mark with these styles."""
    names = style.split()
    return {key: value for name, rule in STYLES.items() if name in names for key, value in rule.items()}

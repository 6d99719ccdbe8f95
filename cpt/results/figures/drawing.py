"""What a plot is made of: marks in panels, panels in a figure, with the words that stand for it where it is not seen.

A figure is described once. `inline` puts it into a page, whose style sheet gives its colours by day and by night;
`sheet` lays it out on one sheet with the colours of day, for a file. So both always show the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cpt.results.rows.banners import BANNERS
from cpt.results.rows.measures import Measure

Point = tuple[float, float]
SIZE = 10.5
"""Of letters, in the units of all coordinates: a page's pixels."""
LETTER = 0.6
"""About how wide a letter is for its size; rather too much, for fonts differ."""

PAINT: dict[str, dict[str, str]] = {
    "grid": {"fill": "none", "stroke": "var(--rule)", "stroke-width": "1"},
    "zero": {"fill": "none", "stroke": "var(--soft)", "stroke-width": "1"},
    "line": {"fill": "none", "stroke": "var(--c3)", "stroke-width": "1.6", "stroke-linejoin": "round"},
    "thin": {"stroke-width": "1"},
    "dashed": {"stroke-dasharray": "5 3"},
    "dot": {"fill": "var(--c3)", "stroke": "var(--c3)", "stroke-width": "1.4"},
    "area": {"fill": "var(--c3)", "fill-opacity": "0.15", "stroke": "none"},
    **{f"c{place}": {"stroke": f"var(--c{place})"} for place in range(4)},
    **{f"f{place}": {"fill": f"var(--c{place})"} for place in range(4)},
    "better": {"fill": "var(--b5)", "stroke": "var(--b5)"},
    "worse": {"fill": "var(--w5)", "stroke": "var(--w5)"},
    "unclear": {"fill": "var(--paper)", "stroke": "var(--soft)"},
    "hollow": {"fill": "var(--paper)"},
    "cell": {"fill": "var(--band)", "stroke": "var(--paper)", "stroke-width": "1"},
    **{f"{side}{shade}": {"fill": f"var(--{side}{shade})"} for side in "bw" for shade in range(1, 6)},
    "frame": {"fill": "none", "stroke": "var(--ink)", "stroke-width": "1"},
    "words": {"fill": "var(--soft)", "stroke": "none", "font-size": f"{SIZE}px"},
    "label": {"fill": "var(--ink)"},
    "strong": {"fill": "var(--ink)", "font-weight": "600"},
    "small": {"font-size": "8px"},
    "title": {"font-size": "14px"},
    "weak": {"fill": "var(--weak)"},
    "bright": {"fill": "var(--strong)"},
}
"""How each style looks; a mark has one or more, of which the later one here wins."""


@dataclass(frozen=True, slots=True)
class Line:
    """Straight lines from point to point; closed, an area."""

    points: tuple[Point, ...]
    style: str
    title: str = ""
    closed: bool = False
    point: int | None = None
    """Of what tells of one run: its point among `StudyResults.points`, by which a page filters it."""


@dataclass(frozen=True, slots=True)
class Circle:
    at: Point
    radius: float
    style: str
    title: str = ""
    point: int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    at: Point
    style: str = ""
    anchor: str = "start"
    """Which end of the words is there: start, middle or end."""


Mark = Line | Circle | Words


@dataclass(frozen=True)
class Panel:
    name: str
    width: float
    height: float
    marks: tuple[Mark, ...]
    said: str
    """What it shows, in words, with its numbers."""


@dataclass(frozen=True)
class Key:
    """A line of the legend: marks in a box of 28 by 12, and what they stand for."""

    marks: tuple[Mark, ...]
    words: str


@dataclass(frozen=True)
class Figure:
    name: str
    """Of its files."""
    title: str
    note: str
    """How it is read, in a sentence or two."""
    rows: tuple[tuple[Panel, ...], ...]
    keys: tuple[Key, ...] = ()
    tag: str = ""
    """The scale whose numbers must not pass as real results of ours; empty for those."""
    measure: Measure | None = None
    """Of what is about one, which a page filters."""

    @property
    def banner(self) -> str:
        """What must be seen before any number."""
        return BANNERS.get(self.tag, "")

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row]


@dataclass(frozen=True)
class Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 4) -> list[float]:
        return ticks(self.low, self.high, most)


def axis(values: Sequence[float], start: float, end: float, margin: float = 0.05) -> Axis:
    """An axis that holds all values, with a margin as a share of what they span."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * margin or 0.5
    return Axis(low - room, high + room, start, end)


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


SHAPES = ("circle", "up", "square", "diamond", "down")
"""Told apart the best first."""


def shape(kind: str, at: Point, radius: float, style: str, title: str = "", point: int | None = None) -> Mark:
    """A mark of a form that tells it apart without its colour."""
    if kind == "circle":
        return Circle(at, radius, style, title, point)
    r = radius * 1.25
    outlines: dict[str, tuple[Point, ...]] = {
        "diamond": ((0, -r), (r, 0), (0, r), (-r, 0)),
        "square": ((-radius, -radius), (radius, -radius), (radius, radius), (-radius, radius)),
        "up": ((0, -r), (r, r * 0.8), (-r, r * 0.8)),
        "down": ((0, r), (r, -r * 0.8), (-r, -r * 0.8)),
    }
    x, y = at
    return Line(tuple((x + dx, y + dy) for dx, dy in outlines[kind]), style, title, True, point)


@cache
def colours() -> dict[str, str]:
    """The colours of day, by name, as the page's style sheet has them first."""
    sheet = files("cpt.results.report").joinpath("report.css").read_text(encoding="utf-8")
    found = re.findall(r"--([\w-]+):\s*(?:light-dark\()?#([0-9a-fA-F]{3,6})\b", sheet.split("}", 1)[0])
    return {name: f"#{code if len(code) == 6 else ''.join(2 * digit for digit in code)}" for name, code in found}


@cache
def painted(style: str) -> dict[str, str]:
    """What a mark's styles come to, in the colours of day."""
    found: dict[str, str] = {}
    names = style.split()
    for name, look in PAINT.items():  # as in a style sheet, whatever the order of a mark's classes
        found |= look if name in names else {}
    return {key: colours()[value[6:-1]] if value.startswith("var(") else value for key, value in found.items()}

"""Curves over training: a panel for each model and language category, a line for each run or, of many, for each kind.

What a run was trained on is told by colour, by the marks on its line and, for code, by dashes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpt.results.analysis.study_results import Axes, StudyResults, run_order
from cpt.results.figures.drawing import SHAPES, Axis, Figure, Key, Line, Mark, Panel, Words, axis, shape
from cpt.results.rows.run_folders import read_curve, read_losses

POINTS = 150
"""At most so many points a curve: a panel is some 300 pixels wide."""
MANY = 12
"""Lines of a panel beyond which it shows means and ranges instead."""
GRID = 60
"""Steps at which a mean is taken."""
WIDTH, HEIGHT = 320.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 8.0, 30.0
COLOURS = 4
"""Line colours in the style sheet, `c0` to `c3`."""
UNKNOWN = Axes("Not yet scored", "unknown", False, "")
"""Where a run is drawn that neither plan nor rows tell about."""
HELD_OUT = {
    "train": "trained languages",
    "related": "related languages",
    "english": "English",
    "code": "code",
}
"""Groups of languages whose held-out text is followed through the training."""

Points = list[tuple[float, float]]
Kind = tuple[str, bool]
"""What was trained on: data, and code or not."""


@dataclass(frozen=True)
class Curve:
    label: str
    axes: Axes
    points: Points
    point: int | None
    """Of the study, where the run stands."""

    @property
    def kind(self) -> Kind:
        return self.axes.data, self.axes.code


@dataclass(frozen=True)
class Look:
    """How a kind of run is drawn."""

    colour: int
    mark: str
    code: bool

    @property
    def line(self) -> str:
        return f"line c{self.colour}{' dashed' if self.code else ''}"

    def dot(self, x: float, y: float, point: int | None = None) -> Mark:
        style = f"dot c{self.colour} {'hollow' if self.code else f'f{self.colour}'}"
        return shape(self.mark, (x, y), 3.0, style, point=point)


def losses(contents: StudyResults) -> Figure | None:
    """The training loss of every run."""
    note = (
        f"At most {POINTS} points a curve, each the mean of the steps since the one before. Panels of one model share "
        "a scale; losses of different models cannot be compared, for their tokens differ."
    )
    return curves(contents, read_losses, "Training loss", "loss", note)


def held_out(contents: StudyResults, role: str) -> Figure | None:
    """Bits per byte of held-out text in one group of languages, from the base model on."""
    note = "Of the beginning of the held-out text, the mean over the group's languages. A rise is forgetting."
    title = f"Bits per byte while training, {HELD_OUT[role]}"
    return curves(contents, partial(read_curve, role=role), title, f"curve-{role}", note)


def curves(
    contents: StudyResults, read: Callable[[Path], Sequence[tuple[int, float]]], title: str, name: str, note: str
) -> Figure | None:
    """All panels of what `read` finds in runs' folders, a row of them for each model; None when there is nothing."""
    found = [
        Curve(contents.labels[run_id], contents.axes.get(run_id, UNKNOWN), thin(points), contents.point(run_id))
        for folder in contents.folders
        if (run_id := folder.run_id) and (points := read(folder.path))
    ]
    if not found:
        return None
    found.sort(key=lambda curve: (curve.axes == UNKNOWN, run_order(curve.axes), curve.label))
    looks = _looks(found)
    panels: dict[str, dict[str, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    for curve in found:
        panels[curve.axes.model][curve.axes.langcat].append(curve)
    rows = tuple(_row(model, row, looks, title) for model, row in panels.items())
    keys = tuple(_key(kind, look) for kind, look in looks.items())
    if any(len(row) > MANY for of_model in panels.values() for row in of_model.values()):
        note += f" Panels of more than {MANY} runs show the mean and the range of each kind."
    return Figure(name, title, note, rows, keys, contents.tag)


def thin(points: Sequence[tuple[int, float]], most: int = POINTS) -> Points:
    """At most `most` points: the mean of each stretch of equally many steps, at the stretch's last step."""
    size = math.ceil(len(points) / most) if points else 1
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [(stretch[-1][0], math.fsum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches]


def _looks(found: Iterable[Curve]) -> dict[Kind, Look]:
    places: dict[str, int] = {}
    looks = {}
    for data, code in dict.fromkeys(curve.kind for curve in found):
        place = places.setdefault(data, len(places))
        looks[data, code] = Look(place % COLOURS, SHAPES[place % len(SHAPES)], code)
    return looks


def _key(kind: Kind, look: Look) -> Key:
    data, code = kind
    return Key((Line(((0, 6), (28, 6)), look.line), look.dot(14, 6)), f"{data}{' + code' if code else ''}")


def _row(model: str, panels: dict[str, list[Curve]], looks: dict[Kind, Look], title: str) -> tuple[Panel, ...]:
    """The panels of one model, on one scale."""
    values = [value for found in panels.values() for curve in found for _, value in curve.points]
    down = axis(values, HEIGHT - BOTTOM, TOP, 0.04)
    return tuple(_panel(f"{model} {langcat}".strip(), found, down, looks, title) for langcat, found in panels.items())


def _panel(name: str, found: list[Curve], down: Axis, looks: dict[Kind, Look], title: str) -> Panel:
    last = max(curve.points[-1][0] for curve in found) or 1
    across = Axis(0, last, LEFT, WIDTH - RIGHT)
    marks = _scales(across, down)
    if len(found) > MANY:
        drawn, told = _kinds(found, across, down, looks)
    else:
        drawn, told = _each(found, across, down, looks), [_told(curve) for curve in found]
    return Panel(name, WIDTH, HEIGHT, (*marks, *drawn), f"{title} by step, {name}. " + "; ".join(told))


def _scales(across: Axis, down: Axis) -> list[Mark]:
    marks: list[Mark] = []
    for value in down.ticks(5):
        y = down.at(value)
        marks.append(Line(((LEFT, y), (WIDTH - RIGHT, y)), "grid"))
        marks.append(Words(f"{value:.4g}", (LEFT - 5, y + 3.5), anchor="end"))
    for step in across.ticks():
        x = across.at(step)
        anchor = "start" if step == 0 else "end" if x > WIDTH - 30 else "middle"
        marks.append(Words(f"{step:,.0f}", (x, HEIGHT - 15), anchor=anchor))
    marks.append(Words("step", ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 2), anchor="middle"))
    return marks


def _each(found: Iterable[Curve], across: Axis, down: Axis, looks: dict[Kind, Look]) -> list[Mark]:
    marks: list[Mark] = []
    for curve in found:
        marks += _drawn(curve.points, across, down, looks[curve.kind], _told(curve), curve.point)
    return marks


def _drawn(points: Points, across: Axis, down: Axis, look: Look, title: str, point: int | None = None) -> list[Mark]:
    """A line, and on it a few marks that say in grey what it is of."""
    places = [(across.at(step), down.at(value)) for step, value in points]
    spots = sorted({round(part * (len(places) - 1) / 4) for part in range(5)})
    line = Line(tuple(places), look.line, title, point=point)
    return [line, *(look.dot(*places[spot], point) for spot in spots)]


def _kinds(found: Sequence[Curve], across: Axis, down: Axis, looks: dict[Kind, Look]) -> tuple[list[Mark], list[str]]:
    """The mean and the range of each kind of run, at each step over those that have come so far."""
    areas: list[Mark] = []
    lines: list[Mark] = []
    told = []
    for kind, look in looks.items():
        alike = [curve.points for curve in found if curve.kind == kind]
        if not alike:
            continue
        steps, low, mean, high = bands(alike, across.high)
        data, code = kind
        ends = f"{mean[0]:.3f} to {mean[-1]:.3f}, in the end {low[-1]:.3f} to {high[-1]:.3f}"
        words = f"{data}{' + code' if code else ''}, mean of {len(alike)} runs: {ends}"
        edge = [*zip(steps, high, strict=True), *zip(steps[::-1], low[::-1], strict=True)]
        outline = tuple((across.at(step), down.at(value)) for step, value in edge)
        areas.append(Line(outline, f"area f{look.colour}", words, closed=True))
        lines += _drawn(list(zip(steps.tolist(), mean.tolist(), strict=True)), across, down, look, words)
        told.append(words)
    return [*areas, *lines], told


def bands(found: Sequence[Points], last: float) -> tuple[NDArray[np.float64], ...]:
    """Steps, and at each the lowest, the mean and the highest of the curves that have come so far."""
    steps = np.linspace(0, last, GRID)
    curves = [np.array(points, dtype=np.float64).T for points in found]
    values = np.array([np.interp(steps, x, y, left=np.nan, right=np.nan) for x, y in curves])
    some = ~np.isnan(values).all(axis=0)
    values = values[:, some]
    return steps[some], np.nanmin(values, axis=0), np.nanmean(values, axis=0), np.nanmax(values, axis=0)


def _told(curve: Curve) -> str:
    (_, first), (step, final) = curve.points[0], curve.points[-1]
    return f"{curve.label}: {first:.3f} to {final:.3f} at step {step:,.0f}"

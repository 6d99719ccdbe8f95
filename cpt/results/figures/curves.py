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
from cpt.results.figures.drawing import SHAPES, Axis, Dot, Figure, Key, Line, Mark, Panel, axis, ticks
from cpt.results.rows.run_folders import read_curve, read_losses

POINTS = 150
"""At most so many points a curve: a panel is some 300 pixels wide."""
MANY = 12
"""Lines of a panel beyond which it shows means and ranges instead."""
GRID = 60
"""Steps at which a mean is taken."""
WIDTH, HEIGHT = 270.0, 162.0
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

    def dot(self, x: float, y: float, point: int | None = None) -> Dot:
        style = f"dot c{self.colour} {'hollow' if self.code else f'f{self.colour}'}"
        return Dot((x, y), self.mark, 3.0, style, point=point)


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
    """All panels of the curves that `read` gives for the folders of runs, a row for each model; None without any."""
    lines = [
        Curve(contents.labels[run_id], contents.axes.get(run_id, UNKNOWN), thin(points), contents.point(run_id))
        for folder in contents.folders
        if (run_id := folder.run_id) and (points := read(folder.path))
    ]
    if not lines:
        return None
    lines.sort(key=lambda curve: (curve.axes == UNKNOWN, run_order(curve.axes), curve.label))
    looks = _looks(lines)
    panels: dict[str, dict[str, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    for curve in lines:
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


def _looks(lines: Iterable[Curve]) -> dict[Kind, Look]:
    numbers: dict[str, int] = {}
    looks = {}
    for data, code in dict.fromkeys(curve.kind for curve in lines):
        number = numbers.setdefault(data, len(numbers))
        looks[data, code] = Look(number % COLOURS, SHAPES[number % len(SHAPES)], code)
    return looks


def _key(kind: Kind, look: Look) -> Key:
    data, code = kind
    return Key((Line(((0, 6), (28, 6)), look.line), look.dot(14, 6)), f"{data}{' + code' if code else ''}")


def _row(model: str, panels: dict[str, list[Curve]], looks: dict[Kind, Look], title: str) -> tuple[Panel, ...]:
    """The panels of one model, on one scale."""
    y = axis([value for curves in panels.values() for curve in curves for _, value in curve.points], 0.04, most=5)
    return tuple(_panel(f"{model} {langcat}".strip(), curves, y, looks, title) for langcat, curves in panels.items())


def _panel(name: str, curves: list[Curve], y: Axis, looks: dict[Kind, Look], title: str) -> Panel:
    last = max(curve.points[-1][0] for curve in curves) or 1
    x = Axis(0, last, tuple((step, f"{step:,.0f}") for step in ticks(0, last)), "step")
    if len(curves) > MANY:
        marks, texts = _kinds(curves, last, looks)
    else:
        marks, texts = _each(curves, looks), [_text(curve) for curve in curves]
    return Panel(name, x, y, WIDTH, HEIGHT, tuple(marks), f"{title} by step, {name}. " + "; ".join(texts))


def _each(curves: Iterable[Curve], looks: dict[Kind, Look]) -> list[Mark]:
    return [mark for curve in curves for mark in _line(curve.points, looks[curve.kind], _text(curve), curve.point)]


def _line(points: Points, look: Look, title: str, point: int | None = None) -> list[Mark]:
    """A line with a few dots on it, whose shape tells its data without colour."""
    spots = sorted({round(part * (len(points) - 1) / 4) for part in range(5)})
    line = Line(tuple(points), look.line, title, point=point)
    return [line, *(look.dot(*points[spot], point) for spot in spots)]


def _kinds(curves: Sequence[Curve], last: float, looks: dict[Kind, Look]) -> tuple[list[Mark], list[str]]:
    """The mean and the range of each kind of run, at each step over the curves that have come so far."""
    areas: list[Mark] = []
    lines: list[Mark] = []
    texts = []
    for kind, look in looks.items():
        alike = [curve.points for curve in curves if curve.kind == kind]
        if not alike:
            continue
        steps, low, mean, high = (values.tolist() for values in bands(alike, last))
        data, code = kind
        ends = f"{mean[0]:.3f} to {mean[-1]:.3f}, in the end {low[-1]:.3f} to {high[-1]:.3f}"
        text = f"{data}{' + code' if code else ''}, mean of {len(alike)} runs: {ends}"
        edge = (*zip(steps, high, strict=True), *zip(steps[::-1], low[::-1], strict=True))
        areas.append(Line(edge, f"area f{look.colour}", text, closed=True))
        lines += _line(list(zip(steps, mean, strict=True)), look, text)
        texts.append(text)
    return [*areas, *lines], texts


def bands(curves: Sequence[Points], last: float) -> tuple[NDArray[np.float64], ...]:
    """Steps, and at each the lowest, the mean and the highest of the curves that have come so far."""
    steps = np.linspace(0, last, GRID)
    lines = (np.array(points, dtype=np.float64).T for points in curves)
    values = np.array([np.interp(steps, x, y, left=np.nan, right=np.nan) for x, y in lines])
    some = ~np.isnan(values).all(axis=0)
    values = values[:, some]
    return steps[some], np.nanmin(values, axis=0), np.nanmean(values, axis=0), np.nanmax(values, axis=0)


def _text(curve: Curve) -> str:
    (_, first), (step, final) = curve.points[0], curve.points[-1]
    return f"{curve.label}: {first:.3f} to {final:.3f} at step {step:,.0f}"

"""Effects with their intervals, a line each: what of a study's axes made scores better or worse, and how surely."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.paired_test import BETTER, WORSE
from cpt.results.figures.drawing import SIZE, Axis, Figure, Key, Line, Mark, Panel, Words, axis, shape, width_of
from cpt.results.figures.paired import slug
from cpt.results.rows.measures import ROLE_LABELS, Measure
from cpt.results.rows.table import MEASURE

BASE, TIMES = "base", "×"
PLOT, RIGHT = 190.0, 34.0
LEADING, ROOM = 12.5, 9.0
HEAD, FOOT = 16.0, 30.0
FAR = 4.0
"""An interval that reaches so many times further than the middling one is cut, lest it press all others flat."""
CALLED = {"langcat": "category", BASE: "trained"}
Part = tuple[str, pd.DataFrame, list[list[str]]]
"""What a panel shows: its name, effects, and the lines of the label of each."""
KEYS = (
    Key((shape("up", (14, 6), 4, "dot better"),), "better"),
    Key((shape("down", (14, 6), 4, "dot worse"),), "worse"),
    Key((shape("circle", (14, 6), 4, "dot unclear"),), "unclear: chance may explain it"),
)


def forest(effects: pd.DataFrame, measure: Measure, tag: str = "") -> Figure | None:
    """Training against none, in one panel, and each axis, in a panel for each group of languages."""
    lines = _of(effects, measure)
    lines = lines[~lines["effect"].str.contains(TIMES)]
    base = lines[lines["effect"] == BASE]
    parts: list[Part] = []
    if len(base):
        parts.append(("trained − base", base, [[_role(str(role))] for role in base["role"]]))
    parts += _by_role(lines[lines["effect"] != BASE])
    return _figure(f"effects-{slug(measure)}", f"{measure.title}: effects", parts, measure, tag)


def interactions(effects: pd.DataFrame, measure: Measure, tag: str = "") -> Figure | None:
    """How much the effect of one axis depends on another, in a panel for each group of languages."""
    lines = _of(effects, measure)
    parts = _by_role(lines[lines["effect"].str.contains(TIMES)])
    return _figure(f"interactions-{slug(measure)}", f"{measure.title}: interactions", parts, measure, tag)


def _of(effects: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    lines = effects[(effects[list(MEASURE)] == list(measure)).all(axis=1)]
    order = {role: place for place, role in enumerate(ROLES)}
    return lines.sort_values("role", key=lambda roles: roles.map(order).fillna(len(order)), kind="stable")


def _role(role: str) -> str:
    return ROLE_LABELS.get(role, role)


def _by_role(lines: pd.DataFrame) -> list[Part]:
    return [(_role(str(role)), part, _labels(part)) for role, part in lines.groupby("role", sort=False)]


def _labels(lines: pd.DataFrame) -> list[list[str]]:
    """The label of each effect: of an interaction two lines, its axes and their levels."""
    found = []
    for effect, contrast in zip(lines["effect"], lines["contrast"], strict=True):
        called = TIMES.join(CALLED.get(axis, axis) for axis in effect.split(TIMES))
        found.append([called, contrast] if TIMES in effect else [f"{called}: {contrast}"])
    return found


def _figure(name: str, title: str, parts: Sequence[Part], measure: Measure, tag: str) -> Figure | None:
    if not parts:
        return None
    left = max(width_of(line) for _, _, labels in parts for label in labels for line in label) + 12
    panels = [_panel(head, lines, measure, labels, left) for head, lines, labels in parts]
    unit = measure.shown.change_unit or measure.shown.label
    note = (
        f"Differences in {unit}, {measure.better or 'no sense known'}, with 95 % intervals; an arrow: it goes on. Each "
        "panel has a scale of its own. Filled: chance is ruled out at 5 %, after correction for all effects of the "
        "study. n: languages."
    )
    if any(lines.loc[lines["estimate"].notna(), "ci_low"].isna().any() for _, lines, _ in parts):
        note += " Without a line: how sure it is is not known."
    rows = tuple(tuple(panels[start : start + 2]) for start in range(0, len(panels), 2))
    return Figure(name, title, note, rows, KEYS, tag, measure)


def _panel(name: str, lines: pd.DataFrame, measure: Measure, labels: Sequence[list[str]], left: float) -> Panel:
    rows = list(lines.itertuples(index=False))
    across = _across(rows, measure.shown.factor, left)
    marks: list[Mark] = []
    y = HEAD
    for row, label in zip(rows, labels, strict=True):
        height = LEADING * len(label) + ROOM
        marks += [
            Words(part, (left - 10, y + ROOM / 2 + LEADING * place + SIZE * 0.9), "label", "end")
            for place, part in enumerate(label)
        ]
        marks += _effect(row, y + height / 2, across, measure)
        y += height
    told = "; ".join(_told(row, ": ".join(label), measure) for row, label in zip(rows, labels, strict=True))
    said = f"{measure.title}, {name}. {told}"
    grid = _grid(across, y, measure)
    return Panel(name, left + PLOT + RIGHT, y + FOOT, (*grid, *marks), said)


def _across(rows: Iterable[Any], factor: float, left: float) -> Axis:
    """An axis with zero on it, and all estimates, and all intervals but those that reach far."""
    values = [0.0]
    reaches = []
    for row in rows:
        values += [row.estimate] if math.isfinite(row.estimate) else []
        if math.isfinite(row.ci_low):
            reaches += [(row.ci_low, abs(row.ci_low - row.estimate)), (row.ci_high, abs(row.ci_high - row.estimate))]
    if reaches:
        far = FAR * statistics.median(reach for _, reach in reaches)
        values += [end for end, reach in reaches if reach <= far]
    return axis([value * factor for value in values], left, left + PLOT)


def _grid(across: Axis, bottom: float, measure: Measure) -> list[Mark]:
    marks: list[Mark] = []
    for tick in across.ticks():
        x = across.at(tick)
        marks.append(Line(((x, HEAD), (x, bottom + 3)), "zero" if abs(tick) < 1e-12 else "grid"))
        marks.append(Words(f"{tick:,.4g}".replace("-", "−"), (x, bottom + 15), anchor="middle"))
    middle = (across.start + across.end) / 2
    marks.append(Words(measure.shown.change_unit or measure.shown.label, (middle, bottom + 28), anchor="middle"))
    marks.append(Words("n", (across.end + RIGHT, HEAD - 6), anchor="end"))
    return marks


def _effect(row: Any, y: float, across: Axis, measure: Measure) -> list[Mark]:
    count = Words(f"{row.languages}", (across.end + RIGHT, y + SIZE / 3), anchor="end")
    if not math.isfinite(row.estimate):
        return [Words("not to be told", ((across.start + across.end) / 2, y + SIZE / 3), anchor="middle"), count]
    kind, style = {BETTER: ("up", "better"), WORSE: ("down", "worse")}.get(row.verdict, ("circle", "unclear"))
    factor = measure.shown.factor
    title = _told(row, f"{row.effect}, {row.contrast}", measure)
    marks: list[Mark] = []
    if math.isfinite(row.ci_low):
        ends = [across.at(end * factor) for end in (row.ci_low, row.ci_high)]
        low, high = max(ends[0], across.start), min(ends[1], across.end)
        colour = "line" if style == "unclear" else f"line {style}"
        marks.append(Line(((low, y), (high, y)), colour, title))
        marks += [_arrow(x, y, step) for x, end, step in ((low, ends[0], 5), (high, ends[1], -5)) if x != end]
    return [*marks, shape(kind, (across.at(row.estimate * factor), y), 4, f"dot {style}", title), count]


def _arrow(x: float, y: float, step: float) -> Mark:
    return Line(((x + step, y - 4), (x, y), (x + step, y + 4)), "line")


def _told(row: Any, label: str, measure: Measure) -> str:
    if not math.isfinite(row.estimate):
        return f"{label}: {row.why or 'not known'}"
    sure = f" (95 % {measure.span(row.ci_low, row.ci_high)})" if math.isfinite(row.ci_low) else " (no interval)"
    why = f", {row.why}" if row.why else ""
    return f"{label}: {measure.difference(row.estimate)}{sure}, {row.verdict}, n = {row.languages} languages{why}"

"""Effects with their intervals, a line each: what of a study's axes made scores better or worse, and how surely."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.paired_test import BETTER, WORSE
from cpt.results.figures.drawing import SIZE, Axis, Dot, Figure, Key, Line, Mark, Panel, Words, axis, rows_axis
from cpt.results.figures.paired import slug
from cpt.results.rows.measures import ROLE_LABELS, Measure
from cpt.results.rows.table import MEASURE

BASE, TIMES = "base", "×"
PLOT, RIGHT = 190.0, 34.0
LEADING, ROOM = 12.5, 9.0
FAR = 4.0
"""An interval that reaches so many times further than the middling one is cut, lest it press all others flat."""
CALLED = {"langcat": "category", BASE: "trained"}
Part = tuple[str, pd.DataFrame, list[list[str]]]
"""What a panel shows: its name, effects, and the lines of the label of each."""
KEYS = (
    Key((Dot((14, 6), "up", 4, "dot better"),), "better"),
    Key((Dot((14, 6), "down", 4, "dot worse"),), "worse"),
    Key((Dot((14, 6), "circle", 4, "dot unclear"),), "unclear: chance may explain it"),
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
    panels = [_panel(head, lines, measure, labels) for head, lines, labels in parts]
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


def _panel(name: str, lines: pd.DataFrame, measure: Measure, labels: Sequence[list[str]]) -> Panel:
    rows = list(lines.itertuples(index=False))
    x = _axis(rows, measure)
    marks: list[Mark] = [Words("n", (x.high, 0), anchor="end", offset=(RIGHT, -6))]
    y = 0.0
    for row, label in zip(rows, labels, strict=True):
        height = LEADING * len(label) + ROOM
        marks += [
            Words(part, (x.low, y + ROOM / 2 + LEADING * number + SIZE * 0.9), "label", "end", (-10, 0))
            for number, part in enumerate(label)
        ]
        marks += _effect(row, y + height / 2, x, measure)
        y += height
    texts = "; ".join(_text(row, ": ".join(label), measure) for row, label in zip(rows, labels, strict=True))
    zero = Line(((0, 0), (0, y)), "zero")
    return Panel(name, x, rows_axis(y), PLOT, y, (zero, *marks), f"{measure.title}, {name}. {texts}")


def _axis(rows: Iterable[Any], measure: Measure) -> Axis:
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
    shown = measure.shown
    return axis([value * shown.factor for value in values], label=shown.change_unit or shown.label)


def _effect(row: Any, y: float, x: Axis, measure: Measure) -> list[Mark]:
    count = Words(f"{row.languages}", (x.high, y), anchor="end", offset=(RIGHT, SIZE / 3))
    if not math.isfinite(row.estimate):
        return [Words("not to be told", ((x.low + x.high) / 2, y), anchor="middle", offset=(0, SIZE / 3)), count]
    shape, style = {BETTER: ("up", "better"), WORSE: ("down", "worse")}.get(row.verdict, ("circle", "unclear"))
    factor = measure.shown.factor
    title = _text(row, f"{row.effect}, {row.contrast}", measure)
    marks: list[Mark] = []
    if math.isfinite(row.ci_low):
        low, high = max(row.ci_low * factor, x.low), min(row.ci_high * factor, x.high)
        colour = "line" if style == "unclear" else f"line {style}"
        marks.append(Line(((low, y), (high, y)), colour, title))
        arrow = f"dot {style}" if style != "unclear" else "dot"
        marks += [Dot((low, y), "left", 3, arrow)] if low == x.low else []
        marks += [Dot((high, y), "right", 3, arrow)] if high == x.high else []
    return [*marks, Dot((row.estimate * factor, y), shape, 4, f"dot {style}", title), count]


def _text(row: Any, label: str, measure: Measure) -> str:
    if not math.isfinite(row.estimate):
        return f"{label}: {row.why or 'not known'}"
    sure = f" (95 % {measure.span(row.ci_low, row.ci_high)})" if math.isfinite(row.ci_low) else " (no interval)"
    why = f", {row.why}" if row.why else ""
    return f"{label}: {measure.difference(row.estimate)}{sure}, {row.verdict}, n = {row.languages} languages{why}"

"""Mono against bi, and without against with code: of every language two scores, joined, over runs alike in all else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.mono_bi_pairs import NAMES, SIDES, Pairs
from cpt.results.figures.drawing import SIZE, Axis, Figure, Key, Line, Mark, Panel, Words, axis, shape, width_of
from cpt.results.rows.measures import ROLE_LABELS, Measure, language_name, language_order
from cpt.results.rows.table import MEASURE

PLOT = 210.0
LINE, HEAD, FOOT = 15.0, 26.0, 30.0
SHAPES = ("circle", "diamond")
STYLES = ("dot c3 hollow", "dot c0 f0")


@dataclass(frozen=True)
class Drawn:
    """What all panels of a figure have in common."""

    measure: Measure
    names: tuple[str, str]

    def words(self, row: Any) -> str:
        values = self.measure.value(row.first), self.measure.value(row.second)
        both = " and ".join(f"{name} {value}" for name, value in zip(self.names, values, strict=True))
        count = f"{row.pairs} pair" + ("s" if row.pairs > 1 else "")
        return f"{both}, difference {self.measure.difference(row.difference)}, of {count}"


Block = tuple[str, list[tuple[str, Any]]]
"""A heading and the lines below it, each with its label."""


def paired(found: Pairs, axis: str, measure: Measure, tag: str = "") -> Figure | None:
    """One measure of runs in pairs: a panel for each category, and one for English and code after each."""
    languages, means = (
        each[(each[list(MEASURE)] == list(measure)).all(axis=1)] for each in (found.languages, found.means)
    )
    if languages.empty:
        return None
    first, second = (NAMES.get(level, str(level)) for level in SIDES[axis])
    drawn = Drawn(measure, (first, second))
    grouped = languages["role"].isin(GROUPS)
    parts = [
        (str(langcat), _categories(part, means[means["langcat"] == langcat], measure))
        for langcat, part in languages[grouped].groupby("langcat", sort=True)
    ]
    if not grouped.all():
        parts.append(("after each category", list(_others(languages[~grouped]))))
    left = max(width_of(label) for _, blocks in parts for _, lines in blocks for label, _ in lines) + 12
    panels = [_panel(head, blocks, drawn, left) for head, blocks in parts]
    looks = zip(SHAPES, STYLES, drawn.names, strict=True)
    keys = tuple(Key((shape(kind, (14, 6), 4, style),), word) for kind, style, word in looks)
    unit = f" in {measure.shown.unit}" if measure.shown.unit else ""
    note = (
        f"Scores by language{unit}, {measure.better or 'no sense known'}: means over runs that differ in this alone. "
        f"Above each group: {second} less {first}, the mean over its languages with a 95 % interval over them. "
        "A line is blue where that is better, orange where it is worse."
    )
    name, title = f"paired-{axis}-{slug(measure)}", f"{measure.title}: {first} against {second}"
    cut = tuple(tuple(panels[start : start + 2]) for start in range(0, len(panels), 2))
    return Figure(name, title, note, cut, keys, tag, measure)


def slug(measure: Measure) -> str:
    """A measure as part of a file's name."""
    parts = [measure.task, measure.direction, measure.protocol, measure.metric.replace("+", "p")]
    return "-".join(part for part in parts if part)


def _categories(languages: pd.DataFrame, means: pd.DataFrame, measure: Measure) -> list[Block]:
    """The languages of one category, by role."""
    blocks = []
    for role in GROUPS:
        rows = list(languages[languages["role"] == role].itertuples(index=False))
        if rows:
            (mean,) = means[means["role"] == role].itertuples(index=False)
            rows.sort(key=lambda row: language_order(str(row.language)))
            heading = f"{ROLE_LABELS[role]}: {_difference(mean, measure)}"
            blocks.append((heading, [(language_name(str(row.language)), row) for row in rows]))
    return blocks


def _others(means: pd.DataFrame) -> Iterable[Block]:
    """English, and code: each after the training of each category."""
    for role in sorted(set(means["role"]), key=lambda role: (ROLES.index(role) if role in ROLES else len(ROLES), role)):
        rows = list(means[means["role"] == role].itertuples(index=False))
        several = len({row.language for row in rows}) > 1
        named = (f"{language_name(str(row.language))}, " if several else "" for row in rows)
        labels = [f"{name}{row.langcat}" for name, row in zip(named, rows, strict=True)]
        yield ROLE_LABELS.get(role, role), list(zip(labels, rows, strict=True))


def _panel(name: str, blocks: Sequence[Block], drawn: Drawn, left: float) -> Panel:
    lines = [line for _, part in blocks for line in part]
    factor = drawn.measure.shown.factor
    across = axis([value * factor for _, row in lines for value in (row.first, row.second)], left, left + PLOT)
    marks: list[Mark] = []
    told: list[str] = []
    y = 0.0
    for heading, part in blocks:
        marks.append(Words(heading, (0, y + 17), "label"))
        told.append(f"{heading} ({len(part)})")
        y += HEAD
        for label, row in part:
            marks += _line(label, row, y + LINE / 2, across, drawn)
            told.append(f"{label} {drawn.words(row)}")
            y += LINE
    grid = _grid(across, y, drawn.measure)
    width = max(left + PLOT + 12, *(width_of(heading) for heading, _ in blocks))
    return Panel(name, width, y + FOOT, (*grid, *marks), f"{drawn.measure.title}, {name}. {'; '.join(told)}")


def _grid(across: Axis, bottom: float, measure: Measure) -> list[Mark]:
    marks: list[Mark] = []
    for tick in across.ticks():
        x = across.at(tick)
        marks.append(Line(((x, HEAD), (x, bottom + 3)), "grid"))
        marks.append(Words(f"{tick:,.4g}", (x, bottom + 15), anchor="middle"))
    unit = f"{measure.shown.label}, {measure.shown.unit}" if measure.shown.unit else measure.shown.label
    marks.append(Words(unit, ((across.start + across.end) / 2, bottom + 28), anchor="middle"))
    return marks


def _line(label: str, row: Any, y: float, across: Axis, drawn: Drawn) -> list[Mark]:
    ends = [across.at(value * drawn.measure.shown.factor) for value in (row.first, row.second)]
    gain = drawn.measure.gain(row.difference)
    style = "better" if gain > 0 else "worse" if gain < 0 else "zero"
    title = f"{label}: {drawn.words(row)}"
    return [
        Words(label, (across.start - 10, y + SIZE / 3), "label", "end"),
        Line(((ends[0], y), (ends[1], y)), f"line {style}", title),
        *(shape(kind, (x, y), 3.6, look, title) for kind, x, look in zip(SHAPES, ends, STYLES, strict=True)),
    ]


def _difference(mean: Any, measure: Measure) -> str:
    value = measure.difference(mean.difference)
    if mean.ci_low != mean.ci_low:
        return f"{value} (too few languages for an interval)"
    return f"{value} ({measure.span(mean.ci_low, mean.ci_high)})"

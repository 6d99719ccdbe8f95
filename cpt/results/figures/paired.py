"""Mono against bi, and without against with code: of every language two scores, joined, over runs alike in all else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.mono_bi_pairs import NAMES, SIDES, Pairs
from cpt.results.figures.drawing import SIZE, Dot, Figure, Key, Line, Mark, Panel, Words, axis, rows_axis, width_of
from cpt.results.rows.measures import ROLE_LABELS, Measure, language_name, language_order
from cpt.results.rows.table import MEASURE

PLOT = 210.0
LINE, HEAD = 15.0, 26.0
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
    panels = [_panel(head, blocks, drawn) for head, blocks in parts]
    looks = zip(SHAPES, STYLES, drawn.names, strict=True)
    keys = tuple(Key((Dot((14, 6), shape, 4, style),), word) for shape, style, word in looks)
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


def _panel(name: str, blocks: Sequence[Block], drawn: Drawn) -> Panel:
    rows = [row for _, lines in blocks for _, row in lines]
    shown = drawn.measure.shown
    unit = f"{shown.label}, {shown.unit}" if shown.unit else shown.label
    x = axis([value * shown.factor for row in rows for value in (row.first, row.second)], label=unit)
    left = max(width_of(label) for _, lines in blocks for label, _ in lines) + 12
    marks: list[Mark] = []
    texts: list[str] = []
    y = 0.0
    for heading, lines in blocks:
        marks.append(Words(heading, (x.low, y), "label", offset=(-left, 17)))
        texts.append(f"{heading} ({len(lines)})")
        y += HEAD
        for label, row in lines:
            marks += _line(label, row, x.low, y + LINE / 2, drawn)
            texts.append(f"{label} {drawn.words(row)}")
            y += LINE
    return Panel(name, x, rows_axis(y), PLOT, y, tuple(marks), f"{drawn.measure.title}, {name}. {'; '.join(texts)}")


def _line(label: str, row: Any, left: float, y: float, drawn: Drawn) -> list[Mark]:
    ends = [(value * drawn.measure.shown.factor, y) for value in (row.first, row.second)]
    gain = drawn.measure.gain(row.difference)
    style = "line better" if gain > 0 else "line worse" if gain < 0 else "zero"
    title = f"{label}: {drawn.words(row)}"
    return [
        Words(label, (left, y), "label", "end", (-10, SIZE / 3)),
        Line((ends[0], ends[1]), style, title),
        *(Dot(end, shape, 3.6, look, title) for shape, end, look in zip(SHAPES, ends, STYLES, strict=True)),
    ]


def _difference(mean: Any, measure: Measure) -> str:
    value = measure.difference(mean.difference)
    if mean.ci_low != mean.ci_low:
        return f"{value} (too few languages for an interval)"
    return f"{value} ({measure.span(mean.ci_low, mean.ci_high)})"

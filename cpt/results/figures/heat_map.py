"""Change against base by run and language, as a picture for a paper; the page has a table with the same colours."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cpt.results.analysis.change.heat_maps import LEVELS, Column, Grid, HeatMap, arranged, level
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.drawing import SIZE, Axis, Figure, Key, Mark, Panel, Words, box, rows_axis
from cpt.results.figures.paired import slug
from cpt.results.rows.measures import ROLE_LABELS, Measure, language_name

WIDTH, HEIGHT, HEAD = 31.0, 15.0, 30.0
MANY = 60
"""Runs of a category beyond which those of a kind are drawn together, as their mean."""


@dataclass(frozen=True)
class Cell:
    change: float
    apart: bool
    """The intervals of run and base do not overlap."""


Heated = list[tuple[str, dict[Column, Cell]]]
"""Lines: what each is called, and its cells."""


def heat(contents: StudyResults, found: HeatMap) -> Figure:
    measure = found.measure
    rows = tuple((_panel(contents, found, langcat, grid),) for langcat, grid in sorted(found.grids.items()))
    unit = f", in {measure.shown.change_unit}" if measure.shown.change_unit else ""
    sense = measure.better or "no sense known"
    note = f"Score less the base model's{unit}; {sense}. Bold: the 95 % intervals do not overlap."
    keys = _keys(found) if measure.better else ()
    return Figure(
        f"change-{slug(measure)}", f"{measure.title}: change against base", note, rows, keys, contents.tag, measure
    )


def _keys(found: HeatMap) -> tuple[Key, ...]:
    most = abs(found.scale)
    down, up = (-most, most) if found.measure.gain(1.0) >= 0 else (most, -most)
    ends = (
        (f"w{LEVELS}", f"worse, {found.measure.change(down)}"),
        (f"b{LEVELS}", f"better, {found.measure.change(up)}"),
    )
    return tuple(Key((box(0, 1, 28, 10, f"cell {style}"),), words) for style, words in ends)


def _panel(contents: StudyResults, found: HeatMap, langcat: str, grid: Grid) -> Panel:
    columns, starts = arranged(grid.columns)
    lines = _lines(contents, grid)
    marks: list[Mark] = []
    places: dict[Column, float] = {}
    x = 0.0
    for column in columns:
        role, language = column
        x += 6 if column in starts and places else 0
        places[column] = x
        if column in starts:
            marks.append(Words(ROLE_LABELS.get(role, role), (x, 10)))
        marks.append(Words(language.split("_")[0], (x + WIDTH / 2, HEAD - 5), "label", "middle"))
        x += WIDTH
    for row, (name, cells) in enumerate(lines):
        y = HEAD + row * HEIGHT
        marks.append(Words(name, (0, y + HEIGHT / 2 + SIZE / 3), "label", "end", (-6, 0)))
        for column, cell in cells.items():
            marks += _cell(name, column, cell, places[column], y, found)
    said = f"{found.measure.title}, category {langcat}, change against base by run. {_told(lines, found.measure)}"
    height = HEAD + len(lines) * HEIGHT
    return Panel(langcat, Axis(0, x), rows_axis(height), x, height, tuple(marks), said)


def _lines(contents: StudyResults, grid: Grid) -> Heated:
    if len(grid.runs) <= MANY:
        return [
            (contents.labels[run_id], {column: _of(row) for column, row in scores.items()})
            for run_id, scores in grid.runs.items()
        ]
    kinds: dict[tuple[str, str, bool], dict[Column, list[Any]]] = defaultdict(lambda: defaultdict(list))
    runs: dict[tuple[str, str, bool], int] = defaultdict(int)
    for run_id, scores in grid.runs.items():
        axes = contents.axes[run_id]
        kind = axes.model, axes.data, axes.code
        runs[kind] += 1
        for column, row in scores.items():
            kinds[kind][column].append(row)
    return [
        (
            f"{model} {data}{' + code' if code else ''}, {runs[model, data, code]} runs",
            {column: _mean(rows) for column, rows in cells.items()},
        )
        for (model, data, code), cells in kinds.items()
    ]


def _of(row: Any) -> Cell:
    return Cell(float(row.difference), bool(row.ci_low > row.base_high or row.ci_high < row.base_low))


def _mean(rows: Iterable[Any]) -> Cell:
    """Of several runs, which have no one interval."""
    differences = [float(row.difference) for row in rows]
    return Cell(math.fsum(differences) / len(differences), False)


def _cell(name: str, column: Column, cell: Cell, x: float, y: float, found: HeatMap) -> list[Mark]:
    shade = level(found.measure.gain(cell.change), found.scale)
    value = found.measure.change(cell.change)
    ink = "bright" if shade.endswith(str(LEVELS)) else "weak"
    title = f"{name}, {language_name(column[1])}: {value}"
    return [
        box(x, y, WIDTH, HEIGHT, f"cell {shade}".rstrip(), title),
        Words(value, (x + WIDTH / 2, y + HEIGHT / 2 + 3), f"{'strong ' if cell.apart else ''}small {ink}", "middle"),
    ]


def _told(lines: Heated, measure: Measure) -> str:
    told = []
    for name, cells in lines:
        changes = {column: cell.change for column, cell in cells.items() if math.isfinite(cell.change)}
        if changes:
            least, most = min(changes, key=changes.__getitem__), max(changes, key=changes.__getitem__)
            ends = (f"{language_name(code)} {measure.change(changes[role, code])}" for role, code in (least, most))
            told.append(f"{name}: {' to '.join(ends)}")
    return "; ".join(told)

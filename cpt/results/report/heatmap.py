"""Change against base, run by language, as tables whose cells are coloured by how much better or worse a run is.

Tables and not pictures: the numbers can be read, searched, copied and spoken, and the colour is never the only
thing that tells. One table a language category, for runs of different categories share few languages; one scale
of colours a measure, so that its tables can be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.against_base import base_scores, changes
from cpt.results.report.contents import Contents
from cpt.results.report.filters import of_measure
from cpt.results.report.markup import Cell, Html, element, join, later, rows, scrolling, tagged
from cpt.results.rows.measures import ROLE_LABELS, Measure, language_name, language_order, number, signed
from cpt.results.rows.table import MEASURE

LEVELS = 5
"""Shades on either side of no change."""
SCALE_QUANTILE = 0.95
"""The change that gets the strongest shade; a few outliers beyond it must not pale all others."""

Column = tuple[str, str]
"""Role and language."""
EMPTY = Cell("")


@dataclass
class Grid:
    """One table: the runs of one category in one measure."""

    columns: set[Column] = field(default_factory=set)
    runs: dict[str, dict[Column, Any]] = field(default_factory=lambda: defaultdict(dict))
    """Rows of the changes by run id, in the order of the table."""
    bases: dict[str, dict[Column, Any]] = field(default_factory=lambda: defaultdict(dict))
    """Rows of the base models by model."""
    base_ids: dict[str, str] = field(default_factory=dict)


@dataclass
class HeatMap:
    measure: Measure
    scale: float
    """The change that gets the strongest shade."""
    grids: dict[str, Grid] = field(default_factory=lambda: defaultdict(Grid))


def level(gain: float, scale: float) -> str:
    """The class of a cell: b1…b5 for better, w1…w5 for worse, nothing for about no change."""
    if not (scale > 0 and abs(gain) > 0):
        return ""
    shade = min(LEVELS, int(abs(gain) / scale * LEVELS + 0.5))
    return f"{'b' if gain > 0 else 'w'}{shade}" if shade else ""


def scale_of(differences: pd.Series[float]) -> float:
    finite = differences.abs().dropna()
    return float(np.quantile(finite, SCALE_QUANTILE)) if len(finite) else 0.0


def heat_maps(contents: Contents) -> list[HeatMap]:
    """The heat map of every measure that has changes, arranged in one pass over the table."""
    compared = changes(contents.table)
    scales = compared.groupby(list(MEASURE))["difference"].apply(scale_of).to_dict()
    found = {measure: HeatMap(measure, scales[measure]) for measure in contents.measures() if measure in scales}
    for row in compared.itertuples(index=False):
        grid = found[_measure(row)].grids[str(row.langcat)]
        grid.columns.add(_column(row))
        grid.runs[str(row.run_id)][_column(row)] = row
    for row in base_scores(contents.table).itertuples(index=False):
        heat = found.get(_measure(row))
        if heat and row.langcat in heat.grids:
            grid = heat.grids[str(row.langcat)]
            grid.bases[str(row.model)][_column(row)] = row
            grid.base_ids[str(row.model)] = str(row.run_id)
    return list(found.values())


def _measure(row: Any) -> Measure:
    return Measure(row.task, row.direction, row.protocol, row.metric)


def _column(row: Any) -> Column:
    return row.role, row.language


def draw(contents: Contents, heat: HeatMap, shown: bool) -> Html:
    """One measure, folded away unless it is to be shown at once: a legend and a table for each category."""
    tables = [_table(contents, heat, langcat, grid) for langcat, grid in sorted(heat.grids.items())]
    return folded(heat.measure, shown, _legend(heat), *tables)


def folded(measure: Measure, shown: bool, *content: Html) -> Html:
    """Tables of a measure whose cells tell their numbers when pointed at, and the place where those are read out."""
    note = ", ".join(filter(None, [f"protocol {measure.protocol}" if measure.protocol else "", measure.better]))
    readout = element("p", class_="readout", aria_live="polite")
    heading = element("h3", measure.title, element("small", f" {note}") if note else "")
    figure = element("figure", *content, readout, class_="heat")
    if shown:
        return element("details", element("summary", heading), figure, open="", **of_measure(measure))
    return element("details", element("summary", heading), later(figure), **of_measure(measure))


def _legend(heat: HeatMap) -> Html:
    measure = heat.measure
    most = abs(heat.scale)
    down, up = (-most, most) if measure.gain(1.0) >= 0 else (most, -most)
    if not measure.better:
        return element("p", "Not coloured: it is not known which way is better.", class_="legend")
    shades = [f"w{shade}" for shade in range(LEVELS, 0, -1)] + ["z"] + [f"b{shade}" for shade in range(1, LEVELS + 1)]
    bar = element("span", *(element("i", class_=shade) for shade in shades), class_="bar", aria_hidden="true")
    worse, better = f"worse {measure.change(down)}", f"{measure.change(up)} better"
    return element("p", worse, " ", bar, " ", better, class_="legend")


def _table(contents: Contents, heat: HeatMap, langcat: str, grid: Grid) -> Html:
    columns, starts = arranged(grid.columns)
    body, model = [], None
    for run_id, scores in grid.runs.items():
        first = next(iter(scores.values()))
        if first.model != model:
            model = first.model
            body.append(_base_line(contents, heat.measure, grid, (str(model), langcat), columns))
        body.append([contents.named(run_id), *(_change_cell(heat, scores.get(column)) for column in columns)])
    said = f"Category {langcat}: {named(heat.measure, heat.measure.shown.change_unit)}, change against base"
    return by_language(contents, said, columns, starts, body)


def arranged(columns: Iterable[Column]) -> tuple[list[Column], set[Column]]:
    """Columns by role and in the registry's order, and of each role the first."""
    ordered = sorted(columns, key=lambda column: (_role_place(column[0]), language_order(column[1])))
    return ordered, {column for place, column in enumerate(ordered) if not place or ordered[place - 1][0] != column[0]}


def by_language(
    contents: Contents, said: str, columns: list[Column], starts: set[Column], body: list[list[Cell]]
) -> Html:
    """A table of runs by language, whatever its cells say of them."""
    edges = [place for place, column in enumerate(columns, start=1) if column in starts]
    for line in body:
        for place in edges:
            line[place] = replace(line[place], style=f"{line[place].style or ''} e".lstrip())
    filled = element(
        "table",
        element("caption", said, " ", tagged(contents.tag)),
        element("thead", *_head(columns, starts)),
        element("tbody", rows(body)),
        class_="sortable",
    )
    return scrolling(filled, said, len(body))


def named(measure: Measure, unit: str) -> str:
    """The measure with all that tells it from others: a table may be looked at away from its heading."""
    details = [unit, f"protocol {measure.protocol}" if measure.protocol else ""]
    said = ", ".join(filter(None, details))
    return f"{measure.title} ({said})" if said else measure.title


def _role_place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _head(columns: list[Column], starts: set[Column]) -> tuple[Html, Html]:
    """Two lines: the groups of languages, and the languages."""
    groups: dict[str, int] = defaultdict(int)
    for role, _ in columns:
        groups[role] += 1
    names = [
        element("th", ROLE_LABELS.get(role, role), colspan=count, scope="colgroup", class_="e")
        for role, count in groups.items()
    ]
    short = [code.split("_")[0] for _, code in columns]
    languages = [
        element(
            "th",
            element("abbr", brief if short.count(brief) == 1 else code, title=f"{language_name(code)} ({code})"),
            scope="col",
            class_="e" if (role, code) in starts else None,
        )
        for (role, code), brief in zip(columns, short, strict=True)
    ]
    return element("tr", element("th", "Run", rowspan=2, scope="col"), join(names)), element("tr", join(languages))


def _base_line(
    contents: Contents, measure: Measure, grid: Grid, whose: tuple[str, str], columns: list[Column]
) -> list[Cell]:
    """The base model's own scores, above the runs that are compared with them."""
    model, langcat = whose
    run_id = grid.base_ids[model]
    line = [Cell(f"{contents.labels[run_id]} score", style="base", point=contents.point(run_id, langcat))]
    for column in columns:
        row = grid.bases[model].get(column)
        line.append(EMPTY if row is None else Cell(measure.value(row.value), title=scored(measure, row)))
    return line


def _change_cell(heat: HeatMap, row: Any | None) -> Cell:
    if row is None:
        return EMPTY
    measure = heat.measure
    apart = row.ci_low > row.base_high or row.ci_high < row.base_low
    shade = level(measure.gain(row.difference), heat.scale)
    told = f"{scored(measure, row)}; base {measure.value(row.base)} ({signed(row.relative, 1)} %)"
    shown = measure.change(row.difference)
    return Cell(element("b", shown) if apart else shown, title=told, style=shade or None)


def scored(measure: Measure, row: Any) -> str:
    """A score in words, its interval if it has one, and how many items it is over; whose it is, its line tells."""
    span = f"{measure.value(row.ci_low)} to {measure.value(row.ci_high)}"
    sure = "" if pd.isna(row.ci_low) else f" (95 % {span})"
    return f"{measure.value(row.value)}{sure}, n = {number(row.n, 0)}"

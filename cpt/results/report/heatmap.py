"""Change against base, run by language, as tables whose cells are coloured by how much better or worse a run is.

Tables and not pictures: the numbers can be read, searched, copied and spoken, and the colour is never the only
thing that tells. One table a language category, for runs of different categories share few languages; one scale
of colours a measure, so that its tables can be compared.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pandas as pd

from cpt.results.analysis.change.heat_maps import LEVELS, Column, Grid, HeatMap, arranged, level
from cpt.results.figures.inline import of_measure
from cpt.results.figures.markup import Html, element, join, tagged
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, later, rows, scrolling
from cpt.results.rows.measures import ROLE_LABELS, Measure, language_name, number, signed

EMPTY = Cell("")


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

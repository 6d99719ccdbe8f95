"""The report's section on resources: what training changed where there is little text, and where there is much."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS, RESOURCES, change_of_resources
from cpt.results.analysis.change.heat_maps import level, scale_of
from cpt.results.analysis.conclusions import headline
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, caption, column_head
from cpt.results.rows.measures import ROLE_LABELS, Measure, number, signed

WORDS = (
    "Change of the mean over the languages of a level of resources against base, in % of the base's mean. Point at one "
    "for its 95 % interval over languages, which fewer than three have not, and the change in the measure's own unit."
)
Column = tuple[Measure, str]
"""Measure and level."""


def resources_section(contents: Contents) -> Html | None:
    """A table for trained and one for related languages; None where no run has a base."""
    found = change_of_resources(contents.quality.table)
    shown = headline(contents.quality.table)
    parts: list[Content] = [element("p", WORDS)]
    for role in GROUPS:
        rows = list(found[found["role"] == role].itertuples(index=False))
        drawn = _table(contents, role, rows, shown)
        if drawn:
            parts.append(drawn)
    return join(parts) if len(parts) > 1 else None


def _table(contents: Contents, role: str, rows: list[Any], shown: list[Measure]) -> Html | None:
    lines: dict[str, dict[Column, Any]] = defaultdict(dict)
    for row in rows:
        measure = Measure(str(row.task), str(row.direction), str(row.protocol), str(row.metric))
        if measure in shown:
            lines[str(row.run_id)][measure, str(row.resource)] = row
    columns = [(measure, name) for measure in shown for name in RESOURCES]
    columns = [column for column in columns if any(column in line for line in lines.values())]
    if not columns:
        return None
    heads: list[Content] = ["Run", *(column_head(measure, name) for measure, name in columns)]
    scales = {
        column: scale_of(pd.Series([line[column].change for line in lines.values() if column in line]))
        for column in columns
    }
    body = [
        [contents.named(run_id), *(_cell(line.get(column), column[0], scales[column]) for column in columns)]
        for run_id, line in lines.items()
    ]
    said = f"Change by level of resources, {ROLE_LABELS[role]} languages, %"
    return table(caption(contents, said), heads, body, SORTABLE)


def _cell(row: Any | None, measure: Measure, scale: float) -> Cell:
    if row is None:
        return text("")
    told = (
        f"95 % {signed(row.change_low, 1)} to {signed(row.change_high, 1)} %; {measure.difference(row.difference)} "
        f"({measure.span(row.difference_low, row.difference_high)}), from {measure.value(row.base_mean)}, "
        f"over {number(row.n, 0)} languages"
    )
    return Cell(
        signed(row.change, 1), sort=row.change, title=told, style=level(measure.gain(row.change), scale) or None
    )

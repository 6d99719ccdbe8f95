"""The report's section on forgetting: English and code of every run, beside its base over the same items."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from cpt.results.analysis.change.heat_maps import level, scale_of
from cpt.results.analysis.change.paired_test import UNCLEAR
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, caption, column_head
from cpt.results.rows.measures import NONE, ROLE_LABELS, Measure, number

WORDS = (
    "The run's score minus its base's, over the same items, and its 95 % interval, paired over them: what makes an "
    "item hard is hard for both, so it is narrower than the two scores' own tell. Blue is better than the base and "
    "orange worse, a scale for each column; without colour the interval holds zero."
)
Column = tuple[str, Measure]
"""Role and measure."""


def forgetting_section(contents: Contents) -> Html | None:
    """A line for each run, a column for each measure in English and in code; nothing where no run has a base."""
    found = contents.forgetting
    found = found[found["run_id"].isin(contents.labels)]
    if found.empty:
        return None
    lines: dict[str, dict[Column, Any]] = defaultdict(dict)
    columns: dict[Column, list[Any]] = defaultdict(list)
    for row in found.sort_values("role", key=_role_first, kind="stable").itertuples(index=False):
        column = (str(row.role), Measure(str(row.task), str(row.direction), str(row.protocol), str(row.metric)))
        columns[column].append(row)
    for column, rows in columns.items():
        for row in rows:
            lines[str(row.run_id)][column] = row
    scales = {column: scale_of(pd.Series([row.difference for row in rows])) for column, rows in columns.items()}
    order = [run_id for run_id in dict.fromkeys(found["run_id"]) if run_id in lines]
    body = [
        [
            contents.named(run_id),
            *(_cell(contents, lines[run_id].get(key), key[1], scales[key]) for key in columns),
        ]
        for run_id in order
    ]
    heads: list[Content] = ["Run", *(_head(column, rows) for column, rows in columns.items())]
    said = caption(contents, "English and code, difference from the base with its interval")
    return join([element("p", WORDS), table(said, heads, body, SORTABLE)])


def _role_first(roles: pd.Series[Any]) -> pd.Series[Any]:
    return roles == "code"


def _head(column: Column, rows: list[Any]) -> Html:
    role, measure = column
    fewest, most = min(row.n for row in rows), max(row.n for row in rows)
    n = f"n = {number(fewest, 0)}" + (f" to {number(most, 0)}" if most > fewest else "")
    unit = f"{measure.shown.change_unit}, " if measure.shown.change_unit else ""
    return column_head(measure, f"{ROLE_LABELS[role]}, {unit}{n}")


def _cell(contents: Contents, row: Any | None, measure: Measure, scale: float) -> Cell:
    if row is None:
        return text(NONE)
    told = (
        f"{contents.labels[row.run_id]}: {measure.value(row.value)}, base {measure.value(row.base)}, "
        f"n = {number(row.n, 0)}: {row.verdict}"
    )
    shown = join([measure.difference(row.difference), element("small", measure.span(row.ci_low, row.ci_high))])
    style = "" if row.verdict == UNCLEAR else level(measure.gain(row.difference), scale)
    return Cell(shown, sort=row.difference, title=told, style=style or None)

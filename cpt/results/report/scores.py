"""The report's section on scores that no change is reckoned from: of models evaluated as they are, without a base.

Where a model has a base, its scores are in the cells of the change by language; these here would be in no table.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from cpt.results.analysis.change.heat_maps import Column, arranged, uncompared
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.heatmap import EMPTY, by_language, folded, named, scored
from cpt.results.report.markup import Cell
from cpt.results.rows.measures import Measure
from cpt.results.rows.table import MEASURE

WORDS = (
    "Scores themselves, of what has nothing to be compared with: no run and base of the same model and category were "
    "both scored in the measure. Point at a score for its 95 % interval and the items it is over. Empty: not evaluated."
)


def scores_section(contents: Contents) -> Html | None:
    """A table for each measure and category: a line for each run or model, a column for each language."""
    found = uncompared(contents.table)
    if found.empty:
        return None
    of_measure = dict(iter(found.groupby(list(MEASURE), sort=False)))
    figures: list[Content] = []
    for measure in contents.measures():
        rows = of_measure.get(tuple(measure))
        if rows is not None:
            tables = [_table(contents, measure, str(langcat), part) for langcat, part in rows.groupby("langcat")]
            figures.append(folded(measure, not figures, *tables))
    return join([element("p", WORDS), *figures])


def _table(contents: Contents, measure: Measure, langcat: str, rows: pd.DataFrame) -> Html:
    lines: dict[str, dict[Column, Any]] = {}
    for row in rows.itertuples(index=False):
        lines.setdefault(str(row.run_id), {})[str(row.role), str(row.language)] = row
    columns, starts = arranged({column for line in lines.values() for column in line})
    body = [
        [contents.named(run_id, langcat), *(_cell(measure, line.get(column)) for column in columns)]
        for run_id, line in lines.items()
    ]
    return by_language(contents, f"Category {langcat}: {named(measure, measure.shown.unit)}", columns, starts, body)


def _cell(measure: Measure, row: Any | None) -> Cell:
    return EMPTY if row is None else Cell(measure.value(row.value), title=scored(measure, row))

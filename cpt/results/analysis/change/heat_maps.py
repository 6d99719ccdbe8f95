"""Changes against base arranged as heat maps: for each measure and language category a grid of runs by language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cpt.evals.rows import ROLES
from cpt.results.analysis.change.against_base import OWNER, base_scores
from cpt.results.rows.measures import Measure, language_order
from cpt.results.rows.table import MEASURE

LEVELS = 5
"""Shades on either side of no change."""
SCALE_QUANTILE = 0.95
"""The quantile of changes that gets the strongest shade, so that a few outliers do not make all others pale."""

Column = tuple[str, str]
"""Role and language."""


@dataclass
class Grid:
    """The runs of one category in one measure."""

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
    """By language category."""


def level(gain: float, scale: float) -> str:
    """The shade of a cell: b1…b5 for better, w1…w5 for worse, empty for about no change."""
    if not (scale > 0 and abs(gain) > 0):
        return ""
    shade = min(LEVELS, int(abs(gain) / scale * LEVELS + 0.5))
    return f"{'b' if gain > 0 else 'w'}{shade}" if shade else ""


def scale_of(differences: pd.Series[float]) -> float:
    """The change that gets the strongest shade; 0 if there is none."""
    finite = differences.abs().dropna()
    return float(np.quantile(finite, SCALE_QUANTILE)) if len(finite) else 0.0


def heat_maps(table: pd.DataFrame, compared: pd.DataFrame, measures: Iterable[Measure]) -> list[HeatMap]:
    """The heat map of every measure that has changes, from a table and its changes against base."""
    scales = compared.groupby(list(MEASURE))["difference"].apply(scale_of).to_dict()
    maps = {measure: HeatMap(measure, scales[measure]) for measure in measures if measure in scales}
    for row in compared.itertuples(index=False):
        grid = maps[_measure(row)].grids[str(row.langcat)]
        grid.columns.add(_column(row))
        grid.runs[str(row.run_id)][_column(row)] = row
    for row in base_scores(table).itertuples(index=False):
        heat = maps.get(_measure(row))
        if heat and row.langcat in heat.grids:
            grid = heat.grids[str(row.langcat)]
            grid.bases[str(row.model)][_column(row)] = row
            grid.base_ids[str(row.model)] = str(row.run_id)
    return list(maps.values())


def _measure(row: Any) -> Measure:
    return Measure(row.task, row.direction, row.protocol, row.metric)


def _column(row: Any) -> Column:
    return row.role, row.language


def arranged(columns: Iterable[Column]) -> tuple[list[Column], set[Column]]:
    """Columns by role, then in the registry's order of languages; and the first column of each role."""
    ordered = sorted(columns, key=lambda column: (_role_order(column[0]), language_order(column[1])))
    return ordered, {column for i, column in enumerate(ordered) if not i or ordered[i - 1][0] != column[0]}


def _role_order(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def uncompared(table: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model, category and measure in which no run was compared with its base."""
    key = [*OWNER, *MEASURE]
    known = set(compared[key].itertuples(index=False, name=None))
    alone = [owner not in known for owner in table[key].itertuples(index=False, name=None)]
    return table[pd.Series(alone, index=table.index, dtype="bool")]

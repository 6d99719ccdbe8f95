"""Values of the section on language confusion: shares of translations in another language or script, copied, empty.

These shares are not scores of quality, and a change in % of a base near zero would be meaningless, so they have a
section of their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.study_results import StudyResults
from cpt.results.report.cells import Cell, Head, Table, measure_of, run_row
from cpt.results.rows.measures import (
    DIRECTIONS,
    METRICS,
    MIXING,
    NONE,
    ROLE_LABELS,
    TASKS,
    Measure,
    language_name,
    number,
)


@dataclass(frozen=True)
class Shares:
    """The shares of one task, direction and protocol."""

    task: str
    protocol: str
    title: str
    table: Table


@dataclass(frozen=True)
class Confusion:
    against_quality: list[tuple[Measure, Any]]
    """How confusion and quality go together, by measure and group of languages."""
    shares: list[Shares]


def confusion(results: StudyResults) -> Confusion | None:
    """A table for each direction and protocol: a row for each run, columns for each share and group of languages."""
    means = results.confusion_shares
    if means.empty:
        return None
    shares = []
    for key, rows in means.groupby(["task", "protocol", "direction"], sort=False):
        task, protocol, direction = map(str, key)
        words = [
            TASKS.get(task, task),
            DIRECTIONS.get(direction, direction),
            f"protocol {protocol}" if protocol else "",
        ]
        shares.append(Shares(task, protocol, ", ".join(filter(None, words)), _shares(results, rows)))
    against = [(measure_of(row), row) for row in results.confusion_against_quality.itertuples(index=False)]
    return Confusion(against, shares)


def _shares(results: StudyResults, rows: pd.DataFrame) -> Table:
    present = set(rows[["metric", "role"]].itertuples(index=False, name=None))
    columns = [(metric, role) for metric in MIXING for role in GROUPS if (metric, role) in present]
    lines: dict[tuple[str, str], dict[tuple[str, str], Any]] = defaultdict(dict)
    for row in rows.itertuples(index=False):
        lines[str(row.run_id), str(row.langcat)][str(row.metric), str(row.role)] = row
    body = [
        run_row(results, run_id, [Cell(langcat), *(_share(cells.get(column)) for column in columns)], langcat)
        for (run_id, langcat), cells in lines.items()
    ]
    heads = [Head(METRICS[metric].label.split(" "), ROLE_LABELS[role]) for metric, role in columns]
    return Table(body, ["Run", "Category", *heads])


def _share(row: Any | None) -> Cell:
    if row is None:
        return Cell(NONE)
    shown, worst = METRICS[row.metric], row.worst
    most, low, high = (number(value * shown.factor, 1) for value in (worst.value, worst.ci_low, worst.ci_high))
    title = f"most: {language_name(worst.language)} {most} (95 % {low} to {high}), n = {number(worst.n, 0)}"
    if row.missing:
        title += f"; lacks {', '.join(map(language_name, row.missing))}"
    mean = number(row.mean * shown.factor, shown.digits) + ("*" if row.missing else "")
    return Cell(mean, f"{number(row.languages, 0)}, n = {number(row.n, 0)}", sort=row.mean, title=title)

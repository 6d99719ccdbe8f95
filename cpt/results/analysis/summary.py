"""One line per run with its main means, for the terminal and the report."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from cpt.evals.rows import EN_X, X_EN
from cpt.results.analysis.change.against_base import GROUPS, RUN
from cpt.results.rows.measures import METRICS, ROLE_LABELS


@dataclass(frozen=True)
class MeanColumn:
    """A mean over languages of one task, metric and direction."""

    name: str
    task: str
    metric: str
    roles: tuple[str, ...]
    direction: str | None = None

    @property
    def group(self) -> str:
        """The languages in words."""
        return ", ".join(ROLE_LABELS[role] for role in self.roles)


COLUMNS = (
    MeanColumn("bpb_train", "bpb", "bits_per_byte", ("train",)),
    MeanColumn("bpb_related", "bpb", "bits_per_byte", ("related",)),
    MeanColumn("bpb_english", "bpb", "bits_per_byte", ("english",)),
    MeanColumn("bpb_code", "bpb", "bits_per_byte", ("code",)),
    MeanColumn("sib200_train", "sib200", "accuracy", ("train",)),
    MeanColumn("sib200_related", "sib200", "accuracy", ("related",)),
    MeanColumn("chrf_en_x_train", "flores200", "chrf++", ("train",), direction=EN_X),
    MeanColumn("chrf_x_en_train", "flores200", "chrf++", ("train",), direction=X_EN),
    MeanColumn("wrong_language_x_en_train", "flores200", "wrong_language", ("train",), direction=X_EN),
)
TASKS_SHOWN = frozenset(column.task for column in COLUMNS)
MAIN = ("accuracy", "exact_match", "rouge_l")
"""The main metric of any other benchmark: the first of these that it is scored in."""
INSTEAD = {"chrf++": "spbleu"}
"""Metrics to show instead if a column's metric was not scored: the study published only spBLEU."""
PREFERRED = "sound"


def headline_protocols(table: pd.DataFrame) -> dict[str, str]:
    """The protocol of each task that a summary shows: `sound` if there is one. Protocols are never mixed."""
    protocols: dict[str, set[str]] = defaultdict(set)
    for task, protocol in table[["task", "protocol"]].drop_duplicates().itertuples(index=False, name=None):
        protocols[task].add(protocol)
    return {task: PREFERRED if PREFERRED in names else min(names) for task, names in sorted(protocols.items())}


def columns(table: pd.DataFrame) -> list[MeanColumn]:
    """The columns that were scored, then other benchmarks; all of `COLUMNS` if there are none."""
    scored = set(table[["task", "metric"]].itertuples(index=False, name=None))
    usable = [_in_metric(column, scored) for column in COLUMNS]
    scored_columns = [column for column in usable if (column.task, column.metric) in scored]
    return [*scored_columns, *benchmarks(table)] or list(COLUMNS)


def benchmarks(table: pd.DataFrame) -> list[MeanColumn]:
    """A column for each benchmark that is not in `COLUMNS`, over both groups because few languages have it."""
    shown = table[~table["task"].isin(TASKS_SHOWN) & table["role"].isin(GROUPS)]
    metrics: dict[str, set[str]] = defaultdict(set)
    for task, metric in shown[["task", "metric"]].drop_duplicates().itertuples(index=False, name=None):
        metrics[task].add(metric)
    main = {task: next((metric for metric in MAIN if metric in scored), None) for task, scored in metrics.items()}
    return [MeanColumn(task, task, metric, GROUPS) for task, metric in sorted(main.items()) if metric]


def missing_in(column: MeanColumn, partial: str) -> str:
    """The part of `partial` about one column; empty if no language is missing."""
    return next((part for part in partial.split("; ") if part.startswith(f"{column.name} lacks ")), "")


def _in_metric(column: MeanColumn, scored: set[tuple[str, str]]) -> MeanColumn:
    other = INSTEAD.get(column.metric)
    if other is None or (column.task, column.metric) in scored or (column.task, other) not in scored:
        return column
    name = column.name.replace(column.metric.rstrip("+"), other)
    return replace(column, name=name, metric=other)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per run and per base model in a category: its names, the means, and in `partial` the missing languages.

    Beside each mean, under its name and `_low`, `_high`, `_languages`: its 95 % interval over the items of these very
    languages, taken as independent from one to the next, and how many languages it is over.
    """
    shown = _headline(table)
    runs = table[RUN].drop_duplicates().reset_index(drop=True)
    owners = list(runs[["run_id", "langcat"]].itertuples(index=False, name=None))
    partial: dict[Any, list[str]] = defaultdict(list)
    for column in columns(table):
        scores = _select(shown, column)
        groups = scores.groupby(["run_id", "langcat"], sort=False)
        means: dict[Any, float] = groups["value"].mean().to_dict()
        counts: dict[Any, int] = groups["value"].count().to_dict()
        reach: dict[Any, float] = _reach(scores)
        of_owner = [(means.get(owner), reach.get(owner, math.nan), counts.get(owner, 0)) for owner in owners]
        lowest, highest = (0.0, 1.0) if METRICS[column.metric].unit == "%" else (-math.inf, math.inf)
        added = {
            column.name: [mean for mean, _, _ in of_owner],
            f"{column.name}_low": [None if mean is None else max(lowest, mean - wide) for mean, wide, _ in of_owner],
            f"{column.name}_high": [None if mean is None else min(highest, mean + wide) for mean, wide, _ in of_owner],
        }
        runs = runs.assign(**{name: pd.Series(values, dtype="float64") for name, values in added.items()})
        runs[f"{column.name}_languages"] = pd.Series([count for _, _, count in of_owner], dtype="int64")
        for owner, missing in _missing(scores).items():
            partial[owner].append(f"{column.name} lacks {' '.join(missing)}")
    runs["partial"] = pd.Series(["; ".join(partial[owner]) for owner in owners], dtype="str")
    return runs


def _reach(scores: pd.DataFrame) -> dict[Any, float]:
    """Half the width of the interval of each run's mean, with independent languages."""
    widths = ((scores["ci_high"] - scores["ci_low"]) / 2) ** 2
    groups = widths.groupby([scores["run_id"], scores["langcat"]], sort=False)
    half_widths: dict[Any, float] = (groups.sum(min_count=1) ** 0.5 / groups.size()).to_dict()
    complete: dict[Any, bool] = (groups.count() == groups.size()).to_dict()
    return {owner: reach if complete[owner] else math.nan for owner, reach in half_widths.items()}


def _headline(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["protocol"] == table["task"].map(headline_protocols(table))]


def _select(shown: pd.DataFrame, column: MeanColumn) -> pd.DataFrame:
    chosen = (shown["task"] == column.task) & (shown["metric"] == column.metric) & shown["role"].isin(column.roles)
    if column.direction is not None:
        chosen &= shown["direction"] == column.direction
    return shown[chosen]


def _missing(scores: pd.DataFrame) -> dict[Any, list[str]]:
    """Languages that other runs of the same category have in this mean and this run does not."""
    category: dict[str, set[str]] = defaultdict(set)
    scored: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run_id, langcat, language in scores[["run_id", "langcat", "language"]].itertuples(index=False, name=None):
        category[langcat].add(language)
        scored[run_id, langcat].add(language)
    gaps = {owner: sorted(category[owner[1]] - languages) for owner, languages in scored.items()}
    return {owner: missing for owner, missing in gaps.items() if missing}

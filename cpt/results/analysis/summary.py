"""One line per run: the few means by which people compare runs at a glance, in terminal and report alike."""

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
    """A mean over languages: of one task, metric and group of languages, and where it matters one direction."""

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
"""The metric by which any other benchmark is compared at a glance: the first of these it is scored in."""
INSTEAD = {"chrf++": "spbleu"}
"""What is shown where nothing was scored in the metric of a column: the study published translations in one only."""
PREFERRED = "sound"


def headline_protocols(table: pd.DataFrame) -> dict[str, str]:
    """The one protocol of each task that a summary shows: the sound one where there is one, for protocols never mix."""
    found: dict[str, set[str]] = defaultdict(set)
    for task, protocol in table[["task", "protocol"]].drop_duplicates().itertuples(index=False, name=None):
        found[task].add(protocol)
    return {task: PREFERRED if PREFERRED in names else min(names) for task, names in sorted(found.items())}


def columns(table: pd.DataFrame) -> list[MeanColumn]:
    """The columns whose metrics a table knows, then its other benchmarks; all of the first where it knows neither."""
    scored = set(table[["task", "metric"]].itertuples(index=False, name=None))
    usable = [_in_metric(column, scored) for column in COLUMNS]
    found = [column for column in usable if (column.task, column.metric) in scored]
    return [*found, *benchmarks(table)] or list(COLUMNS)


def benchmarks(table: pd.DataFrame) -> list[MeanColumn]:
    """A column for each benchmark that has none in `COLUMNS`: few languages have them, so over both groups in one."""
    shown = table[~table["task"].isin(TASKS_SHOWN) & table["role"].isin(GROUPS)]
    metrics: dict[str, set[str]] = defaultdict(set)
    for task, metric in shown[["task", "metric"]].drop_duplicates().itertuples(index=False, name=None):
        metrics[task].add(metric)
    main = {task: next((metric for metric in MAIN if metric in found), None) for task, found in metrics.items()}
    return [MeanColumn(task, task, metric, GROUPS) for task, metric in sorted(main.items()) if metric]


def lacks(column: MeanColumn, partial: str) -> str:
    """What `partial` of a run says of one column's mean; empty where nothing is lacking."""
    return next((part for part in partial.split("; ") if part.startswith(f"{column.name} lacks ")), "")


def _in_metric(column: MeanColumn, scored: set[tuple[str, str]]) -> MeanColumn:
    other = INSTEAD.get(column.metric)
    if other is None or (column.task, column.metric) in scored or (column.task, other) not in scored:
        return column
    name = column.name.replace(column.metric.rstrip("+"), other)
    return replace(column, name=name, metric=other)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per run and per base model in a category: its names, the means, and in `partial` what a mean lacks.

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
        found = {
            column.name: [mean for mean, _, _ in of_owner],
            f"{column.name}_low": [None if mean is None else max(lowest, mean - wide) for mean, wide, _ in of_owner],
            f"{column.name}_high": [None if mean is None else min(highest, mean + wide) for mean, wide, _ in of_owner],
        }
        runs = runs.assign(**{name: pd.Series(values, dtype="float64") for name, values in found.items()})
        runs[f"{column.name}_languages"] = pd.Series([count for _, _, count in of_owner], dtype="int64")
        for owner, missing in _missing(scores).items():
            partial[owner].append(f"{column.name} lacks {' '.join(missing)}")
    runs["partial"] = pd.Series(["; ".join(partial[owner]) for owner in owners], dtype="str")
    return runs


def _reach(scores: pd.DataFrame) -> dict[Any, float]:
    """How far the interval of a run's mean reaches to either side: half the root of its scores' squared widths."""
    widths = ((scores["ci_high"] - scores["ci_low"]) / 2) ** 2
    groups = widths.groupby([scores["run_id"], scores["langcat"]], sort=False)
    found: dict[Any, float] = (groups.sum(min_count=1) ** 0.5 / groups.size()).to_dict()
    complete: dict[Any, bool] = (groups.count() == groups.size()).to_dict()
    return {owner: reach if complete[owner] else math.nan for owner, reach in found.items()}


def _headline(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["protocol"] == table["task"].map(headline_protocols(table))]


def _select(shown: pd.DataFrame, column: MeanColumn) -> pd.DataFrame:
    chosen = (shown["task"] == column.task) & (shown["metric"] == column.metric) & shown["role"].isin(column.roles)
    if column.direction is not None:
        chosen &= shown["direction"] == column.direction
    return shown[chosen]


def _missing(scores: pd.DataFrame) -> dict[Any, list[str]]:
    """Languages another run of the same category has in this mean and this one has not: the two are not comparable."""
    category: dict[str, set[str]] = defaultdict(set)
    scored: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run_id, langcat, language in scores[["run_id", "langcat", "language"]].itertuples(index=False, name=None):
        category[langcat].add(language)
        scored[run_id, langcat].add(language)
    gaps = {owner: sorted(category[owner[1]] - languages) for owner, languages in scored.items()}
    return {owner: missing for owner, missing in gaps.items() if missing}

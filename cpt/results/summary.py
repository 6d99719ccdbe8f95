"""One line per run: the few means by which people compare runs at a glance, in terminal and report alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from cpt.evals.rows import EN_X, X_EN
from cpt.results.change import RUN


@dataclass(frozen=True)
class Column:
    """A mean over languages: of one metric, one group of languages, and where it matters one task and direction."""

    name: str
    metric: str
    role: str
    task: str | None = None
    direction: str | None = None


COLUMNS = (
    Column("bpb_train", "bits_per_byte", "train", task="bpb"),
    Column("bpb_related", "bits_per_byte", "related", task="bpb"),
    Column("bpb_english", "bits_per_byte", "english", task="bpb"),
    Column("bpb_code", "bits_per_byte", "code", task="bpb"),
    Column("sib200_train", "accuracy", "train", task="sib200"),
    Column("sib200_related", "accuracy", "related", task="sib200"),
    Column("chrf_en_x_train", "chrf++", "train", task="flores200", direction=EN_X),
    Column("chrf_x_en_train", "chrf++", "train", task="flores200", direction=X_EN),
    Column("wrong_language_x_en_train", "wrong_language", "train", task="flores200", direction=X_EN),
)
INSTEAD = {"chrf++": "spbleu"}
"""What is shown where nothing was scored in the metric of a column: the study published translations in one only."""
PREFERRED = "sound"


def headline_protocols(table: pd.DataFrame) -> dict[str, str]:
    """The one protocol of each task that a summary shows: the sound one where there is one, for protocols never mix."""
    found: dict[str, set[str]] = defaultdict(set)
    for task, protocol in table[["task", "protocol"]].drop_duplicates().itertuples(index=False, name=None):
        found[task].add(protocol)
    return {task: PREFERRED if PREFERRED in names else min(names) for task, names in sorted(found.items())}


def columns(table: pd.DataFrame) -> list[Column]:
    """The columns whose metrics a table knows; all of them where it knows none."""
    scored = set(table["metric"])
    usable = [_in_metric(column, scored) for column in COLUMNS]
    return [column for column in usable if column.metric in scored] or list(COLUMNS)


def _in_metric(column: Column, scored: set[str]) -> Column:
    other = INSTEAD.get(column.metric)
    if other is None or column.metric in scored or other not in scored:
        return column
    name = column.name.replace(column.metric.rstrip("+"), other)
    return replace(column, name=name, metric=other)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per run and per base model in a category: its names, the means, and in `partial` what a mean lacks."""
    shown = _headline(table)
    runs = table[RUN].drop_duplicates().reset_index(drop=True)
    owners = list(runs[["run_id", "langcat"]].itertuples(index=False, name=None))
    partial: dict[Any, list[str]] = defaultdict(list)
    for column in columns(table):
        scores = _select(shown, column)
        groups = scores.groupby(["run_id", "langcat"], sort=False)
        means: dict[Any, float] = groups["value"].mean().to_dict()
        runs[column.name] = pd.Series([means.get(owner) for owner in owners], dtype="float64")
        for owner, missing in _missing(scores).items():
            partial[owner].append(f"{column.name} lacks {' '.join(missing)}")
    runs["partial"] = pd.Series(["; ".join(partial[owner]) for owner in owners], dtype="str")
    return runs


def _headline(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["protocol"] == table["task"].map(headline_protocols(table))]


def _select(shown: pd.DataFrame, column: Column) -> pd.DataFrame:
    chosen = (shown["metric"] == column.metric) & (shown["role"] == column.role)
    if column.task is not None:
        chosen &= shown["task"] == column.task
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

"""Change against the untouched base model, computed in one place for all tables and plots.

A score is compared with the base model's score of the same language, task, direction, protocol and metric. If that is
missing or ambiguous, the score is left out and `left_out` says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.languages import registry
from cpt.results.analysis.intervals import half_widths
from cpt.results.rows.table import MEASURE

RESOURCES = ("low", "mid", "high")

KEY = ["model", "langcat", "language", *MEASURE]
"""The columns that a run's score shares with its base's score."""
OWNER = ["model", "langcat"]
"""The columns that identify a base model."""
RUN = ["run_id", "run", "model", "data", "code", "langcat", "seed"]
FEWEST = 3
"""The fewest languages of a group for an interval over languages."""
GROUPS = ("train", "related")
"""The groups of languages; English is in neither."""


def relative_change(value: float, base: float) -> float:
    """Change in % of the base; NaN if the base is zero."""
    return 100 * (value / base - 1) if base else math.nan


@dataclass(frozen=True)
class GroupChange:
    """The change of the mean over one group of languages."""

    change: float
    """100 × (mean of the run ÷ mean of the base over the same languages − 1)."""
    mean: float
    base_mean: float
    n: int
    missing: tuple[str, ...]
    """Languages with a score of only one of the two, left out of both means."""
    low: float = math.nan
    high: float = math.nan
    """95 % interval of the change over languages; none for fewer than three."""
    difference_low: float = math.nan
    difference_high: float = math.nan
    """95 % interval of `mean` minus `base_mean`."""

    @property
    def difference(self) -> float:
        return self.mean - self.base_mean


def group_change(run: Mapping[str, float], base: Mapping[str, float]) -> GroupChange:
    """Change of a group of languages, from scores by language of a run and of its base."""
    return group_changes([(run, base)])[0]


def group_changes(groups: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> list[GroupChange]:
    """The change of each group, from scores by language of a run and of its base."""
    shared = [sorted(run.keys() & base.keys()) for run, base in groups]
    means, differences, residuals = [], [], []
    for names, (run, base) in zip(shared, groups, strict=True):
        scores, bases = [run[name] for name in names], [base[name] for name in names]
        mean, base_mean = (math.fsum(side) / len(names) if names else math.nan for side in (scores, bases))
        means.append((mean, base_mean))
        differences.append([one - other for one, other in zip(scores, bases, strict=True)])
        # The ratio of two means, linearised: the contribution of each language.
        ratio = mean / base_mean if base_mean else math.nan
        residuals.append([one - ratio * other for one, other in zip(scores, bases, strict=True)])
    halves = zip(half_widths(differences, FEWEST), half_widths(residuals, FEWEST), strict=True)
    return [
        _group_change(*pair, len(names), tuple(sorted(run.keys() ^ base.keys())), *half)
        for names, (run, base), pair, half in zip(shared, groups, means, halves, strict=True)
    ]


def _group_change(
    mean: float, base_mean: float, n: int, missing: tuple[str, ...], absolute: float, residual: float
) -> GroupChange:
    if not n:
        return GroupChange(math.nan, math.nan, math.nan, 0, missing)
    change, difference = relative_change(mean, base_mean), mean - base_mean
    relative = abs(100 / base_mean * residual) if base_mean else math.nan
    ends = (change - relative, change + relative, difference - absolute, difference + absolute)
    return GroupChange(change, mean, base_mean, n, missing, *ends)


def base_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The base models' rows, one per key; keys with two different values are left out."""
    base = table[table["data"] == "base"].drop_duplicates([*KEY, "value"])
    return base[~base.duplicated(KEY, keep=False)]


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Every score of a run that has a base: its columns, the base's as `base…`, `difference` and `relative` (%)."""
    columns = {"value": "base", "ci_low": "base_low", "ci_high": "base_high", "n": "base_n"}
    base = base_scores(table)[[*KEY, *columns]].rename(columns=columns)
    joined = table[table["data"] != "base"].merge(base, on=KEY, how="inner", validate="many_to_one")
    joined["difference"] = joined["value"] - joined["base"]
    pairs = zip(joined["value"], joined["base"], strict=True)
    joined["relative"] = [relative_change(value, base) for value, base in pairs]
    return joined


CHANGES = ("change", "change_low", "change_high", "difference", "difference_low", "difference_high")


def change_of_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The change of every run, measure and group; groups without a shared language are left out.

    `change` is in % of the base's mean, `difference` in the metric's unit, both with their intervals.
    """
    records = []
    for run, measure, role, result in _groups(table):
        if result.n:
            named = dict(zip(RUN, run, strict=True)) | dict(zip(MEASURE, measure, strict=True)) | {"role": role}
            relative = (result.change, result.low, result.high)
            absolute = (result.difference, result.difference_low, result.difference_high)
            values = dict(zip(CHANGES, (*relative, *absolute), strict=True))
            values |= {"mean": result.mean, "base_mean": result.base_mean, "n": result.n}
            records.append(named | values | {"missing": " ".join(result.missing)})
    columns = [*RUN, *MEASURE, "role", *CHANGES, "mean", "base_mean", "n", "missing"]
    return pd.DataFrame(records, columns=columns)


def change_of_resources(table: pd.DataFrame) -> pd.DataFrame:
    """The same by resource level, as `resource`; languages that are not in the registry are left out."""
    levels = table["language"].map(resource_of)
    parts = [
        change_of_groups(table[levels == level]).assign(resource=level)
        for level in RESOURCES
        if (levels == level).any()
    ]
    return pd.concat(parts, ignore_index=True) if parts else change_of_groups(table.iloc[:0]).assign(resource="")


def resource_of(language: str) -> str:
    """The resource level of a language: low, mid, high; empty if it is not in the registry."""
    return registry()[language].resource if language in registry() else ""


def _groups(table: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...], str, GroupChange]]:
    base = _by_language(base_scores(table), OWNER)
    runs = _by_language(table[table["data"] != "base"], RUN)
    model, langcat = RUN.index("model"), RUN.index("langcat")
    pairs = [
        (scores, base.get(((run[model], run[langcat]), measure, role), {}))
        for (run, measure, role), scores in runs.items()
    ]
    for (run, measure, role), change in zip(runs, group_changes(pairs), strict=True):
        yield run, measure, role, change


def _by_language(rows: pd.DataFrame, owner: list[str]) -> dict[tuple[Any, tuple[str, ...], str], dict[str, float]]:
    """Scores by language, for each owner, measure and role."""
    scores: dict[tuple[Any, tuple[str, ...], str], dict[str, float]] = defaultdict(dict)
    grouped = rows[rows["role"].isin(GROUPS)]
    owners = grouped[owner].itertuples(index=False, name=None)
    measures = grouped[list(MEASURE)].itertuples(index=False, name=None)
    for who, what, role, language, value in zip(
        owners, measures, grouped["role"], grouped["language"], grouped["value"], strict=True
    ):
        scores[who, what, role][language] = value
    return scores


def left_out(table: pd.DataFrame) -> list[str]:
    """Why runs or scores could not be compared, one sentence per reason; empty if all could."""
    base, runs = table[table["data"] == "base"], table[table["data"] != "base"]
    present = set(base[OWNER].itertuples(index=False, name=None))
    reasons: dict[str, list[str]] = defaultdict(list)
    owners = set(runs[["run_id", *OWNER]].itertuples(index=False, name=None))
    for run_id, model, langcat in sorted(owners):
        if (model, langcat) not in present:
            reasons[f"no score of the untouched base model {model} for {langcat}"].append(run_id)
    for run_id, reason in [*_without_base(runs, base, present), *_not_scored(runs, base)]:
        reasons[reason].append(run_id)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _without_base(runs: pd.DataFrame, base: pd.DataFrame, present: set[Any]) -> list[tuple[str, str]]:
    """Scores without exactly one base score, where the base model has other scores."""
    usable = set(base_scores(base)[KEY].itertuples(index=False, name=None))
    twice = set(base[KEY].itertuples(index=False, name=None)) - usable
    without: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    keys = runs[KEY].itertuples(index=False, name=None)
    for run_id, key in zip(runs["run_id"], keys, strict=True):
        if key[:2] in present and key not in usable:
            why = "two different scores of the base model" if key in twice else "no score of the base model"
            without[run_id, _name(key[3:]), why].append(key[2])
    return [(run, f"{why} in {what} for {', '.join(names)}") for (run, what, why), names in without.items()]


def _not_scored(runs: pd.DataFrame, base: pd.DataFrame) -> list[tuple[str, str]]:
    """Languages with a score of the base model and none of the run."""
    expected: dict[Any, dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))
    for model, langcat, language, *measure in base[KEY].itertuples(index=False, name=None):
        expected[model, langcat][tuple(measure)].add(language)
    scored: dict[Any, dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))
    for run_id, model, langcat, language, *measure in runs[["run_id", *KEY]].itertuples(index=False, name=None):
        scored[run_id, model, langcat][tuple(measure)].add(language)
    return [
        (run_id, f"not scored in {_name(measure)} for {', '.join(sorted(languages - of_run.get(measure, set())))}")
        for (run_id, model, langcat), of_run in scored.items()
        for measure, languages in expected.get((model, langcat), {}).items()
        if languages - of_run.get(measure, set())
    ]


def _name(measure: tuple[str, ...]) -> str:
    return " ".join(part for part in measure if part)

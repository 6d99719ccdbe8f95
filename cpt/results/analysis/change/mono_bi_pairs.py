"""Pairs of runs that differ in one axis only: mono against bi, or without against with code.

Runs that share their point of the study with another run, for example because a sweep varied something else, are not
paired.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import FEWEST
from cpt.results.analysis.intervals import interval
from cpt.results.rows.table import MEASURE

SIDES: dict[str, tuple[str | bool, str | bool]] = {"data": ("mono", "bi"), "code": (False, True)}
"""By axis, the levels of a pair; a difference is the second minus the first."""
OTHER = {"data": "code", "code": "data"}
NAMES: dict[str | bool, str] = {False: "without code", True: "with code"}
"""Labels of levels that are not shown by name."""
SCORE = ["language", "role", *MEASURE]
COLUMNS = ("model", "langcat", "other", "seed", *SCORE, "first_id", "second_id", "first", "second", "difference")
GROUP = ("langcat", *MEASURE, "role")


def pairs(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """A line for each score that both runs of a pair have."""
    point = ["model", "langcat", OTHER[axis], "seed"]
    runs = table[table["data"] != "base"]
    crowded = _crowded(runs, axis)
    runs = runs[~runs["run_id"].isin(crowded)]
    first, second = (
        runs.loc[runs[axis] == level, [*point, *SCORE, "run_id", "value"]].rename(
            columns={"run_id": f"{side}_id", "value": side}
        )
        for level, side in zip(SIDES[axis], ("first", "second"), strict=True)
    )
    paired = first.merge(second, on=[*point, *SCORE], how="inner", validate="one_to_one")
    paired["difference"] = paired["second"] - paired["first"]
    paired["other"] = [NAMES.get(level, str(level)) for level in paired[OTHER[axis]]]
    return paired[list(COLUMNS)]


@dataclass(frozen=True)
class Pairs:
    """The lines of `pairs`, with their means by language and group."""

    lines: pd.DataFrame

    @cached_property
    def languages(self) -> pd.DataFrame:
        return by_language(self.lines)

    @cached_property
    def means(self) -> pd.DataFrame:
        return mean_differences(self.languages)


def unpaired(table: pd.DataFrame, axis: str, pair_lines: pd.DataFrame) -> list[str]:
    """Why runs or scores are in no pair, one sentence per reason; empty if all are."""
    runs = table[table["data"] != "base"]
    if not set(SIDES[axis]) <= set(runs[axis]):
        return []
    paired = set(pair_lines["first_id"]) | set(pair_lines["second_id"])
    crowded = _crowded(runs, axis)
    reasons: dict[str, list[str]] = defaultdict(list)
    for run_id in dict.fromkeys(runs["run_id"]):
        if run_id in crowded:
            reasons["another run stands at the same point of the study"].append(run_id)
        elif run_id not in paired:
            reasons["no counterpart that differs in this alone and was scored on the same"].append(run_id)
    scores = pd.concat([pair_lines["first_id"], pair_lines["second_id"]]).value_counts()
    for run_id, count in runs["run_id"].value_counts(sort=False).items():
        if run_id in paired and count > scores[run_id]:
            reasons["some scores that the counterpart has not"].append(str(run_id))
    return [f"{', '.join(names)}: {why}" for why, names in reasons.items()]


def _crowded(runs: pd.DataFrame, axis: str) -> set[str]:
    """Runs that share their point of the study with another run."""
    point = ["model", "langcat", "data", "code", "seed"]
    each = runs[[*point, "run_id"]].drop_duplicates()
    return set(each.loc[each.duplicated(point, keep=False), "run_id"])


def by_language(pair_lines: pd.DataFrame) -> pd.DataFrame:
    """Means over the matched pairs of each language; `pairs` is their number."""
    groups = pair_lines.groupby([*GROUP, "language"], sort=False)
    means = groups[["first", "second", "difference"]].mean()
    table = means.assign(pairs=groups.size()).reset_index()
    return table.astype(dict.fromkeys((*GROUP, "language"), object))  # Arrow strings are converted at every access


def mean_differences(languages: pd.DataFrame) -> pd.DataFrame:
    """The mean difference of each category, measure and role with its 95 % interval (Student's t over languages).

    The interval does not include run-to-run variance. Groups of fewer than FEWEST languages have none.
    """
    records: list[dict[str, Any]] = []
    for names, rows in languages.groupby(list(GROUP), sort=False):
        count, mean = len(rows), float(rows["difference"].mean())
        low = high = math.nan
        if count >= FEWEST:
            low, high, _ = interval(mean, [(float(rows["difference"].var(ddof=1)) / count, count - 1.0)])
        result = {"difference": mean, "ci_low": low, "ci_high": high, "languages": count}
        records.append(dict(zip(GROUP, names, strict=True)) | result)
    return pd.DataFrame(records, columns=[*GROUP, "difference", "ci_low", "ci_high", "languages"])

"""Runs that differ in one axis alone, score by score: mono against bi, and without against with code.

A pair has the same model, category and seed, and the same of the other axis. A point of the study that more than one
run stands at, as when a sweep varied something that is no axis, is in no pair: its runs would differ in more.
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
"""By axis, the first and the second of a pair; a difference is the second less the first."""
OTHER = {"data": "code", "code": "data"}
NAMES: dict[str | bool, str] = {False: "without code", True: "with code"}
"""What a level is called, if not by itself."""
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
    found = first.merge(second, on=[*point, *SCORE], how="inner", validate="one_to_one")
    found["difference"] = found["second"] - found["first"]
    found["other"] = [NAMES.get(level, str(level)) for level in found[OTHER[axis]]]
    return found[list(COLUMNS)]


@dataclass(frozen=True)
class Pairs:
    """The lines of `pairs`, and what follows from them for every measure."""

    lines: pd.DataFrame

    @cached_property
    def languages(self) -> pd.DataFrame:
        return by_language(self.lines)

    @cached_property
    def means(self) -> pd.DataFrame:
        return mean_differences(self.languages)


def unpaired(table: pd.DataFrame, axis: str, found: pd.DataFrame) -> list[str]:
    """What is in no pair of `found` and why, a sentence for all runs it is true of; empty where everything is."""
    runs = table[table["data"] != "base"]
    if not set(SIDES[axis]) <= set(runs[axis]):
        return []
    paired = set(found["first_id"]) | set(found["second_id"])
    crowded = _crowded(runs, axis)
    said: dict[str, list[str]] = defaultdict(list)
    for run_id in dict.fromkeys(runs["run_id"]):
        if run_id in crowded:
            said["another run stands at the same point of the study"].append(run_id)
        elif run_id not in paired:
            said["no counterpart that differs in this alone and was scored on the same"].append(run_id)
    scores = pd.concat([found["first_id"], found["second_id"]]).value_counts()
    for run_id, count in runs["run_id"].value_counts(sort=False).items():
        if run_id in paired and count > scores[run_id]:
            said["some scores that the counterpart has not"].append(str(run_id))
    return [f"{', '.join(names)}: {why}" for why, names in said.items()]


def _crowded(runs: pd.DataFrame, axis: str) -> set[str]:
    """Runs that share their point of the study with another."""
    point = ["model", "langcat", "data", "code", "seed"]
    each = runs[[*point, "run_id"]].drop_duplicates()
    return set(each.loc[each.duplicated(point, keep=False), "run_id"])


def by_language(found: pd.DataFrame) -> pd.DataFrame:
    """Means over the matched pairs of each language; `pairs` says how many they are."""
    groups = found.groupby([*GROUP, "language"], sort=False)
    means = groups[["first", "second", "difference"]].mean()
    found = means.assign(pairs=groups.size()).reset_index()
    return found.astype(dict.fromkeys((*GROUP, "language"), object))  # Arrow's words are made anew at each look


def mean_differences(languages: pd.DataFrame) -> pd.DataFrame:
    """Of means by language: the mean difference of each category, measure and role, with its 95 % interval.

    Student's, over languages: it says what other languages of the kind would show, not what another seed would. Fewer
    than FEWEST have none.
    """
    records: list[dict[str, Any]] = []
    for names, rows in languages.groupby(list(GROUP), sort=False):
        count, mean = len(rows), float(rows["difference"].mean())
        low = high = math.nan
        if count >= FEWEST:
            low, high, _ = interval(mean, [(float(rows["difference"].var(ddof=1)) / count, count - 1.0)])
        told = {"difference": mean, "ci_low": low, "ci_high": high, "languages": count}
        records.append(dict(zip(GROUP, names, strict=True)) | told)
    return pd.DataFrame(records, columns=[*GROUP, "difference", "ci_low", "ci_high", "languages"])

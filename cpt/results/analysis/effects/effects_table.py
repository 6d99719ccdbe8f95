"""The effects of a study: what training does, each axis, and each two of them together, on every measure.

A line an effect, for each measure in each group of languages, all from a study's one table. The correction for many
comparisons is over all lines together, so a study without any effect shows one in at most 5 % of cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpt.evals.rows import HIGHER_IS_BETTER, ROLES
from cpt.results.analysis.change.against_base import resource_of
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.change.paired_test import BETTER, UNCLEAR, WORSE
from cpt.results.analysis.effects.design import BASE, Layout, RunPoint, contrasts, weights
from cpt.results.analysis.effects.effect_estimates import Estimate, Observed, Scores, estimate
from cpt.results.analysis.intervals import LEVEL, adjusted
from cpt.results.analysis.saved_tables import SavedTable
from cpt.results.rows.table import MEASURE
from cpt.run_keys import key_of

NAMES = (*MEASURE, "role", "effect", "contrast")
NUMBERS = ("estimate", "ci_low", "ci_high", "p", "p_adjusted")
COUNTS = ("languages", "runs", "items", "seeds")
COLUMNS = (*NAMES, *NUMBERS, *COUNTS, "luck", "verdict", "why", "key")
"""`estimate` and its interval are in the metric's own unit; `items` are those of a language, 0 where single ones are
not kept; `verdict` is better or worse where `p_adjusted` is below 0.05; `why` tells why there is no interval, or what
it is not over; `key` changes when any score does."""
REVISION = "3"
"""Raised when effects come out otherwise for the same scores."""
POINT = ["model", "data", "code", "langcat", "seed"]
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(COUNTS, "int64")
EFFECTS = SavedTable("effects.csv", _DTYPES, nullable=NUMBERS)


@dataclass(frozen=True)
class Group:
    """One measure in the languages of one role: the scores of all runs, as arrays."""

    names: dict[str, str]
    """Task, direction, protocol, metric and role."""
    layout: Layout
    run_ids: tuple[str, ...]
    languages: tuple[str, ...]
    scores: Scores
    """Runs by languages; zero where none is."""

    @property
    def benchmark(self) -> tuple[str, ...]:
        return tuple(self.names[name] for name in ("task", "direction", "protocol"))


def groups(table: pd.DataFrame) -> Iterator[Group]:
    """Every measure by role, in the order of the table."""
    keys = ["run_id", "langcat"]
    for found, rows in table.groupby([*MEASURE, "role"], sort=False):
        names = dict(zip((*MEASURE, "role"), map(str, found), strict=True))
        languages = tuple(dict.fromkeys(rows["language"]))
        runs = rows.drop_duplicates(keys)
        place = {key: number for number, key in enumerate(runs[keys].itertuples(index=False, name=None))}
        column = {language: number for number, language in enumerate(languages)}
        scores = np.full((len(place), len(column)), np.nan)
        owners = rows[keys].itertuples(index=False, name=None)
        for owner, language, value in zip(owners, rows["language"], rows["value"], strict=True):
            scores[place[owner], column[language]] = value
        scored = ~np.isnan(scores)
        resources = tuple(map(resource_of, languages))
        points = tuple(map(_point, runs[POINT].itertuples(index=False, name=None)))
        layout = Layout(points, resources, scored)
        yield Group(names, layout, tuple(runs["run_id"]), languages, np.where(scored, scores, 0.0))


def more_than_axes(table: pd.DataFrame) -> list[str]:
    """Runs of one seed at one point of the study: they differ in what is no axis of it, such as a learning rate.

    Their scores are averaged, and what they differ by counts as a training's own luck, as between seeds.
    """
    runs = table[table["data"] != BASE].drop_duplicates("run_id")
    shared = runs[runs.duplicated(POINT, keep=False)]
    return sorted(map(str, shared["run_id"]))


def _point(values: tuple[Any, ...]) -> RunPoint:
    model, data, code, langcat, seed = values
    known: Hashable = None if seed is None or seed is pd.NA or seed != seed else int(seed)
    return RunPoint(str(model), str(data), bool(code), str(langcat), known)


def effects(table: pd.DataFrame, items: ItemScores | None = None, key: str | None = None) -> pd.DataFrame:
    """All effects that a table can tell of, corrected for how many they are."""
    found = [group for group in groups(table) if not all(run.is_base for run in group.layout.runs)]
    told: dict[int, list[dict[str, Any]]] = {}
    # All metrics of a benchmark one after the other, for their items are read together.
    for place in sorted(range(len(found)), key=lambda place: found[place].benchmark):
        told[place] = _of_group(found[place], items)
    records = [line for place in range(len(found)) for line in told[place]]
    lines = pd.DataFrame(records, columns=[name for name in COLUMNS if name not in ("p_adjusted", "verdict", "key")])
    lines["p_adjusted"] = adjusted(lines["p"].to_numpy("float64"))
    called = zip(lines["metric"], lines["estimate"], lines["p_adjusted"], strict=True)
    lines["verdict"] = [verdict(metric, value, p) for metric, value, p in called]
    return lines.assign(key=_key(table) if key is None else key)[list(COLUMNS)].astype(_DTYPES)


def _of_group(group: Group, items: ItemScores | None) -> list[dict[str, Any]]:
    observed = Observed(group.layout, group.scores, centred(group, items) if items else None)
    lines = []
    for contrast in contrasts(group.layout):
        found = estimate(weights(contrast, group.layout), observed)
        lines.append(group.names | {"effect": contrast.effect, "contrast": contrast.words} | _told(found))
    return lines


def _told(found: Estimate) -> dict[str, Any]:
    values = asdict(found)
    return {"estimate": values.pop("value"), "ci_low": values.pop("low"), "ci_high": values.pop("high")} | values


def verdict(metric: str, value: float, p_adjusted: float) -> str:
    """Whether an effect is for better or worse; unclear where chance may explain it, or nobody says which is which."""
    higher = HIGHER_IS_BETTER.get(metric)
    if higher is None or math.isnan(p_adjusted) or p_adjusted >= LEVEL or value == 0:
        return UNCLEAR
    return BETTER if (value > 0) == higher else WORSE


def centred(group: Group, items: ItemScores) -> Scores | None:
    """Runs by languages by items, each less its mean; None where not every score has the same number of them."""
    measure = [group.names[name] for name in ("task", "direction", "protocol", "metric")]
    task, direction, protocol, metric = measure
    found: Scores | None = None
    for run, language in np.argwhere(group.layout.scored):
        values = items.of(group.run_ids[run], task, group.languages[language], direction, protocol, metric)
        if values is None or len(values) < 2 or np.isnan(values).all():
            return None
        if found is None:
            found = np.zeros((*group.scores.shape, len(values)), dtype="float32")
        if len(values) != found.shape[2]:
            return None
        # Means are over all items: those that count stand for those that do not.
        counted = np.isfinite(values).mean()
        found[run, language] = np.nan_to_num(values - np.nanmean(values)) / counted
    return found


def role_order(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def current_effects(study: Path, table: pd.DataFrame, saved: pd.DataFrame) -> pd.DataFrame:
    """The effects of a study's table: the saved ones if they are of the same scores, else computed."""
    key = _key(table)
    if not saved.empty and saved["key"].iloc[0] == key:
        return saved
    return effects(table, ItemScores(study), key)


def _key(table: pd.DataFrame) -> str:
    """Of all scores; where items were answered otherwise, so were they."""
    scores = table[[*POINT, "run_id", "language", "role", *MEASURE, "value", "ci_low", "ci_high", "n"]]
    return key_of(REVISION, scores.to_csv(index=False))[:16]

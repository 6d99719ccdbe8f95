"""The table of effects: training, main effects and two-way interactions, for each measure and group of languages.

P-values are corrected over all rows together, so a study without any effect shows one in at most 5 % of cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpt.evals.rows import HIGHER_IS_BETTER
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
"""`estimate` and its interval are in the metric's unit; `items` are per language, 0 if item scores are not stored;
`verdict` is better or worse if `p_adjusted` is below 0.05; `why` explains a missing or limited interval; `key` changes
when any score does."""
REVISION = "3"
"""Increase when the same scores give different effects."""
POINT = ["model", "data", "code", "langcat", "seed"]
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(COUNTS, "int64")
EFFECTS = SavedTable("effects.csv", _DTYPES, nullable=NUMBERS)


@dataclass(frozen=True)
class Group:
    """The scores of all runs on one measure in the languages of one role."""

    names: dict[str, str]
    """Task, direction, protocol, metric and role."""
    layout: Layout
    run_ids: tuple[str, ...]
    languages: tuple[str, ...]
    scores: Scores
    """Runs by languages; zero where a score is missing."""

    @property
    def benchmark(self) -> tuple[str, ...]:
        return tuple(self.names[name] for name in ("task", "direction", "protocol"))


def groups(table: pd.DataFrame) -> Iterator[Group]:
    """One group per measure and role, in the order of the table."""
    keys = ["run_id", "langcat"]
    for names_of_group, rows in table.groupby([*MEASURE, "role"], sort=False):
        names = dict(zip((*MEASURE, "role"), map(str, names_of_group), strict=True))
        languages = tuple(dict.fromkeys(rows["language"]))
        runs = rows.drop_duplicates(keys)
        run_index = {key: number for number, key in enumerate(runs[keys].itertuples(index=False, name=None))}
        language_index = {language: number for number, language in enumerate(languages)}
        scores = np.full((len(run_index), len(language_index)), np.nan)
        owners = rows[keys].itertuples(index=False, name=None)
        for owner, language, value in zip(owners, rows["language"], rows["value"], strict=True):
            scores[run_index[owner], language_index[language]] = value
        scored = ~np.isnan(scores)
        resources = tuple(map(resource_of, languages))
        points = tuple(map(_point, runs[POINT].itertuples(index=False, name=None)))
        layout = Layout(points, resources, scored)
        yield Group(names, layout, tuple(runs["run_id"]), languages, np.where(scored, scores, 0.0))


def runs_at_shared_points(table: pd.DataFrame) -> list[str]:
    """Runs that share model, data, code, category and seed, and so differ in something else, such as a learning rate.

    Their scores are averaged, and their differences count as run-to-run variance, as between seeds.
    """
    runs = table[table["data"] != BASE].drop_duplicates("run_id")
    shared = runs[runs.duplicated(POINT, keep=False)]
    return sorted(map(str, shared["run_id"]))


def _point(values: tuple[Any, ...]) -> RunPoint:
    model, data, code, langcat, seed = values
    known: Hashable = None if seed is None or seed is pd.NA or seed != seed else int(seed)
    return RunPoint(str(model), str(data), bool(code), str(langcat), known)


def effects(table: pd.DataFrame, items: ItemScores | None = None, key: str | None = None) -> pd.DataFrame:
    """All effects that can be estimated from a table, corrected for multiple comparisons."""
    groups_found = [group for group in groups(table) if not all(run.is_base for run in group.layout.runs)]
    rows_of_group: dict[int, list[dict[str, Any]]] = {}
    # All metrics of a benchmark one after the other, because their items are read together.
    for index in sorted(range(len(groups_found)), key=lambda index: groups_found[index].benchmark):
        rows_of_group[index] = _group_rows(groups_found[index], items)
    records = [line for index in range(len(groups_found)) for line in rows_of_group[index]]
    lines = pd.DataFrame(records, columns=[name for name in COLUMNS if name not in ("p_adjusted", "verdict", "key")])
    lines["p_adjusted"] = adjusted(lines["p"].to_numpy("float64"))
    estimates = zip(lines["metric"], lines["estimate"], lines["p_adjusted"], strict=True)
    lines["verdict"] = [verdict(metric, value, p) for metric, value, p in estimates]
    return lines.assign(key=_key(table) if key is None else key)[list(COLUMNS)].astype(_DTYPES)


def _group_rows(group: Group, items: ItemScores | None) -> list[dict[str, Any]]:
    observed = Observed(group.layout, group.scores, centred(group, items) if items else None)
    rows = []
    for contrast in contrasts(group.layout):
        result = estimate(weights(contrast, group.layout), observed)
        rows.append(group.names | {"effect": contrast.effect, "contrast": contrast.words} | _estimate_columns(result))
    return rows


def _estimate_columns(result: Estimate) -> dict[str, Any]:
    values = asdict(result)
    return {"estimate": values.pop("value"), "ci_low": values.pop("low"), "ci_high": values.pop("high")} | values


def verdict(metric: str, value: float, p_adjusted: float) -> str:
    """Better or worse; unclear if not significant or if the metric has no known direction."""
    higher = HIGHER_IS_BETTER.get(metric)
    if higher is None or math.isnan(p_adjusted) or p_adjusted >= LEVEL or value == 0:
        return UNCLEAR
    return BETTER if (value > 0) == higher else WORSE


def centred(group: Group, items: ItemScores) -> Scores | None:
    """Item scores minus their mean, runs by languages by items; None if scores differ in their number of items."""
    measure_names = [group.names[name] for name in ("task", "direction", "protocol", "metric")]
    task, direction, protocol, metric = measure_names
    centred_items: Scores | None = None
    for run, language in np.argwhere(group.layout.scored):
        values = items.of(group.run_ids[run], task, group.languages[language], direction, protocol, metric)
        if values is None or len(values) < 2 or np.isnan(values).all():
            return None
        if centred_items is None:
            centred_items = np.zeros((*group.scores.shape, len(values)), dtype="float32")
        if len(values) != centred_items.shape[2]:
            return None
        # Means are over all items: counted items stand for missing ones.
        counted = np.isfinite(values).mean()
        centred_items[run, language] = np.nan_to_num(values - np.nanmean(values)) / counted
    return centred_items


def current_effects(study: Path, table: pd.DataFrame, saved: pd.DataFrame) -> pd.DataFrame:
    """The saved effects if they are of the same scores, else computed."""
    key = _key(table)
    if not saved.empty and saved["key"].iloc[0] == key:
        return saved
    return effects(table, ItemScores(study), key)


def _key(table: pd.DataFrame) -> str:
    """A hash of all scores, which change when items are answered differently."""
    scores = table[[*POINT, "run_id", "language", "role", *MEASURE, "value", "ci_low", "ci_high", "n"]]
    return key_of(REVISION, scores.to_csv(index=False))[:16]

"""Language confusion: shares of outputs in another language or script, and their relation to translation quality.

The relation is computed per language over the runs of one base model, including the base, so neither the difficulty of
a language nor the differences between base models count as confusion.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt.results.analysis.change.against_base import FEWEST, GROUPS
from cpt.results.analysis.intervals import half_width
from cpt.results.rows.measures import MIXING, language_order

SHARE = "wrong_language"
QUALITY = ("spbleu", "chrf++", "bleu")
"""What a translation's quality is seen by: the first of these that it was scored in."""
NAMES = ("task", "direction", "protocol", "metric", "role")
NUMBERS = ("slope", "slope_low", "slope_high", "correlation", "correlation_low", "correlation_high")
COLUMNS = (*NAMES, *NUMBERS, "languages", "runs")
"""`slope` is the change of the metric, in its own unit, for outputs that are all in another language instead of none;
intervals are over resampled languages."""


def against_quality(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each task, direction, protocol and group of languages in which runs differ in their confusion."""
    records = []
    for names, rows in table[table["role"].isin(GROUPS)].groupby(["task", "direction", "protocol", "role"], sort=False):
        metric = next((name for name in QUALITY if (rows["metric"] == name).any()), None)
        if metric is None or not (rows["metric"] == SHARE).any():
            continue
        key = ["run_id", "model", "langcat", "language"]
        wide = rows[rows["metric"].isin([SHARE, metric])].pivot_table(index=key, columns="metric", values="value")
        wide = wide[[SHARE, metric]].dropna()
        sums = _sums(wide)
        if len(sums) >= FEWEST and sums[:, 1].sum() > 0 and sums[:, 2].sum() > 0:
            task, direction, protocol, role = map(str, names)
            numbers = [*_with_interval(sums, _slope), *_with_interval(sums, _correlation)]
            counts = {"languages": len(sums), "runs": wide.index.get_level_values("run_id").nunique()}
            measured = dict(zip(NAMES, (task, direction, protocol, metric, role), strict=True))
            records.append(measured | dict(zip(NUMBERS, numbers, strict=True)) | counts)
    return pd.DataFrame(records, columns=list(COLUMNS))


def _sums(wide: pd.DataFrame) -> NDArray[np.float64]:
    """For each language the sums of products and squares of deviations from the mean of the runs from one base."""
    deviations = (wide - wide.groupby(level=["language", "model"]).transform("mean")).to_numpy("float64")
    products = np.column_stack([deviations[:, 0] * deviations[:, 1], deviations**2])
    codes, languages = pd.factorize(wide.index.get_level_values("language"), sort=True)
    sums = np.zeros((len(languages), 3))
    np.add.at(sums, codes, products)
    return sums


def _slope(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1]) if sums[1] > 0 else 0.0


def _correlation(sums: NDArray[np.float64]) -> float:
    product = float(sums[1] * sums[2])
    return float(sums[0]) / math.sqrt(product) if product > 0 else 0.0


def _with_interval(sums: NDArray[np.float64], of: Callable[[NDArray[np.float64]], float]) -> tuple[float, ...]:
    """A function of sums over languages, with Student's interval from leaving out one after the other (jackknife)."""
    n, total = len(sums), sums.sum(axis=0)
    value = of(total)
    pseudo = [n * value - (n - 1) * of(total - one) for one in sums]
    half = half_width(pseudo)
    return value, value - half, value + half


SHARE_KEY = ["run_id", "langcat", "role"]
SHARE_GROUP = ["task", "protocol", "direction", "langcat", "role"]
"""Within a group, means are over the same languages unless some are missing."""


def confusion_shares(table: pd.DataFrame) -> pd.DataFrame:
    """By task, protocol, direction, run, category and role: each share's mean over `languages`, and `n` judged in all.

    `worst` is the row of the language with the largest share; `missing` are languages that only other shares or runs
    have.
    """
    shares = table[table["metric"].isin(MIXING) & table["role"].isin(GROUPS)]
    grouped = shares.groupby(["task", "protocol", "direction", *SHARE_KEY, "metric"], sort=False)
    means = grouped.agg(mean=("value", "mean"), languages=("language", "nunique"), n=("n", "sum")).reset_index()
    everywhere = _languages(shares, SHARE_GROUP)
    mine = _languages(shares, [*SHARE_GROUP, "run_id", "metric"])
    means["missing"] = [
        sorted(everywhere[key[: len(SHARE_GROUP)]] - mine[key], key=language_order)
        for key in means[[*SHARE_GROUP, "run_id", "metric"]].itertuples(index=False, name=None)
    ]
    means["worst"] = list(shares.loc[grouped["value"].idxmax()].itertuples(index=False)) if len(means) else []
    return means


def _languages(shares: pd.DataFrame, of: list[str]) -> dict[Any, set[str]]:
    languages: dict[Any, set[str]] = defaultdict(set)
    for *key, language in shares[[*of, "language"]].itertuples(index=False, name=None):
        languages[tuple(key)].add(language)
    return languages

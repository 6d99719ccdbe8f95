"""Language confusion of each run: mean shares of outputs in another language or script, copied, empty or repeated."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.rows.measures import MIXING, language_order

KEY = ["run_id", "langcat", "role"]
GROUP = ["task", "protocol", "direction", "langcat", "role"]
"""Within a group, means are over the same languages unless some are missing."""


def confusion_shares(table: pd.DataFrame) -> pd.DataFrame:
    """By task, protocol, direction, run, category and role: each share's mean over `languages`, and `n` judged in all.

    `worst` is the row of the language with the largest share; `missing` are languages that only other shares or runs
    have.
    """
    shares = table[table["metric"].isin(MIXING) & table["role"].isin(GROUPS)]
    grouped = shares.groupby(["task", "protocol", "direction", *KEY, "metric"], sort=False)
    means = grouped.agg(mean=("value", "mean"), languages=("language", "nunique"), n=("n", "sum")).reset_index()
    everywhere = _languages(shares, GROUP)
    mine = _languages(shares, [*GROUP, "run_id", "metric"])
    means["missing"] = [
        sorted(everywhere[key[: len(GROUP)]] - mine[key], key=language_order)
        for key in means[[*GROUP, "run_id", "metric"]].itertuples(index=False, name=None)
    ]
    means["worst"] = list(shares.loc[grouped["value"].idxmax()].itertuples(index=False)) if len(means) else []
    return means


def _languages(shares: pd.DataFrame, of: list[str]) -> dict[Any, set[str]]:
    languages: dict[Any, set[str]] = defaultdict(set)
    for *key, language in shares[[*of, "language"]].itertuples(index=False, name=None):
        languages[tuple(key)].add(language)
    return languages

"""Planned against consumed data, steps and time of each run.

Words and tokens are those of one epoch, so of the ledger the unique ones; words exclude code. Time is summed over all
devices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

WITHIN = {"words": 1.1, "tokens": 1.1, "steps": 1.1, "device_minutes": 1.5}
"""The factor by which each quantity may differ from the plan before it is marked as off."""
CODE = "code"
COLUMNS = ("run_id", "quantity", "planned", "consumed", "ratio", "off")


def consumption(plan: Iterable[Mapping[str, str]], ledgers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A line for each run and quantity that was planned or consumed; unknown values are NaN."""
    planned = {row["run_id"]: row for row in plan if row.get("run_id")}
    lines = []
    for run_id in dict.fromkeys([*planned, *ledgers]):
        ledger = ledgers.get(run_id, {})
        planned_amounts, consumed_amounts = _planned(planned.get(run_id, {}), ledger), _consumed(ledger)
        for quantity, factor in WITHIN.items():
            amounts = planned_amounts[quantity], consumed_amounts[quantity]
            if not all(map(math.isnan, amounts)):
                ratio = amounts[1] / amounts[0] if amounts[0] else math.nan
                lines.append(
                    (run_id, quantity, *amounts, ratio, ratio > factor or ratio * factor < 1)
                )  # NaN is not off
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _planned(row: Mapping[str, str], ledger: Mapping[str, Any]) -> dict[str, float]:
    """Planned amounts; a plan without a number of devices is taken to mean those that the run used."""
    devices = _number(row.get("devices"))
    if math.isnan(devices):
        devices = ledger.get("processes") or 1
    amounts = {name: _number(row.get(name)) for name in ("words", "tokens")}
    minutes = _number(row.get("minutes")) * devices
    return {**amounts, "steps": _number(row.get("planned_steps")), "device_minutes": minutes}


def _consumed(ledger: Mapping[str, Any]) -> dict[str, float]:
    sources = [source for source in ledger.get("sources") or [] if source.get("source") != CODE]
    words = sum(source.get("words_unique") or 0 for source in sources) or math.nan
    minutes = ledger.get("seconds", math.nan) / 60 * (ledger.get("processes") or 1)
    known = {"tokens": ledger.get("tokens_unique", math.nan), "steps": ledger.get("steps", math.nan)}
    return {"words": words, **known, "device_minutes": minutes}


def _number(value: str | None) -> float:
    try:
        return float(value or math.nan)
    except ValueError:
        return math.nan


def by_language(ledgers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The amounts that each run consumed per language, over all sources."""
    amounts = ("words_seen", "tokens_seen", "words_unique", "tokens_unique")
    lines = [
        (run_id, source.get("language") or source["source"], *(source.get(name) or 0 for name in amounts))
        for run_id, ledger in ledgers.items()
        for source in ledger.get("sources") or []
    ]
    table = pd.DataFrame(lines, columns=["run_id", "language", *amounts])
    return table.groupby(["run_id", "language"], sort=False, as_index=False).sum()

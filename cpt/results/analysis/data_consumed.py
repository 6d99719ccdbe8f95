"""What each run was planned to take against what its ledger says it took: a run that differs is not what was planned.

Words and tokens are those of one epoch, as the plan has them, so of the ledger the unique ones; words are of languages,
code apart. Time is that of all its devices together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

WITHIN = {"words": 1.1, "tokens": 1.1, "steps": 1.1, "device_minutes": 1.5}
"""Of each quantity the factor by which it may be more or less than planned before it is called off."""
CODE = "code"
COLUMNS = ("run_id", "quantity", "planned", "consumed", "ratio", "off")


def consumption(plan: Iterable[Mapping[str, str]], ledgers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A line for each run and quantity that was planned or consumed; what is not known is not a number."""
    planned = {row["run_id"]: row for row in plan if row.get("run_id")}
    lines = []
    for run_id in dict.fromkeys([*planned, *ledgers]):
        ledger = ledgers.get(run_id, {})
        wanted, had = _planned(planned.get(run_id, {}), ledger), _consumed(ledger)
        for quantity, factor in WITHIN.items():
            told = wanted[quantity], had[quantity]
            if not all(map(math.isnan, told)):
                ratio = told[1] / told[0] if told[0] else math.nan
                lines.append((run_id, quantity, *told, ratio, not math.isnan(ratio) and _off(ratio, factor)))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _off(ratio: float, factor: float) -> bool:
    return ratio > factor or ratio * factor < 1


def _planned(row: Mapping[str, str], ledger: Mapping[str, Any]) -> dict[str, float]:
    """Of a run planned for no devices in particular it is as many as it then ran on."""
    devices = _number(row.get("devices"))
    if math.isnan(devices):
        devices = ledger.get("processes") or 1
    found = {name: _number(row.get(name)) for name in ("words", "tokens")}
    minutes = _number(row.get("minutes")) * devices
    return {**found, "steps": _number(row.get("planned_steps")), "device_minutes": minutes}


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
    """What each run consumed in each language, over all sources that hold it."""
    amounts = ("words_seen", "tokens_seen", "words_unique", "tokens_unique")
    lines = [
        (run_id, source.get("language") or source["source"], *(source.get(name) or 0 for name in amounts))
        for run_id, ledger in ledgers.items()
        for source in ledger.get("sources") or []
    ]
    found = pd.DataFrame(lines, columns=["run_id", "language", *amounts])
    return found.groupby(["run_id", "language"], sort=False, as_index=False).sum()

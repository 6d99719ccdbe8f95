"""Forgetting: what every run does in English and in code, against the untouched base model over the same items.

`forgetting.csv`, a line for each run and measure. The intervals are of the difference and paired over items, so they
are narrower than the two scores' own tell: what items differ by is not in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from cpt.corpora.document import CODE
from cpt.evals.benchmark import Unit
from cpt.languages import ENGLISH
from cpt.results.analysis.change.against_base import OWNER, RUN
from cpt.results.analysis.change.paired_test import Difference
from cpt.results.analysis.saved_tables import SavedTable

KNOWN_BEFORE = {ENGLISH: "english", CODE: "code"}
"""What a base model can do, and the role it has in a result row."""
VALUES = ("value", "base", "difference", "ci_low", "ci_high")
COLUMNS = (*RUN, "base_id", "role", "task", "direction", "protocol", "metric", *VALUES, "n", "verdict", "key")
"""`difference` is the run's value less the base's, with its interval; `verdict` better, worse, or unclear where that
holds zero; `key` changes when either model is evaluated otherwise."""
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(VALUES, "float64")
_DTYPES |= {"seed": "Int64", "n": "int64", "code": "bool"}
FORGETTING = SavedTable("forgetting.csv", _DTYPES, nullable=("seed",))


def runs_with_base(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The columns that name a finished run, for each that has one finished base model, and `base_id`, that one's."""
    bases: dict[Any, set[str]] = {}
    for *owner, base_id in table[table["data"] == "base"][[*OWNER, "run_id"]].itertuples(index=False, name=None):
        bases.setdefault(tuple(owner), set()).add(base_id)
    found = []
    for values in table[table["data"] != "base"][RUN].drop_duplicates().itertuples(index=False, name=None):
        run = dict(zip(RUN, values, strict=True))
        known = bases.get(tuple(run[name] for name in OWNER), set())
        if len(known) == 1:
            found.append(run | {"base_id": next(iter(known))})
    return found


def lines(run: dict[str, Any], unit: Unit, differences: Iterable[Difference], key: str) -> list[dict[str, Any]]:
    """Of one unit in English or code: every metric of the run beside the base's."""
    measured = {"task": unit.task, "direction": unit.direction, "protocol": unit.protocol}
    return [
        {
            **run,
            "role": KNOWN_BEFORE[unit.language],
            **measured,
            "metric": found.metric,
            "value": found.value,
            "base": found.other,
            "difference": found.difference,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "n": found.n,
            "verdict": found.verdict,
            "key": key,
        }
        for found in differences
    ]


def forgetting_table(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Lines as a table with the columns of `forgetting.csv`."""
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(_DTYPES)

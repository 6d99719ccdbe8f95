"""`forgetting.csv`: every run in English and code against its untouched base model over the same items.

The intervals are of the difference and paired over items, so they are narrower than those of the two scores suggest.
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
"""What a base model already knows, with its role in a result row."""
VALUES = ("value", "base", "difference", "ci_low", "ci_high")
COLUMNS = (*RUN, "base_id", "role", "task", "direction", "protocol", "metric", *VALUES, "n", "verdict", "key")
"""`difference` is the run's value minus the base's, with its interval; `verdict` is unclear if that includes zero;
`key` changes when the evaluation of either model does."""
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(VALUES, "float64")
_DTYPES |= {"seed": "Int64", "n": "int64", "code": "bool"}
FORGETTING = SavedTable("forgetting.csv", _DTYPES, nullable=("seed",))


def runs_with_base(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The identifying columns of each run with exactly one base model, and the `base_id` of that."""
    bases: dict[Any, set[str]] = {}
    for *owner, base_id in table[table["data"] == "base"][[*OWNER, "run_id"]].itertuples(index=False, name=None):
        bases.setdefault(tuple(owner), set()).add(base_id)
    result = []
    for values in table[table["data"] != "base"][RUN].drop_duplicates().itertuples(index=False, name=None):
        run = dict(zip(RUN, values, strict=True))
        base_ids = bases.get(tuple(run[name] for name in OWNER), set())
        if len(base_ids) == 1:
            result.append(run | {"base_id": next(iter(base_ids))})
    return result


def lines(run: dict[str, Any], unit: Unit, differences: Iterable[Difference], key: str) -> list[dict[str, Any]]:
    """The lines of one unit in English or code, one per metric."""
    measured = {"task": unit.task, "direction": unit.direction, "protocol": unit.protocol}
    return [
        {
            **run,
            "role": KNOWN_BEFORE[unit.language],
            **measured,
            "metric": difference.metric,
            "value": difference.value,
            "base": difference.other,
            "difference": difference.difference,
            "ci_low": difference.ci_low,
            "ci_high": difference.ci_high,
            "n": difference.n,
            "verdict": difference.verdict,
            "key": key,
        }
        for difference in differences
    ]


def forgetting_table(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Lines as a table with the columns of `forgetting.csv`."""
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(_DTYPES)

"""The one tidy table of a study: every score of every finished run and base model, also as `comparison.csv`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from cpt.errors import UserError
from cpt.evals.rows import COLUMNS, ROLES, Row
from cpt.files import read_lines, write_text
from cpt.results.folders import RESULTS, RunFolder, run_folders

COMPARISON = "comparison.csv"
DATA_ORDER = ("base", "mono", "bi")
MEASURE = ("task", "direction", "protocol", "metric")
"""What is measured; scores that differ in any of these are never averaged or compared."""
RUN_ORDER = ("model", "langcat", "data", "code", "seed", "run_id")
SORT = (*RUN_ORDER, "task", "protocol", "metric", "direction", "role", "language")
_DTYPES = {"str": "str", "bool": "bool", "int": "int64", "int | None": "Int64", "float": "float64"}
DTYPES: dict[str, Any] = {field.name: _DTYPES[str(field.type)] for field in fields(Row)}


def read_table(study: Path) -> pd.DataFrame:
    """All rows of the finished folders of a study, with exactly the columns of a row, always in one order."""
    records = [record for folder in run_folders(study) if folder.finished for record in _records(folder)]
    return in_order(pd.DataFrame(records, columns=list(COLUMNS)).astype(DTYPES))


def _records(folder: RunFolder) -> list[dict[str, Any]]:
    path = folder.path / RESULTS
    records = read_lines(path)
    for number, record in enumerate(records, start=1):
        if set(record) != set(COLUMNS):
            odd = ", ".join(sorted(set(record) ^ set(COLUMNS)))
            raise UserError(f"{path}, line {number}: other columns than expected ({odd}); evaluate this run again")
    return records


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the one order of every table: by run, then by what was measured."""
    return table.sort_values(list(SORT), key=_rank, na_position="first", kind="stable", ignore_index=True)


def _rank(column: pd.Series[Any]) -> pd.Series[Any]:
    """Sort keys: base before mono before bi, trained before related; the rest by value."""
    order = {"data": DATA_ORDER, "role": ROLES}.get(str(column.name))
    if order is None:
        return column
    places = {word: f"{place:03}" for place, word in enumerate(order)}
    return column.map(lambda word: places.get(word, f"999{word}"))


def write_comparison(study: Path) -> Path:
    """Write the table as `comparison.csv` in the study's folder."""
    path = study / COMPARISON
    write_csv(path, read_table(study))
    return path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write rows, or lines made of them, in the form of `comparison.csv`: what is missing is empty."""
    code = table["code"].map({True: "true", False: "false"})
    write_text(path, table.assign(code=code).to_csv(index=False, lineterminator="\n"))


def read_comparison(path: Path) -> pd.DataFrame:
    """Read a `comparison.csv` back with the types it was written from."""
    missing = {name: ["", "nan"] for name, dtype in DTYPES.items() if dtype in {"Int64", "float64"}}
    # An empty direction is a word, not a missing value, so pandas' own list of missing words is switched off.
    dtypes = {**DTYPES, "code": "str"}
    raw = pd.read_csv(path, dtype=dtypes, keep_default_na=False, na_values=missing, float_precision="round_trip")
    odd = sorted(set(raw["code"]) - {"true", "false"}) if "code" in raw else []
    if list(raw.columns) != list(COLUMNS) or odd:
        found = f"code={odd[0]}" if odd else ", ".join(raw.columns)
        raise UserError(f"{path}: found {found}; expected code=true or false and columns {', '.join(COLUMNS)}")
    raw["code"] = raw["code"] == "true"
    return raw.astype(DTYPES)

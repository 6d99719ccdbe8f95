"""The columns of a result row with types and meanings, and the versions of this schema.

Rows of an older version are migrated when they are read; rows of a newer version are refused. docs/results-table.md
lists the same columns; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from cpt.evals.rows import SCHEMA

VERSION = SCHEMA
FIRST = 1
"""The version of rows without a version."""
TEXT, YES_NO, INTEGER, INTEGER_OR_NONE, NUMBER = "text", "yes or no", "integer", "integer or empty", "number"
DTYPE_OF = {TEXT: "str", YES_NO: "bool", INTEGER: "int64", INTEGER_OR_NONE: "Int64", NUMBER: "float64"}


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    meaning: str
    since: int = FIRST

    @property
    def dtype(self) -> str:
        return DTYPE_OF[self.kind]


ROW = (
    Column("run", TEXT, "Readable name of the run, for example `L3-Bi+Code-Stag`; several seeds share it."),
    Column("run_id", TEXT, "Name and eight digits of what the run was trained on: unique in a study."),
    Column("model", TEXT, "The base model: `l3`, `l2`, `v7`, or another of `conf/model/`."),
    Column("data", TEXT, "`mono` or `bi`; `base` for the untouched model."),
    Column("code", YES_NO, "Whether code was in the mix."),
    Column("langcat", TEXT, "The category of languages; a base model has rows in each category of the study."),
    Column("seed", INTEGER_OR_NONE, "Seed of the training; empty for a base model, and for published runs."),
    Column("language", TEXT, "The evaluated language as FLORES-200 names it, or `code`."),
    Column("role", TEXT, "What the language is to the run: `train`, `related`, `english` or `code`."),
    Column("task", TEXT, "The benchmark, for example `sib200`."),
    Column("direction", TEXT, "`en-x` or `x-en` of a translation; empty for everything else."),
    Column("protocol", TEXT, "How the benchmark was asked: `paper`, `sound`, or empty where there is one way only."),
    Column("metric", TEXT, "What was computed of the answers, for example `accuracy`."),
    Column("value", NUMBER, "The score over all items as computed: a share is 0 to 1, chrF++ and BLEU are 0 to 100."),
    Column("n", INTEGER, "Items the value is over: documents, questions, sentences."),
    Column("ci_low", NUMBER, "Lower end of the 95 % interval over items; empty where none is known."),
    Column("ci_high", NUMBER, "Upper end of the same interval."),
    Column("signature", TEXT, "How the value was computed, where a library says so, as sacrebleu does.", since=2),
    Column("schema", INTEGER, "Version of the row's form.", since=2),
)
"""The columns of a line of `results.jsonl`."""
ADDED = (
    Column("study", TEXT, "Name of the study, which is its folder's.", since=2),
    Column("scale", TEXT, "`toy` where any run of the study is toy; `paper`, `published`, or another scale.", since=2),
    Column("resource", TEXT, "`high`, `mid` or `low`, as the registry has the language; empty for others.", since=2),
)
"""Columns added on reading, from the study's folder and the registry."""
TABLE = (*ROW, *ADDED)
ODD = Column("odd", TEXT, "Of published rows: why a value is out of line and no target; empty for sound ones.", since=2)
TABLE_NAMES = tuple(column.name for column in TABLE)


def dtypes(columns: Iterable[Column]) -> dict[str, str]:
    """The pandas types of columns, by name."""
    return {column.name: column.dtype for column in columns}


def names(version: int) -> tuple[str, ...]:
    """The columns that rows of a version are written with."""
    return tuple(column.name for column in ROW if column.since <= version)


def _with_signature(rows: pd.DataFrame) -> pd.DataFrame:
    """1 → 2: rows had no signature."""
    return rows.assign(signature="", schema=2)


STEPS: dict[int, Callable[[pd.DataFrame], pd.DataFrame]] = {1: _with_signature}
"""By version, the migration to the next version."""


def migrated(rows: pd.DataFrame, version: int) -> pd.DataFrame:
    """Migrate rows of one version to the current one."""
    for step in range(version, VERSION):
        rows = STEPS[step](rows)
    return rows


def complaint(columns: Iterable[str], version: object, remedy: str = "evaluate this run again") -> str:
    """What is wrong with rows of these columns and version, with the remedy; empty if nothing."""
    if not isinstance(version, int) or isinstance(version, bool) or version < FIRST:
        return f"schema={version!r} is no version of rows ({FIRST} to {VERSION}); {remedy}"
    if version > VERSION:
        return f"rows of schema {version}, newer than this software knows ({VERSION}); update the software"
    odd = sorted(set(columns) ^ set(names(version)))
    return f"other columns than schema {version} has ({', '.join(odd)}); {remedy}" if odd else ""

"""The table of a study: every score of every finished run and base model, also as `comparison.csv`."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt.errors import UserError
from cpt.evals.rows import ROLES
from cpt.files import read_lines, write_text
from cpt.languages import registry
from cpt.results.rows import schema
from cpt.results.rows.run_folders import RESULTS, RunFolder, run_folders, scale_of

COMPARISON = "comparison.csv"
DATA_ORDER = ("base", "mono", "bi")
MEASURE = ("task", "direction", "protocol", "metric")
"""The columns of a measure; scores that differ in any of these are never averaged or compared."""
RUN_ORDER = ("model", "langcat", "data", "code", "seed", "run_id")
SORT = (*RUN_ORDER, "task", "protocol", "metric", "direction", "role", "language")
DTYPES: dict[str, Any] = schema.dtypes(schema.ROW)
_PYTHON: dict[str, Any] = {
    schema.TEXT: str,
    schema.YES_NO: bool,
    schema.INTEGER: int,
    schema.INTEGER_OR_NONE: int | None,
    schema.NUMBER: int | float,
}
_ARROW = {
    schema.TEXT: "string",
    schema.YES_NO: "bool",
    schema.INTEGER: "int64",
    schema.INTEGER_OR_NONE: "int64",
    schema.NUMBER: "float64",
}


def read_table(study: Path, folders: Sequence[RunFolder] | None = None, scale: str = "") -> pd.DataFrame:
    """All rows of a study's finished runs, in the current schema and a fixed order."""
    folders = run_folders(study) if folders is None else folders
    rows = _rows([folder.path / RESULTS for folder in folders if folder.finished])
    return in_study(in_order(rows), study.absolute().name, scale or scale_of(study))


def read_tables(studies: Sequence[Path]) -> pd.DataFrame:
    """The tables of several studies as one; the column `study` distinguishes them.

    A run id may be in several studies, so compare runs with base models one study at a time.
    """
    times = Counter(study.absolute().name for study in studies)
    if shared := [name for name, count in times.items() if count > 1]:
        raise UserError(f"several studies are called {', '.join(shared)}: rows could not be told apart; rename one")
    tables = [read_table(study) for study in studies]
    return pd.concat(tables, ignore_index=True) if tables else in_study(_no_rows(), "", "")


def in_study(rows: pd.DataFrame, study: str, scale: str) -> pd.DataFrame:
    """Rows with the added columns: study, scale and resource level."""
    levels = {code: language.resource for code, language in registry().items()}
    resource = rows["language"].map(levels).fillna("")
    return rows.assign(study=study, scale=scale, resource=resource).astype(schema.dtypes(schema.ADDED))


def _rows(paths: Sequence[Path]) -> pd.DataFrame:
    parsed = _parsed(b"".join(path.read_bytes() for path in paths if path.exists()))
    return _validated(paths) if parsed is None else parsed


def _parsed(lines: bytes) -> pd.DataFrame | None:
    """All rows at once by Arrow's fast parser; None if anything is wrong, for example an incomplete line."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json

    if not lines:
        return _no_rows()
    arrow_schema = pa.schema([(column.name, _ARROW[column.kind]) for column in schema.ROW])
    options = pa.json.ParseOptions(explicit_schema=arrow_schema, unexpected_field_behavior="error")
    try:
        arrow_rows = pa.json.read_json(io.BytesIO(lines), parse_options=options)
    except pa.ArrowException:
        return None
    # A null seed looks like a missing one to Arrow, so count the key in the text.
    if lines.count(b'"seed": ') != len(arrow_rows):
        return None
    versions, parts = arrow_rows["schema"].fill_null(schema.FIRST), []
    for version in sorted(versions.unique().to_pylist()):
        rows = arrow_rows.filter(pc.equal(versions, version))
        null_counts = {name: rows[name].null_count for name in DTYPES}
        names = [name for name in DTYPES if name == "seed" or null_counts[name] < len(rows)]
        if schema.complaint(names, version) or any(null_counts[name] for name in names if name != "seed"):
            return None
        frame = rows.select(names).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        parts.append(_current(frame, version))
    return pd.concat(parts, ignore_index=True)


def _current(rows: pd.DataFrame, version: int) -> pd.DataFrame:
    """Rows of one version in the current columns and types."""
    return schema.migrated(rows, version)[list(DTYPES)].astype(DTYPES)


def _validated(paths: Sequence[Path]) -> pd.DataFrame:
    """All rows, line by line; an invalid row is an error that names file and line."""
    versions: dict[int, list[dict[str, Any]]] = {}
    for path in paths:
        for number, record in enumerate(read_lines(path), start=1):
            version = record.get("schema", schema.FIRST)
            if wrong := schema.complaint(record, version) or _wrong_type(record):
                raise UserError(f"{path}, line {number}: {wrong}")
            versions.setdefault(version, []).append(record)
    parts = [_current(pd.DataFrame(records), version) for version, records in sorted(versions.items())]
    return pd.concat(parts, ignore_index=True) if parts else _no_rows()


def _wrong_type(record: dict[str, Any]) -> str:
    for column in schema.ROW:
        if column.name not in record:
            continue  # of an older version
        value = record[column.name]
        # In Python a bool is an int too.
        if not isinstance(value, _PYTHON[column.kind]) or isinstance(value, bool) != (column.kind == schema.YES_NO):
            return f"{column.name}={value!r}, expected {column.kind}; evaluate this run again"
    return ""


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=list(DTYPES)).astype(DTYPES)


def of_measures(table: pd.DataFrame, measures: Iterable[Sequence[str]]) -> pd.DataFrame:
    """The rows of some measures."""
    wanted = set(map(tuple, measures))
    names = zip(*(table[name].to_numpy() for name in MEASURE), strict=True)
    return table[np.fromiter((measure in wanted for measure in names), np.bool_, len(table))]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the fixed order of every table: by run, then by measure."""
    ranks = [_rank(table[name]) for name in reversed(SORT)]
    return table.iloc[np.lexsort(ranks)].reset_index(drop=True)


def _rank(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Ranks to sort by: base, mono, bi; train, related, …; the rest by value, empty first."""
    first = {"data": DATA_ORDER, "role": ROLES}.get(str(column.name), ())
    codes, words = pd.factorize(column)
    ordered = sorted(words, key=lambda word: (first.index(word) if word in first else len(first), word))
    rank_of = {word: rank for rank, word in enumerate(ordered)}
    ranks = np.array([*(rank_of[word] for word in words), -1])  # the last is the rank of empty values, whose code is -1
    result: NDArray[np.int64] = ranks[codes]
    return result


def write_comparison(study: Path, table: pd.DataFrame) -> Path:
    """Write a study's table as `comparison.csv` in its folder."""
    path = study / COMPARISON
    write_csv(path, table)
    return path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write rows in the format of `comparison.csv`; missing values are empty."""
    code = table["code"].map({True: "true", False: "false"})
    write_text(path, table.assign(code=code).to_csv(index=False, lineterminator="\n"))


def read_comparison(path: Path) -> pd.DataFrame:
    """Read a `comparison.csv` of any version. Study and scale are empty if it has none; `odd` is kept if present."""
    known = schema.dtypes((*schema.TABLE, schema.ODD))
    # An empty direction is a value, so pandas' default list of missing values is switched off.
    missing = {name: ["", "nan"] for name, dtype in known.items() if dtype in {"Int64", "float64"}}
    types = known | {"code": "str", "schema": "str"}
    raw = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing, float_precision="round_trip")
    version = _version(raw)
    added = [column.name for column in (*schema.ADDED, schema.ODD) if column.name in raw]
    if wrong := schema.complaint(raw.columns.drop(added), version, "write it again with `cpt report` or `cpt table`"):
        raise UserError(f"{path}: {wrong}")
    if odd := sorted(set(raw["code"]) - {"true", "false"}):
        raise UserError(f"{path}: code={odd[0]}, expected true or false")
    raw["code"] = raw["code"] == "true"
    rows = _current(raw.drop(columns=added), version)
    added_columns = {name: raw[name] for name in added}
    return in_study(rows, "", "").assign(**added_columns)


def _version(raw: pd.DataFrame) -> Any:
    """The one version of a file's rows; if that is invalid, the text of the column, for the error message."""
    if "schema" not in raw:
        return schema.FIRST
    versions = list(raw["schema"].unique())
    if len(versions) == 1 and versions[0].isdigit():
        return int(versions[0])
    return ", ".join(versions) if versions else schema.VERSION

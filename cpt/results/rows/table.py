"""The one tidy table of a study: every score of every finished run and base model, also as `comparison.csv`."""

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
"""What is measured; scores that differ in any of these are never averaged or compared."""
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
    """All rows of the finished folders of a study in the current form, with its columns, always in one order."""
    folders = run_folders(study) if folders is None else folders
    rows = _rows([folder.path / RESULTS for folder in folders if folder.finished])
    return in_study(in_order(rows), study.absolute().name, scale or scale_of(study))


def read_tables(studies: Sequence[Path]) -> pd.DataFrame:
    """The tables of several studies as one, in the order given; `study` tells them apart.

    A base model and a run id may be in several, so what compares runs with their base is asked of one study at a time.
    """
    times = Counter(study.absolute().name for study in studies)
    if shared := [name for name, count in times.items() if count > 1]:
        raise UserError(f"several studies are called {', '.join(shared)}: rows could not be told apart; rename one")
    tables = [read_table(study) for study in studies]
    return pd.concat(tables, ignore_index=True) if tables else in_study(_no_rows(), "", "")


def in_study(rows: pd.DataFrame, study: str, scale: str) -> pd.DataFrame:
    """Rows with what a reader adds to them: their study with its scale, and the resource level of their language."""
    levels = {code: language.resource for code, language in registry().items()}
    resource = rows["language"].map(levels).fillna("")
    return rows.assign(study=study, scale=scale, resource=resource).astype(schema.dtypes(schema.ADDED))


def _rows(paths: Sequence[Path]) -> pd.DataFrame:
    found = _parsed(b"".join(path.read_bytes() for path in paths if path.exists()))
    return _examined(paths) if found is None else found


def _parsed(lines: bytes) -> pd.DataFrame | None:
    """All rows at once, by a parser that cannot tell what is wrong: None where anything is, or a line is torn."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json

    if not lines:
        return _no_rows()
    wanted = pa.schema([(column.name, _ARROW[column.kind]) for column in schema.ROW])
    options = pa.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="error")
    try:
        found = pa.json.read_json(io.BytesIO(lines), parse_options=options)
    except pa.ArrowException:
        return None
    # A seed may be null, so that it is absent cannot be seen; keys are written in one form, and counted in it.
    if lines.count(b'"seed": ') != len(found):
        return None
    versions, parts = found["schema"].fill_null(schema.FIRST), []
    for version in sorted(versions.unique().to_pylist()):
        rows = found.filter(pc.equal(versions, version))
        empty = {name: rows[name].null_count for name in DTYPES}
        told = [name for name in DTYPES if name == "seed" or empty[name] < len(rows)]
        if schema.complaint(told, version) or any(empty[name] for name in told if name != "seed"):
            return None
        frame = rows.select(told).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        parts.append(_today(frame, version))
    return pd.concat(parts, ignore_index=True)


def _today(rows: pd.DataFrame, version: int) -> pd.DataFrame:
    """Rows of one version in today's columns and types."""
    return schema.migrated(rows, version)[list(DTYPES)].astype(DTYPES)


def _examined(paths: Sequence[Path]) -> pd.DataFrame:
    """The same, line by line: the first row that is not as it should be is an error that names its place."""
    versions: dict[int, list[dict[str, Any]]] = {}
    for path in paths:
        for number, record in enumerate(read_lines(path), start=1):
            version = record.get("schema", schema.FIRST)
            if wrong := schema.complaint(record, version) or _mistyped(record):
                raise UserError(f"{path}, line {number}: {wrong}")
            versions.setdefault(version, []).append(record)
    parts = [_today(pd.DataFrame(records), version) for version, records in sorted(versions.items())]
    return pd.concat(parts, ignore_index=True) if parts else _no_rows()


def _mistyped(record: dict[str, Any]) -> str:
    for column in schema.ROW:
        if column.name not in record:
            continue  # of an older version
        value = record[column.name]
        # To Python a bool is a number too.
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
    """Rows in the one order of every table: by run, then by what was measured."""
    places = [_rank(table[name]) for name in reversed(SORT)]
    return table.iloc[np.lexsort(places)].reset_index(drop=True)


def _rank(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Places to sort by: base before mono before bi, trained before related; the rest by value, what is empty first."""
    first = {"data": DATA_ORDER, "role": ROLES}.get(str(column.name), ())
    codes, words = pd.factorize(column)
    known = sorted(words, key=lambda word: (first.index(word) if word in first else len(first), word))
    places = {word: place for place, word in enumerate(known)}
    ranks = np.array([*(places[word] for word in words), -1])  # the last is what code -1, empty, stands for
    found: NDArray[np.int64] = ranks[codes]
    return found


def write_comparison(study: Path, table: pd.DataFrame) -> Path:
    """Write a study's table as `comparison.csv` in its folder."""
    path = study / COMPARISON
    write_csv(path, table)
    return path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write rows, or lines made of them, in the form of `comparison.csv`: what is missing is empty."""
    code = table["code"].map({True: "true", False: "false"})
    write_text(path, table.assign(code=code).to_csv(index=False, lineterminator="\n"))


def read_comparison(path: Path) -> pd.DataFrame:
    """Read a `comparison.csv`, of any version, back with the types it was written from.

    The oldest do not say their study and scale, which are then empty. Published rows may have `odd`, and keep it.
    """
    known = schema.dtypes((*schema.TABLE, schema.ODD))
    # An empty direction is a word, not a missing value, so pandas' own list of missing words is switched off.
    missing = {name: ["", "nan"] for name, dtype in known.items() if dtype in {"Int64", "float64"}}
    types = known | {"code": "str", "schema": "str"}
    raw = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing, float_precision="round_trip")
    version = _version(raw)
    added = [column.name for column in (*schema.ADDED, schema.ODD) if column.name in raw]
    if wrong := schema.complaint(raw.columns.drop(added), version, "write it anew with `cpt report` or `cpt table`"):
        raise UserError(f"{path}: {wrong}")
    if odd := sorted(set(raw["code"]) - {"true", "false"}):
        raise UserError(f"{path}: found code={odd[0]}; expected true or false")
    raw["code"] = raw["code"] == "true"
    rows = _today(raw.drop(columns=added), version)
    told = {name: raw[name] for name in added}
    return in_study(rows, "", "").assign(**told)


def _version(raw: pd.DataFrame) -> Any:
    """The version of a file's rows, which are all of one; what it says itself where that is none."""
    if "schema" not in raw:
        return schema.FIRST
    said = list(raw["schema"].unique())
    if len(said) == 1 and said[0].isdigit():
        return int(said[0])
    return ", ".join(said) if said else schema.VERSION

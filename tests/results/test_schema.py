"""The documented form of rows is the one that is written, and every older one is read."""

import re
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from cpt.evals.rows import SCHEMA, Row
from cpt.results.rows.schema import (
    ADDED,
    FIRST,
    ODD,
    ROW,
    STEPS,
    VERSION,
    complaint,
    migrated,
    names,
)

DOCUMENT = Path(__file__).parents[2] / "docs/results-table.md"
OF_PYTHON = {
    "str": "text",
    "bool": "yes or no",
    "int": "integer",
    "int | None": "integer or empty",
    "float": "number",
}
FIRST_FORM = (
    *("run", "run_id", "model", "data", "code", "langcat", "seed", "language", "role"),
    *("task", "direction", "protocol", "metric", "value", "n", "ci_low", "ci_high"),
)


def test_a_row_is_what_the_schema_says():
    assert [(field.name, OF_PYTHON[str(field.type)]) for field in fields(Row)] == [(c.name, c.kind) for c in ROW]
    assert VERSION == SCHEMA == max(column.since for column in ROW)
    assert set(STEPS) == set(range(FIRST, VERSION))


def test_the_document_says_what_the_schema_says():
    text = DOCUMENT.read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (\d+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert told == [(c.name, c.kind, str(c.since), c.meaning) for c in (*ROW, *ADDED, ODD)]
    assert f"The version of the form is **{VERSION}**" in text
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(number) for number in range(FIRST, VERSION + 1)]


def test_the_first_form_is_what_was_written_then():
    assert names(1) == FIRST_FORM
    assert names(2) == (*FIRST_FORM, "signature", "schema")


def test_rows_of_the_first_form_are_brought_up_to_date_and_left_as_they_were():
    old = pd.DataFrame({"run": ["A", "B"], "value": [0.5, 0.25]})
    new = migrated(old, 1)
    assert new.to_dict("list") == {"run": ["A", "B"], "value": [0.5, 0.25], "signature": ["", ""], "schema": [2, 2]}
    assert list(old) == ["run", "value"]
    assert migrated(new, VERSION) is new


@pytest.mark.parametrize(
    ("found", "version", "said"),
    [
        (names(1), 1, ""),
        (names(2), 2, ""),
        (names(2), 1, "other columns than schema 1 has (schema, signature); evaluate this run again"),
        (names(1)[1:], 1, "other columns than schema 1 has (run); evaluate this run again"),
        (("new", *names(2)), VERSION + 1, "newer than this software knows (2); update the software"),
        (names(2), "2", "schema='2' is no version of rows"),
        (names(2), 0, "schema=0 is no version of rows"),
        (names(2), True, "schema=True is no version of rows"),
    ],
)
def test_what_is_wrong_with_rows_is_said(found, version, said):
    assert said in complaint(found, version)
    assert bool(said) == bool(complaint(found, version))

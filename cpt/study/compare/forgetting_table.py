"""Forgetting of a study's runs, from the answers that runs and base models have saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from cpt.evals.benchmark import Item, Unit
from cpt.evals.metrics.measured import Measured
from cpt.files import read_json
from cpt.results.analysis.change.forgetting import (
    COLUMNS,
    KNOWN_BEFORE,
    forgetting_table,
    lines,
    runs_with_base,
)
from cpt.results.analysis.change.paired_test import differences
from cpt.run_keys import key_of
from cpt.study.state.evaluated_run import EvaluatedRun, same_questions

REVISION = "1"
"""Raised when lines come out otherwise for the same evaluations."""


def current_forgetting(study: Path, table: pd.DataFrame, saved: pd.DataFrame) -> pd.DataFrame:
    """English and code of every run in a study's table against its base; saved lines of the same answers are reused."""
    saved_lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for values in saved.itertuples(index=False, name=None):
        line = dict(zip(COLUMNS, values, strict=True))
        saved_lines.setdefault((line["run_id"], line["base_id"]), []).append(line)
    bases: dict[str, Base] = {}
    records: list[dict[str, Any]] = []
    for run in runs_with_base(table):
        key = _key(study, run)
        mine = saved_lines.get((run["run_id"], run["base_id"]), [])
        if not mine or mine[0]["key"] != key:
            base = bases.setdefault(run["base_id"], Base(EvaluatedRun(study / run["base_id"])))
            mine = list(base.beside(run, EvaluatedRun(study / run["run_id"]), key))
        records += mine
    return forgetting_table(records)


def _key(study: Path, run: dict[str, Any]) -> str:
    evaluated = [read_json(study / run[name] / "evaluate.done")["key"] for name in ("run_id", "base_id")]
    return key_of(REVISION, *evaluated)[:16]


class Base:
    """A base model, whose answers are read once for all its runs.

    All runs of a study are measured in one way (`run_set.check_comparable`), so the base's suite measures them too.
    """

    def __init__(self, kept: EvaluatedRun) -> None:
        self.kept = kept
        self._read: dict[tuple[Unit, str], tuple[list[Item], list[Measured]] | None] = {}

    def beside(self, run: dict[str, Any], kept: EvaluatedRun, key: str) -> Iterator[dict[str, Any]]:
        samples = self.kept.run.config.evals.bootstrap
        for unit in self.kept.units:
            if unit.language not in KNOWN_BEFORE:
                continue
            asked = set(self.kept.keys(unit))
            shared = [name for name in kept.keys(unit) if name in asked]
            base = self._answers(unit, shared[-1]) if shared else None
            items = kept.items(unit, shared[-1]) if base else None
            if base and items and same_questions(items, base[0]):
                yield from lines(run, unit, differences(self.kept.measure(unit, items), base[1], samples)[0], key)

    def _answers(self, unit: Unit, asked: str) -> tuple[list[Item], list[Measured]] | None:
        if (unit, asked) not in self._read:
            items = self.kept.items(unit, asked)
            self._read[unit, asked] = (items, self.kept.measure(unit, items)) if items else None
        return self._read[unit, asked]

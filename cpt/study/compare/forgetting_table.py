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
"""Increased when the same evaluations give other lines."""


def current_forgetting(study: Path, table: pd.DataFrame, saved: pd.DataFrame) -> pd.DataFrame:
    """Changes in English and code of every run against its base; saved lines of the same answers are reused."""
    saved_lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for values in saved.itertuples(index=False, name=None):
        line = dict(zip(COLUMNS, values, strict=True))
        saved_lines.setdefault((line["run_id"], line["base_id"]), []).append(line)
    bases: dict[str, BaseAnswers] = {}
    records: list[dict[str, Any]] = []
    for run in runs_with_base(table):
        key = _key(study, run)
        mine = saved_lines.get((run["run_id"], run["base_id"]), [])
        if not mine or mine[0]["key"] != key:
            base = bases.setdefault(run["base_id"], BaseAnswers(EvaluatedRun(study / run["base_id"])))
            mine = list(base.compare(run, EvaluatedRun(study / run["run_id"]), key))
        records += mine
    return forgetting_table(records)


def _key(study: Path, run: dict[str, Any]) -> str:
    evaluated = [read_json(study / run[name] / "evaluate.done")["key"] for name in ("run_id", "base_id")]
    return key_of(REVISION, *evaluated)[:16]


class BaseAnswers:
    """Answers of a base model, read once for all its runs.

    All runs of a study are measured alike (`run_set.check_comparable`), so the base's suite measures them too.
    """

    def __init__(self, base: EvaluatedRun) -> None:
        self.base = base
        self._read: dict[tuple[Unit, str], tuple[list[Item], list[Measured]] | None] = {}

    def compare(self, run: dict[str, Any], evaluated: EvaluatedRun, line_key: str) -> Iterator[dict[str, Any]]:
        """Lines with the differences of a run to the base."""
        samples = self.base.run.config.evals.bootstrap
        for unit in self.base.units:
            if unit.language not in KNOWN_BEFORE:
                continue
            base_keys = set(self.base.keys(unit))
            shared = [name for name in evaluated.keys(unit) if name in base_keys]
            answers = self._answers(unit, shared[-1]) if shared else None
            items = evaluated.items(unit, shared[-1]) if answers else None
            if answers and items and same_questions(items, answers[0]):
                changes, _ = differences(self.base.measure(unit, items), answers[1], samples)
                yield from lines(run, unit, changes, line_key)

    def _answers(self, unit: Unit, key: str) -> tuple[list[Item], list[Measured]] | None:
        if (unit, key) not in self._read:
            items = self.base.items(unit, key)
            self._read[unit, key] = (items, self.base.measure(unit, items)) if items else None
        return self._read[unit, key]

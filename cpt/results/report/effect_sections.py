"""Values of the sections on conclusions, effects, pairs of runs and curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.results.analysis.change.paired_test import UNCLEAR
from cpt.results.analysis.conclusions import Answer, Finding
from cpt.results.analysis.effects.effects_table import runs_at_shared_points
from cpt.results.analysis.intervals import LEVEL
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import HELD_OUT, held_out
from cpt.results.figures.drawing import Figure
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.paired import paired
from cpt.results.report.cells import Table, measure_of
from cpt.results.report.choice_sections import mixes_table
from cpt.results.rows.banners import TOY
from cpt.results.rows.measures import ROLE_LABELS, Measure, number
from cpt.results.rows.table import MEASURE


@dataclass(frozen=True)
class AnswerSection:
    mixes: Table | None
    variance_from: str
    """Which runs the run-to-run variance is estimated from; empty if there are too few."""
    shared: list[str]
    """Names of runs that share all axes and differ in something else."""
    answers: list[Answer]
    findings: list[Finding]
    """The published study's findings compared with these runs."""


@dataclass(frozen=True)
class Effects:
    estimated: int
    held: list[tuple[Measure, Any]]
    """Effects that are significant after correction."""
    drawings: list[tuple[str, Figure | None, Figure | None]]
    """By measure, the effects of single axes and of two together."""
    unknown: list[str]


@dataclass(frozen=True)
class PairedAxis:
    axis: str
    drawings: list[tuple[str, Figure]]
    unpaired: list[str]


def answer(results: StudyResults) -> AnswerSection | None:
    """Conclusions with their estimates; None if neither effects nor mixes are known."""
    answers, mixes = results.answers, mixes_table(results)
    if not answers:
        return AnswerSection(mixes, "", [], [], []) if mixes else None
    shared = [results.labels[run_id] for run_id in runs_at_shared_points(results.rows)]
    findings = results.findings if results.scale != TOY else []
    return AnswerSection(mixes, str(results.effects["luck"].max()), shared, answers, findings)


def basis(row: Any) -> str:
    """The languages, runs, items and p-values behind an effect, in words."""
    parts = [f"{number(row.languages, 0)} languages", f"{number(row.runs, 0)} runs"]
    parts += [f"{number(row.items, 0)} items"] if row.items else []
    parts += [f"{row.seeds} seeds"] if row.seeds > 1 else []
    parts += [f"p = {row.p:.2g}, corrected {row.p_adjusted:.2g}"] if row.p == row.p else []
    why = f"; {row.why}" if row.why else ""
    return f"{row.verdict if row.verdict != UNCLEAR else 'not sure'}: {', '.join(parts)}{why}"


def effects(results: StudyResults) -> Effects | None:
    """A drawing for each headline measure, and every effect that is significant after correction."""
    is_known = results.effects["estimate"].notna()
    known = results.effects[is_known]
    if known.empty:
        return None
    rows = known[known["p_adjusted"] < LEVEL].sort_values("p", kind="stable").itertuples(index=False)
    held = [(measure_of(row), row) for row in rows]
    drawings = [
        (measure.title, forest(known, measure, results.tag), interactions(known, measure, results.tag))
        for measure in results.headline
    ]
    return Effects(len(known), held, drawings, _unknown(results.effects[~is_known]))


def _unknown(effects: pd.DataFrame) -> list[str]:
    """For each measure and reason, the comparisons whose effect cannot be estimated."""
    sentences = []
    for (task, direction, protocol, metric, why), rows in effects.groupby([*MEASURE, "why"], sort=False):
        measure = Measure(str(task), str(direction), str(protocol), str(metric))
        pairs = zip(rows["contrast"], rows["role"].map(lambda role: ROLE_LABELS.get(role, role)), strict=True)
        compared = "; ".join(f"{contrast} ({role})" for contrast, role in pairs)
        sentences.append(f"{measure.title}: {why}: {compared}")
    return sentences


def paired_runs(results: StudyResults) -> list[PairedAxis] | None:
    """Runs that differ in one axis alone, by language: for each axis a drawing of each measure."""
    axes = []
    for axis, pairs in results.pairs.items():
        figures = [(measure, paired(pairs, axis, measure, results.tag)) for measure in results.quality_measures]
        drawings = [
            (f"{figure.title} (protocol {measure.protocol})" if measure.protocol else figure.title, figure)
            for measure, figure in figures
            if figure
        ]
        if drawings:
            axes.append(PairedAxis(axis, drawings, results.unpaired(axis)))
    return axes or None


def learning(results: StudyResults) -> list[tuple[str, Figure]] | None:
    """Curves of bits per byte of held-out text during training, by group of languages."""
    curves = [(title, figure) for role, title in HELD_OUT.items() if (figure := held_out(results, role))]
    return curves or None

"""Values of the sections on what made a difference: the answer, the effects of the axes, pairs of runs, curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.paired_test import BETTER, UNCLEAR, WORSE
from cpt.results.analysis.conclusions import SAID, Answer, Conclusion, Told, interval_of
from cpt.results.analysis.effects.correction import LEVEL
from cpt.results.analysis.effects.effects_table import more_than_axes
from cpt.results.analysis.findings import AGAINST, APART, BORNE_OUT
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import HELD_OUT, held_out
from cpt.results.figures.drawing import Figure
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.paired import paired
from cpt.results.report.cells import Cell, Row, Table, amount, measure_of, texts
from cpt.results.report.choice_sections import mixes_table
from cpt.results.rows.banners import TOY
from cpt.results.rows.measures import METRICS, NONE, ROLE_LABELS, Measure, number
from cpt.results.rows.table import MEASURE

STYLES = {BETTER: "b2", WORSE: "w2"}
JUDGED = {BORNE_OUT: "b2", AGAINST: "w2", APART: "w2"}


@dataclass(frozen=True)
class Question:
    question: str
    conclusions: list[tuple[str, dict[str, str]]]
    """What was chosen between, and by verdict the measures it holds in."""
    numbers: Table


@dataclass(frozen=True)
class AnswerSection:
    mixes: Table | None
    variance_from: str
    """Which runs the run-to-run variance is estimated from; empty if there are too few."""
    shared: list[str]
    """Names of runs that share all axes and differ in something else."""
    questions: list[Question]
    findings: Table | None
    """The published study's findings held against these runs."""


@dataclass(frozen=True)
class Effects:
    estimated: int
    held: int
    drawings: list[tuple[str, Figure | None, Figure | None]]
    """By measure, the effects of single axes and of two together."""
    table: Table
    unknown: list[str]


@dataclass(frozen=True)
class PairedAxis:
    axis: str
    drawings: list[tuple[str, Figure]]
    unpaired: list[str]


def answer(results: StudyResults) -> AnswerSection | None:
    """For every question a conclusion and the numbers it rests on; None if neither effect nor mix is known."""
    found, mixes = results.answers, mixes_table(results)
    if not found:
        return AnswerSection(mixes, "", [], [], None) if mixes else None
    shared = [results.labels[run_id] for run_id in more_than_axes(results.rows)]
    held = _findings(results) if results.scale != TOY else None
    variance_from = str(results.effects["luck"].max())
    return AnswerSection(mixes, variance_from, shared, [_question(answer) for answer in found], held)


def _question(answer: Answer) -> Question:
    conclusions = [
        (conclusion.choice, {SAID[verdict]: words for verdict, words in conclusion.verdicts.items()})
        for conclusion in answer.conclusions
    ]
    several = len(answer.conclusions) > 1  # else the conclusion has already said what is compared
    body = [
        Row(each.measure.title, _effect_cells(conclusion, each, several))
        for conclusion in answer.conclusions
        for each in conclusion.found
    ]
    heads = ["Measure", *(["Compared"] if several else []), *(ROLE_LABELS[role].capitalize() for role in GROUPS)]
    return Question(answer.question, conclusions, Table(body, heads))


def _effect_cells(conclusion: Conclusion, each: Told, several: bool) -> list[Cell]:
    compared = [Cell(conclusion.choice)] if several else []
    effects = [_effect(each.rows[role], each.measure) if role in each.rows else Cell(NONE) for role in GROUPS]
    return [*compared, *effects]


def _effect(row: Any, measure: Measure, unit: str = "", judged: bool = True) -> Cell:
    """An effect with its interval, and in its title what it rests on."""
    style = STYLES.get(str(row.verdict), "") if judged else ""
    interval = interval_of(row, measure)
    title = f"{basis(row)} {unit}".strip()
    return Cell(measure.difference(row.estimate), interval, sort=row.estimate, title=title, style=style)


def basis(row: Any) -> str:
    """What an effect rests on, in words."""
    parts = [f"{number(row.languages, 0)} languages", f"{number(row.runs, 0)} runs"]
    parts += [f"{number(row.items, 0)} items"] if row.items else []
    parts += [f"{row.seeds} seeds"] if row.seeds > 1 else []
    parts += [f"p = {row.p:.2g}, corrected {row.p_adjusted:.2g}"] if row.p == row.p else []
    why = f"; {row.why}" if row.why else ""
    return f"{row.verdict if row.verdict != UNCLEAR else 'not sure'}: {', '.join(parts)}{why}"


def _findings(results: StudyResults) -> Table | None:
    body = []
    for each in results.findings:
        effect = _effect(each.row, each.measure, judged=False)
        named = texts(each.part.claim, ROLE_LABELS[each.role], each.row.contrast)
        body.append(Row(each.part.finding, [*named, effect, Cell(each.judged, style=JUDGED.get(each.judged, ""))]))
    return Table(body) if body else None


def effects(results: StudyResults) -> Effects | None:
    """A drawing for each measure people look at first, and every effect that holds after correction."""
    known = results.effects["estimate"].notna()
    found = results.effects[known]
    if found.empty:
        return None
    held = found[found["p_adjusted"] < LEVEL].sort_values("p", kind="stable")
    drawings = [
        (measure.title, forest(found, measure, results.tag), interactions(found, measure, results.tag))
        for measure in results.headline
    ]
    unknown = _unknown(results.effects[~known])
    return Effects(
        len(found), len(held), drawings, Table([_held(row) for row in held.itertuples(index=False)]), unknown
    )


def _held(row: Any) -> Row:
    measure, verdict = measure_of(row), str(row.verdict)
    unit = METRICS[measure.metric].change_unit if measure.metric in METRICS else ""
    role = ROLE_LABELS.get(str(row.role), str(row.role))
    cells = [
        *texts(row.contrast, measure.title, measure.protocol or NONE, role),
        _effect(row, measure, unit),
        Cell(verdict if verdict != UNCLEAR else NONE),
        Cell(f"{row.p_adjusted:.2g}", sort=row.p_adjusted),
        amount(row.languages),
    ]
    return Row(row.effect, cells)


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
    for axis, found in results.pairs.items():
        figures = [(measure, paired(found, axis, measure, results.tag)) for measure in results.quality_measures]
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

"""The conclusions of a study in words: the effect of each choice on the headline measures.

Every sentence is made from rows of `effects`. An effect is better or worse only if it is significant after
the correction for multiple comparisons, separately for trained and related languages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.evals.rows import EN_X, HIGHER_IS_BETTER, X_EN
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.paired_test import BETTER, UNCLEAR, WORSE
from cpt.results.analysis.summary import columns, headline_protocols
from cpt.results.rows.measures import ROLE_LABELS, Measure

QUESTIONS = {
    "base": "Does it help to train at all?",
    "data": "Monolingual or bilingual text?",
    "code": "With or without code?",
    "langcat": "Does the category of the languages matter?",
    "model": "Does the base model matter?",
}
CHOICES = {"bi − mono": "bilingual instead of monolingual text", "with − without code": "code in the mix"}
"""Contrasts as choices, in words."""
SAID = {BETTER: "Better", WORSE: "Worse", UNCLEAR: "No sure difference"}


@dataclass(frozen=True)
class MeasuredEffect:
    """One effect on one measure, in every group of languages with an estimate."""

    measure: Measure
    contrast: str
    rows: dict[str, Any]
    """Lines of the effects, by role."""


@dataclass(frozen=True)
class Conclusion:
    """What one choice did, in words."""

    choice: str
    verdicts: dict[str, str]
    """By verdict (better, worse, unclear): the measures, with the groups of languages."""
    effects: tuple[MeasuredEffect, ...]
    """The estimates behind the verdicts."""


@dataclass(frozen=True)
class Answer:
    question: str
    conclusions: tuple[Conclusion, ...]


def headline(table: pd.DataFrame) -> list[Measure]:
    """The headline measures: one metric and protocol per benchmark."""
    protocols = headline_protocols(table)
    named = [
        (column.task, column.direction or "", protocols.get(column.task, ""), column.metric)
        for column in columns(table)
    ]
    return [Measure(*measure) for measure in dict.fromkeys(named)]


def answers(effects: pd.DataFrame, table: pd.DataFrame) -> list[Answer]:
    """The answers to all questions for which the study has an effect."""
    shown = headline(table)
    result = []
    for axis, question in QUESTIONS.items():
        lines = effects[(effects["effect"] == axis) & effects["role"].isin(GROUPS)]
        measured = {contrast: list(_of_contrast(lines, contrast, shown)) for contrast in lines["contrast"].unique()}
        conclusions = tuple(
            _conclusion(contrast, of_measures) for contrast, of_measures in measured.items() if of_measures
        )
        if conclusions:
            result.append(Answer(question, conclusions))
    return result


def _of_contrast(lines: pd.DataFrame, contrast: str, shown: Sequence[Measure]) -> Iterator[MeasuredEffect]:
    estimated = lines[(lines["contrast"] == contrast) & lines["estimate"].notna()]
    of_measure: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in estimated.itertuples(index=False):
        key = (str(row.task), str(row.direction), str(row.protocol), str(row.metric))
        of_measure.setdefault(key, {})[str(row.role)] = row
    for measure in shown:
        if rows := of_measure.get(tuple(measure)):
            yield MeasuredEffect(measure, contrast, rows)


def _conclusion(contrast: str, effects: Sequence[MeasuredEffect]) -> Conclusion:
    """Collect the measures that are better, worse or unclear, with their groups of languages."""
    verdicts = {}
    for verdict in (BETTER, WORSE, UNCLEAR):
        measures = [(each, _groups(each, verdict)) for each in effects]
        if sentence := "; ".join(f"{each.measure.title} ({groups})" for each, groups in measures if groups):
            verdicts[verdict] = sentence
    return Conclusion(choice(contrast), verdicts, tuple(effects))


def _groups(each: MeasuredEffect, verdict: str) -> str:
    return ", ".join(ROLE_LABELS[role] for role in GROUPS if role in each.rows and each.rows[role].verdict == verdict)


def choice(contrast: str) -> str:
    """The beginning of a sentence that says what a contrast compares."""
    if contrast in CHOICES:
        text = CHOICES[contrast]
    elif contrast == "trained − base":
        text = "training, compared with the untouched base"
    else:
        second, _, first = contrast.partition(" − ")
        text = f"{second} instead of {first}, by their change against base"
    return text[0].upper() + text[1:]


def interval_of(row: Any, measure: Measure) -> str:
    """The interval of an effect in words, or why there is none."""
    return row.why if math.isnan(row.ci_low) else measure.span(row.ci_low, row.ci_high)


BORNE_OUT, OPEN, AGAINST = "borne out", "not sure either way", "the other way"
ALIKE, APART = "no sure difference", "they differ"


@dataclass(frozen=True)
class Part:
    """A published claim about one effect: better (1), worse (-1), or no difference (0)."""

    finding: str
    claim: str
    task: str
    direction: str
    effect: str
    contrasts: tuple[str, ...]
    sense: int


WITH_CODE = "with − without code"
BILINGUAL = "Bilingual text helps classification, and makes translation collapse"
CODED = "Code helps classification, most with few resources, at a small cost in generation"
LABELLED = "The categories' names do not predict what is transferred"
BETWEEN = ("sel − alt", "stag − alt", "stag − sel")
PARTS = (
    Part(BILINGUAL, "bilingual text helps classification", "sib200", "", "data", ("bi − mono",), 1),
    Part(BILINGUAL, "it makes translation into English collapse", "flores200", X_EN, "data", ("bi − mono",), -1),
    Part(CODED, "code helps classification", "sib200", "", "code", (WITH_CODE,), 1),
    Part(CODED, "more with few resources", "sib200", "", "code×resource", (f"{WITH_CODE}, mid − low",), -1),
    Part(CODED, "it costs translation into English", "flores200", X_EN, "code", (WITH_CODE,), -1),
    Part(CODED, "it costs translation out of English", "flores200", EN_X, "code", (WITH_CODE,), -1),
    Part(LABELLED, "categories do not differ in what related languages gain", "sib200", "", "langcat", BETWEEN, 0),
)


@dataclass(frozen=True)
class Finding:
    part: Part
    role: str
    measure: Measure
    judged: str
    row: Any
    """The row of `effects` that it is judged by."""


def findings(effects: pd.DataFrame, table: pd.DataFrame) -> list[Finding]:
    """All published claims that the study has effects for, in trained and related languages."""
    shown = {(measure.task, measure.direction): measure for measure in headline(table) if measure.metric in QUALITY}
    result = []
    for part in PARTS:
        measure = shown.get((part.task, part.direction))
        if measure is None:
            continue
        roles = GROUPS if part.sense else GROUPS[1:]
        lines = effects[(effects["effect"] == part.effect) & effects["contrast"].isin(part.contrasts)]
        lines = lines[lines["estimate"].notna()]
        for name, value in zip(("task", "direction", "protocol", "metric"), measure, strict=True):
            lines = lines[lines[name] == value]
        for row in lines.itertuples(index=False):
            role = str(row.role)
            if role in roles:
                result.append(Finding(part, role, measure, judged(part.sense, row), row))
    return result


QUALITY = ("accuracy", "chrf++", "spbleu")


def judged(sense: int, row: Any) -> str:
    """Whether an effect agrees with a claim, by its uncorrected interval.

    The claims are few and were stated beforehand, so they need no correction for multiple comparisons.
    """
    if math.isnan(row.ci_low):
        return OPEN
    holds_zero = row.ci_low <= 0 <= row.ci_high
    if sense == 0:
        return ALIKE if holds_zero else APART
    if holds_zero:
        return OPEN
    gain = row.estimate if HIGHER_IS_BETTER.get(row.metric, True) else -row.estimate
    return BORNE_OUT if gain * sense > 0 else AGAINST

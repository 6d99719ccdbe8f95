"""The three findings of the study that published this experiment, held against the effects of a study's own runs.

Li, Ji, Luo, Tiedemann (arXiv 2504.04152): bilingual text helps classification and makes translation collapse; code
helps classification, most where there are few resources, at a small cost in generation; whether languages are called
altruistic, selfish or stagnant does not predict what is transferred. Each part is one effect and the way it should go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.evals.rows import EN_X, HIGHER_IS_BETTER, X_EN
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.conclusions import headline
from cpt.results.rows.measures import Measure

BORNE_OUT, OPEN, AGAINST = "borne out", "not sure either way", "the other way"
ALIKE, APART = "no sure difference", "they differ"


@dataclass(frozen=True)
class Part:
    """What a finding says of one effect: better (1), worse (-1), or nothing (0)."""

    finding: str
    claim: str
    task: str
    direction: str
    effect: str
    contrasts: tuple[str, ...]
    sense: int


CODE = "with − without code"
BILINGUAL = "Bilingual text helps classification, and makes translation collapse"
CODED = "Code helps classification, most with few resources, at a small cost in generation"
LABELLED = "The categories' names do not predict what is transferred"
BETWEEN = ("sel − alt", "stag − alt", "stag − sel")
PARTS = (
    Part(BILINGUAL, "bilingual text helps classification", "sib200", "", "data", ("bi − mono",), 1),
    Part(BILINGUAL, "it makes translation into English collapse", "flores200", X_EN, "data", ("bi − mono",), -1),
    Part(CODED, "code helps classification", "sib200", "", "code", (CODE,), 1),
    Part(CODED, "more with few resources", "sib200", "", "code×resource", (f"{CODE}, mid − low",), -1),
    Part(CODED, "it costs translation into English", "flores200", X_EN, "code", (CODE,), -1),
    Part(CODED, "it costs translation out of English", "flores200", EN_X, "code", (CODE,), -1),
    Part(LABELLED, "categories do not differ in what related languages gain", "sib200", "", "langcat", BETWEEN, 0),
)


@dataclass(frozen=True)
class Finding:
    part: Part
    role: str
    measure: Measure
    judged: str
    row: Any
    """The line of the effects that it rests on."""


def findings(effects: pd.DataFrame, table: pd.DataFrame) -> list[Finding]:
    """Every part that the study's effects say something of, in trained and in related languages."""
    shown = {(measure.task, measure.direction): measure for measure in headline(table) if measure.metric in QUALITY}
    found = []
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
                found.append(Finding(part, role, measure, judged(part.sense, row), row))
    return found


QUALITY = ("accuracy", "chrf++", "spbleu")


def judged(sense: int, row: Any) -> str:
    """Whether an effect is as claimed or the other way, by its own interval.

    The claims were stated before and are few; the correction is for effects that nobody has claimed.
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

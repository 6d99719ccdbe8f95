"""Labels, units, digits and directions of measures, as shown to people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cpt.evals.rows import EN_X, HIGHER_IS_BETTER, X_EN
from cpt.languages import registry

MINUS, NONE = "\N{MINUS SIGN}", "–"
ROLE_LABELS = {"train": "trained", "related": "related", "english": "English", "code": "code"}
TASKS = {
    "sib200": "SIB-200",
    "flores200": "FLORES-200",
    "bpb": "Held-out text",
    "bpb_flores": "FLORES-200 test text",
    "arc": "ARC",
    "arc_multilingual": "ARC",
    "belebele": "BELEBELE",
    "massivesumm": "MassiveSumm",
    "massivesumm_long": "MassiveSumm, long",
    "massivesumm_short": "MassiveSumm, short",
    "mgsm": "MGSM",
    "mgsm_cot": "MGSM, steps",
    "mgsm_direct": "MGSM, direct",
    "taxi1500": "Taxi1500",
    "xcopa": "XCOPA",
    "xlsum": "XL-Sum",
    "xnli": "XNLI",
    "xstorycloze": "XStoryCloze",
}
DIRECTIONS = {EN_X: "En\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}X", X_EN: "X\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}En"}


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str = ""
    change_unit: str = ""
    factor: float = 1.0
    """Scores are stored as computed and shown times this."""
    digits: int = 3
    change_digits: int = 3


def _share(label: str) -> Metric:
    return Metric(label, "%", "percentage points", 100, 1, 1)


METRICS = {
    "accuracy": _share("accuracy"),
    "accuracy_norm": _share("accuracy by length"),
    "exact_match": _share("exact match"),
    "chrf++": Metric("chrF++", digits=1, change_digits=1),
    "spbleu": Metric("spBLEU", digits=1, change_digits=1),
    "bleu": Metric("BLEU", digits=1, change_digits=1),
    "rouge_l": Metric("ROUGE-L", "%", "percentage points", 100, 1, 1),
    "bits_per_byte": Metric("bits per byte", change_digits=2),
    "wrong_language": _share("wrong language"),
    "wrong_sentences": _share("wrong sentences"),
    "wrong_script": _share("wrong script"),
    "copied": _share("copied source"),
    "empty": _share("empty"),
    "repeated": _share("endlessly repeated"),
}
MIXING = ("wrong_language", "wrong_sentences", "wrong_script", "copied", "empty", "repeated")
"""Shares of faulty outputs, which have a section of their own."""


class Measure(NamedTuple):
    """Task, direction, protocol and metric of a score."""

    task: str
    direction: str
    protocol: str
    metric: str

    @property
    def shown(self) -> Metric:
        return METRICS.get(self.metric) or Metric(self.metric)

    @property
    def words(self) -> list[str]:
        return words(self.task, self.direction, self.shown.label)

    @property
    def title(self) -> str:
        return " ".join(self.words)

    @property
    def better(self) -> str:
        """Whether higher or lower is better; empty if unknown."""
        higher = HIGHER_IS_BETTER.get(self.metric)
        return "" if higher is None else "higher is better" if higher else "lower is better"

    def gain(self, difference: float) -> float:
        """A difference with its sign changed so that positive is better; zero if unknown."""
        higher = HIGHER_IS_BETTER.get(self.metric)
        return 0.0 if higher is None else difference if higher else -difference

    def value(self, value: float) -> str:
        return number(value * self.shown.factor, self.shown.digits)

    def change(self, difference: float) -> str:
        return signed(difference * self.shown.factor, self.shown.change_digits)

    def difference(self, difference: float) -> str:
        """A change with as many digits as scores have."""
        return signed(difference * self.shown.factor, self.shown.digits)

    def span(self, low: float, high: float) -> str:
        """The interval of a difference."""
        return f"{self.difference(low)} to {self.difference(high)}"


def words(task: str, direction: str, metric: str) -> list[str]:
    """The label of a measure: task, metric and direction if any."""
    parts = (TASKS.get(task, task), metric, DIRECTIONS.get(direction, direction))
    return [part for part in parts if part]


def number(value: float, digits: int) -> str:
    """A number with a true minus sign; a dash for NaN."""
    return f"{value:,.{digits}f}".replace("-", MINUS) if math.isfinite(value) else NONE


def signed(value: float, digits: int) -> str:
    """A change with its sign; zero has none."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:+,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 else text).replace("-", MINUS)


def resamples(share: float) -> str:
    """A share of resamples in %, with limits near 0 and 100 because the number of resamples is limited."""
    if not math.isfinite(share):
        return NONE
    return "< 1 %" if share < 0.005 else "> 99 %" if share > 0.995 else f"{100 * share:.0f} %"


def language_name(code: str) -> str:
    """The registry's name, or the code if it is not in the registry, such as a programming language."""
    return registry()[code].name if code in registry() else code


def language_order(code: str) -> tuple[int, str]:
    """Sort key: the registry's order, which keeps relatives together, then the rest by name."""
    positions = _registry_positions()
    return positions.get(code, len(positions)), code


@cache
def _registry_positions() -> dict[str, int]:
    return {code: position for position, code in enumerate(registry())}

"""Cleaning of training text: named steps that each change a record, remove it, or let it pass.

To add a step, write a class with the interface in step.py and add it to `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cpt.corpora.cleaning.contamination import Contamination, ngram_index
from cpt.corpora.cleaning.duplicates import Exact, Near
from cpt.corpora.cleaning.language import Instances, LanguageStep
from cpt.corpora.cleaning.length import Length, Ratio
from cpt.corpora.cleaning.normalise import Normalise
from cpt.corpora.cleaning.pipeline import CleanedRecord, Cleaning, Gate
from cpt.corpora.cleaning.step import Step, checked
from cpt.corpora.cleaning.units import Hashes
from cpt.corpora.language_identifier import Identifier
from cpt.errors import UserError, config_error, nearest

__all__ = ["STEPS", "CleanedRecord", "Cleaning", "Gate", "Tools", "build", "ngram_index"]

STEPS: dict[str, Callable[..., Step]] = {
    "normalise": Normalise,
    "length": Length,
    "ratio": Ratio,
    "exact": Exact,
    "near": Near,
    "language": LanguageStep,
    "instances": Instances,
    "contamination": Contamination,
}


@dataclass(frozen=True)
class Tools:
    """What some steps need beyond their settings."""

    identifier: Identifier | None = None
    test_ngrams: Callable[[int], Hashes] | None = None
    """The index of the test sets (`ngram_index`) for windows of a number of words."""


def build(settings: Mapping[str, Any], tools: Tools) -> Cleaning:
    """The cleaning that `cleaning.steps` of the configuration describes: settings by name of the step, in order."""
    steps = []
    for name, given in settings.items():
        key = f"cleaning.steps.{name}"
        if name not in STEPS:
            raise config_error(key, given, f"no such step{nearest(str(name), STEPS)}; known: {', '.join(STEPS)}")
        values = checked(key, STEPS[name], given)
        steps.append((name, STEPS[name](**_tools(key, name, values, tools), **values)))
    return Cleaning(tuple(steps))


def _tools(key: str, name: str, values: dict[str, Any], tools: Tools) -> dict[str, Any]:
    if name in ("language", "instances"):
        if tools.identifier is None:
            raise UserError(
                f"{key}: needs a language identifier; give paths.glotlid, a fastText model such as GlotLID "
                "(Hugging Face hub: cis-lmu/glotlid, file model.bin), or leave the step out"
            )
        return {"identifier": tools.identifier}
    if name == "contamination":
        if tools.test_ngrams is None:
            raise UserError(
                f"{key}: needs the test sets to look for; give paths.flores200 or paths.sib200, or leave the step out"
            )
        return {"ngrams": tools.test_ngrams(values["n"])}
    return {}

"""Budgets: how much of a source a run takes, in a named unit, chosen once and the same for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cpt.corpora.source import Doc

UNITS = ("words", "bytes", "tokens")


@dataclass(frozen=True)
class Budget:
    amount: int
    unit: str = "words"
    tokenizer: str = ""
    """Fingerprint of the tokenizer that counts, when the unit is tokens: one for all models."""


Measure = Callable[[Doc], int]


def measure_of(budget: Budget, count_tokens: Measure) -> Measure:
    """How much of a budget a document uses up; `count_tokens` counts with the budget's own tokenizer."""
    if budget.unit == "words":
        return lambda doc: sum(doc.words().values())
    if budget.unit == "bytes":
        return lambda doc: len(doc.text.encode("utf-8"))
    return count_tokens


def choose(docs: Iterator[Doc], budget: Budget, measure: Measure) -> Iterator[Doc]:
    """Documents from the start of a source until the budget is reached, or all there are when it is not."""
    used = 0
    for doc in docs:
        if used >= budget.amount:
            return
        used += measure(doc)
        yield doc

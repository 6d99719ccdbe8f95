"""What a benchmark is: units, the questions a unit puts to a model, and what its answers come to.

Asking and scoring are apart: every question is kept with its answer (cpt/evals/items.py), and scores are computed
from what is kept. So a killed evaluation goes on at the question where it stopped, and a score can be computed
anew, or otherwise, without a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cpt.config import BenchmarkConfig
from cpt.evals.aids import Aids
from cpt.evals.metrics.bootstrap import ratio
from cpt.evals.questions import Ask

Encode = Callable[[list[str]], list[list[int]]]
"""Texts to token ids, without special tokens, by the tokenizer of the model that is asked."""


@dataclass(frozen=True)
class Unit:
    """The part of an evaluation that makes rows of its own: one language, direction and protocol of a task."""

    task: str
    language: str
    direction: str
    protocol: str

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.task, self.language, self.direction, self.protocol)))


@dataclass(frozen=True)
class Question:
    """What a model is asked, and what of the item its scoring needs: the right label, a reference."""

    ask: Ask
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A question with the answer it got. The kinds of answers are told in cpt/evals/questions.py."""

    ask: Ask
    facts: dict[str, Any]
    answer: Any


@dataclass(frozen=True)
class Measured:
    """A metric as statistics of single items, and the score as a function of their sum.

    Corpus scores such as BLEU are no means of item scores, but they are functions of summed counts. So one form
    serves scores, their intervals, and the comparison of two models over the same items.
    """

    metric: str
    statistics: NDArray[np.float64]
    """A row an item, in the order of the items."""
    score: Callable[[NDArray[np.float64]], float]
    signature: str = ""
    """How the value was computed, where a library says so, or where a name says too little."""

    @property
    def counted(self) -> NDArray[np.bool_]:
        """The items that the metric says something of: an output may be too short for a share to judge it."""
        counted: NDArray[np.bool_] = self.statistics[:, 1] > 0
        return counted if self.score is ratio else np.ones(len(self.statistics), dtype=np.bool_)


@dataclass(frozen=True)
class Score:
    metric: str
    value: float
    n: int
    """Items the value is over."""
    ci_low: float
    ci_high: float
    signature: str = ""


class Benchmark(Protocol):
    """One file of cpt/evals/ each; `cpt.evals.suite.BENCHMARKS` lists them."""

    def __init__(self, config: BenchmarkConfig, folder: Path, aids: Aids) -> None: ...

    def units(self, languages: list[str]) -> list[Unit]: ...

    def files(self, unit: Unit) -> list[Path]:
        """What the unit reads; part of its identity, and looked for before anything starts."""
        ...

    def check(self, unit: Unit) -> None:
        """Read the files as they will be read, and raise a UserError that names what is wrong in them."""
        ...

    def wording(self, unit: Unit) -> str:
        """What else than settings and files the questions depend on, such as a library's version; empty for nothing."""
        ...

    def variant(self, unit: Unit) -> str:
        """What else of this machine the scores depend on, such as a tokenizer at hand; part of the scores' identity."""
        ...

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        """The unit's items in the order of its files."""
        ...

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        """Every metric of a unit whose questions are all answered."""
        ...

"""What a benchmark is: a name, the units it is made of, and how one unit is scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cpt.config import BenchmarkConfig

if TYPE_CHECKING:
    from cpt.evals.scorer import Scorer


@dataclass(frozen=True)
class Unit:
    """The smallest part of an evaluation that is kept on its own, so a killed one goes on after it."""

    task: str
    language: str
    direction: str
    protocol: str


@dataclass(frozen=True)
class Score:
    metric: str
    value: float
    n: int
    ci_low: float
    ci_high: float
    signature: str = ""
    """How the value was computed, where a library says so."""


class Benchmark(Protocol):
    """One file of cpt/evals/ each; `cpt.evals.suite.BENCHMARKS` lists them."""

    def __init__(self, config: BenchmarkConfig, folder: Path, bootstrap: int) -> None: ...

    def units(self, languages: list[str]) -> list[Unit]: ...

    def files(self, unit: Unit) -> list[Path]:
        """What the unit reads; part of its identity, and checked before anything starts."""
        ...

    def variant(self, unit: Unit) -> str:
        """What else of this machine the scores depend on, such as an installed tokenizer; part of the identity."""
        ...

    def score(self, unit: Unit, scorer: Scorer) -> list[Score]: ...

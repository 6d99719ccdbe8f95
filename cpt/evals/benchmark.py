"""The interface of a benchmark: its units, the questions of a unit, and the metrics of the answers.

Every question is stored with its answer (cpt/evals/items.py), and scores are computed from the stored answers. So an
interrupted evaluation resumes at the next question, and scores can be computed again without the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from cpt.config import BenchmarkConfig
from cpt.corpora.language_identifier import Identifier
from cpt.evals.metrics.measured import Measured
from cpt.evals.questions import ModelRequest

Encode = Callable[[list[str]], list[list[int]]]
"""Texts to token ids, without special tokens, by the tokenizer of the evaluated model."""


@dataclass(frozen=True)
class Unit:
    """One language, direction and protocol of a task: the smallest part of an evaluation with result rows."""

    task: str
    language: str
    direction: str
    protocol: str

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.task, self.language, self.direction, self.protocol)))


@dataclass(frozen=True)
class Question:
    """A request to a model, and facts that scoring needs: the right label, a reference."""

    request: ModelRequest
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A question with its answer, in the form that cpt/evals/questions.py documents."""

    request: ModelRequest
    facts: dict[str, Any]
    answer: Any


@dataclass(frozen=True)
class ScoringResources:
    """What scoring needs besides a benchmark's own files."""

    identifier: Callable[[], Identifier | None] = lambda: None
    """Identifies the language of an output; None without a model or text to train one on."""
    identifier_key: str = ""
    """Changes with the identifier's answers."""
    spbleu_sha256: str = ""
    """Expected checksum of spBLEU's tokenizer model."""


class Benchmark(ABC):
    """One benchmark: a module of cpt/evals/benchmarks/, registered by `@register`, and a file in conf/evals/."""

    name: ClassVar[str]
    """The name of its file in conf/evals/."""
    paths_key: ClassVar[str]
    """The key of `paths` that holds its files; behind a slash, the folder in it."""
    protocols: ClassVar[tuple[str, ...]] = ()
    """The protocols it can be evaluated by, if it has several."""

    def __init__(self, config: BenchmarkConfig, folder: Path, resources: ScoringResources) -> None:
        self.config, self.folder, self.resources = config, folder, resources

    @abstractmethod
    def units(self, languages: list[str]) -> list[Unit]: ...

    @abstractmethod
    def files(self, unit: Unit) -> list[Path]:
        """The files of a unit; their content is part of its key, and they must exist before a study starts."""

    @abstractmethod
    def check(self, unit: Unit) -> None:
        """Read the files, and raise a UserError that names what is wrong in them."""

    @abstractmethod
    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        """The unit's questions in the order of its files."""

    @abstractmethod
    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        """All metrics of a unit, given all its answers."""

    def prompt_fingerprint(self, unit: Unit) -> str:
        """Anything besides settings and files that the questions depend on, such as a library's version."""
        return ""

    def scoring_fingerprint(self, unit: Unit) -> str:
        """Anything else that the scores depend on, such as the tokenizer of spBLEU."""
        return ""


REGISTRY: dict[str, type[Benchmark]] = {}
B = TypeVar("B", bound=type[Benchmark])


def register(benchmark: B) -> B:
    REGISTRY[benchmark.name] = benchmark
    return benchmark

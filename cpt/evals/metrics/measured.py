"""A metric as statistics of single items, and its score with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.evals.metrics.bootstrap import interval, ratio


@dataclass(frozen=True)
class Measured:
    """Per-item statistics, and the score as a function of their sum.

    Corpus scores such as BLEU are not means of item scores, but they are functions of summed counts. So one form serves
    scores, their intervals, and the comparison of two models over the same items.
    """

    metric: str
    statistics: NDArray[np.float64]
    """One row per item, in the order of the items."""
    score: Callable[[NDArray[np.float64]], float]
    signature: str = ""
    """How the value was computed, where the metric's name does not say enough."""

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Items that the metric applies to: an output may be too short to identify its language."""
        counted: NDArray[np.bool_] = self.statistics[:, 1] > 0
        return counted if self.score is ratio else np.ones(len(self.statistics), dtype=np.bool_)


@dataclass(frozen=True)
class Score:
    metric: str
    value: float
    n: int
    """Number of items behind the value."""
    ci_low: float
    ci_high: float
    signature: str = ""


def scored(measured: Measured, samples: int) -> Score:
    """A metric's value over the items it applies to, with its interval."""
    statistics = measured.statistics
    low, high = interval(statistics, measured.score, samples)
    value = measured.score(statistics.sum(axis=0))
    return Score(measured.metric, value, int(measured.counted.sum()), low, high, measured.signature)


def corpus_measured(name: str, metric: Any, outputs: list[str], references: list[str]) -> Measured:
    """A corpus metric of sacrebleu over outputs with one reference each."""
    statistics = np.array(metric._extract_corpus_statistics(outputs, [references]), dtype=np.float64)
    return Measured(name, statistics, partial(_corpus_score, metric), str(metric.get_signature()))


def _corpus_score(metric: Any, sums: NDArray[np.float64]) -> float:
    return float(metric._compute_score_from_stats(sums.tolist()).score)

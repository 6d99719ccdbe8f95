"""Percentile bootstrap intervals over items, for scores that are functions of summed per-item statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray[np.float64]], float]
LEVEL = 0.95


def interval(statistics: NDArray[np.float64], score: Score, samples: int, seed: int = 0) -> tuple[float, float]:
    """95 % interval of `score(sum of item statistics)` over resampled items; rows of `statistics` are items.

    Corpus scores such as BLEU are not means of item scores, but they are functions of summed counts.
    """
    items = len(statistics)
    rng = np.random.Generator(np.random.PCG64(seed))
    counts = rng.multinomial(items, np.full(items, 1 / items), size=samples)
    sums = counts @ statistics
    scores = np.asarray([score(row) for row in sums])
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def ratio(sums: NDArray[np.float64]) -> float:
    """First statistic over the second: a mean, a rate, an accuracy."""
    return float(sums[0] / sums[1]) if sums[1] else 0.0

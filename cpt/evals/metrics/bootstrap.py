"""Percentile bootstrap intervals over items, for scores that are functions of summed per-item statistics.

A plain percentile interval is too narrow by the root of n / (n - 1) and by what Student's distribution is wider than
the normal one; both are made up for (the expanded percentile interval of Hesterberg 2015, The American Statistician
69:4). What no resampling mends: of few, very unequal texts the interval stays somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray[np.float64]], float]
Z = 1.959963984540054
"""The standard normal distribution's quantile for 95 %."""


def interval(statistics: NDArray[np.float64], score: Score, samples: int, seed: int = 0) -> tuple[float, float]:
    """95 % interval of `score(sum of item statistics)` over resampled items; rows of `statistics` are items.

    Corpus scores such as BLEU are not means of item scores, but they are functions of summed counts. A share of
    which there is none, or all, is the same in every resample: its interval is Wilson's, for none seen is not none.
    """
    if score is ratio and (edge := _edge(statistics)):
        return edge
    scores = np.asarray([score(row) for row in resampled_sums(statistics, samples, seed)])
    return percentiles(scores, len(statistics))


def resampled_sums(statistics: NDArray[np.float64], samples: int, seed: int = 0) -> NDArray[np.float64]:
    """The summed statistics of each resample, one row a resample."""
    sums: NDArray[np.float64] = _resampled(len(statistics), samples, seed) @ statistics
    return sums


def paired(
    one: NDArray[np.float64], other: NDArray[np.float64], score: Score, samples: int, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the first's score minus the other's, over the same items resampled for both alike.

    What makes an item hard is hard for both, so the interval of a difference is narrower than two intervals tell.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} items: a paired comparison is over the same ones")
    drawn = _resampled(len(one), samples, seed)
    differences = [score(a) - score(b) for a, b in zip(drawn @ one, drawn @ other, strict=True)]
    return percentiles(np.asarray(differences), len(one))


@lru_cache(maxsize=2)
def _resampled(items: int, samples: int, seed: int) -> NDArray[np.float64]:
    """How often each item is drawn, a row a resample; the same for all scores of a unit."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.multinomial(items, np.full(items, 1 / items), size=samples).astype(np.float64)


def percentiles(scores: NDArray[np.float64], n: int) -> tuple[float, float]:
    """The expanded 95 % percentile interval of the scores of resamples of n items."""
    tail = tail_of(n)
    low, high = np.quantile(scores, [tail, 1 - tail])
    return float(low), float(high)


def tail_of(n: int) -> float:
    """The share of resamples to leave out at either end, for n items: 2.5 % of many, less of few."""
    if n < 2:
        return 0.0
    nu, z = n - 1, Z
    # Student's quantile by its expansion in 1 / nu (Abramowitz and Stegun 26.7.5).
    student = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    student += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    return (1 + erf(-student * sqrt(n / nu) / sqrt(2))) / 2


def _edge(statistics: NDArray[np.float64]) -> tuple[float, float] | None:
    """Wilson's interval where every item says no, or every one yes; None for anything else."""
    counted = int((statistics[:, 1] > 0).sum())
    none, every = not statistics[:, 0].any(), bool((statistics[:, 0] == statistics[:, 1]).all())
    if not counted or none == every:
        return None
    return (0.0, wilson(0.0, counted)[1]) if none else (wilson(1.0, counted)[0], 1.0)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n items."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return middle - reach, middle + reach


def ratio(sums: NDArray[np.float64]) -> float:
    """First statistic over the second: a mean, a rate, an accuracy."""
    return float(sums[0] / sums[1]) if sums[1] else 0.0

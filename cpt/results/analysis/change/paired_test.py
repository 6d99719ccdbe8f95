"""Paired comparison of two models over the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cpt.evals.metrics.bootstrap import interval, paired, ratio
from cpt.evals.metrics.measured import Measured
from cpt.evals.rows import HIGHER_IS_BETTER

BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"


@dataclass(frozen=True)
class Difference:
    """The first model's value minus the other's, in one metric."""

    metric: str
    value: float
    other: float
    difference: float
    ci_low: float
    ci_high: float
    """Paired: both models are resampled with the same items."""
    n: int

    @property
    def verdict(self) -> str:
        """Whether the first model is better; unclear if the interval includes zero or no direction is known."""
        higher = HIGHER_IS_BETTER.get(self.metric)
        if higher is None or self.ci_low <= 0 <= self.ci_high:
            return UNCLEAR
        return BETTER if (self.ci_low > 0) == higher else WORSE


def differences(
    one: Sequence[Measured], other: Sequence[Measured], samples: int
) -> tuple[list[Difference], dict[str, str]]:
    """All metrics that both models have; and for any other metric the reason why it is not compared."""
    first, second = ({measured.metric: measured for measured in side} for side in (one, other))
    compared, reasons = [], {}
    for metric in dict.fromkeys([*first, *second]):
        if metric not in first or metric not in second:
            reasons[metric] = f"only measured for the {'first' if metric in first else 'second'}"
        elif first[metric].signature != second[metric].signature:
            ways = f"{first[metric].signature or '–'} / {second[metric].signature or '–'}"
            reasons[metric] = f"computed otherwise: {ways}"
        elif both := _counted_by_both(first[metric], second[metric]):
            compared.append(_difference(*both, samples))
        else:
            reasons[metric] = "no item that counts for both"
    return compared, reasons


def _counted_by_both(one: Measured, other: Measured) -> tuple[Measured, Measured] | None:
    """Both restricted to the items that both count."""
    both = one.counted & other.counted
    if not both.any():
        return None
    return replace(one, statistics=one.statistics[both]), replace(other, statistics=other.statistics[both])


def _difference(one: Measured, other: Measured, samples: int) -> Difference:
    value, against = (side.score(side.statistics.sum(axis=0)) for side in (one, other))
    if one.score is ratio and {value, against} <= {0.0, 1.0}:
        low, high = _of_shares(one, value, other, against, samples)
    else:
        low, high = paired(one.statistics, other.statistics, one.score, samples)
    return Difference(one.metric, value, against, value - against, low, high, len(one.statistics))


def _of_shares(one: Measured, value: float, other: Measured, against: float, samples: int) -> tuple[float, float]:
    """The interval of a difference of two shares of 0 or 1, whose resamples do not vary.

    By Newcombe's method 10 (Statistics in Medicine 17, 1998) without correlation, from the intervals of both shares.
    """
    (low, high), (other_low, other_high) = (interval(m.statistics, m.score, samples) for m in (one, other))
    down, up = math.hypot(value - low, other_high - against), math.hypot(high - value, against - other_low)
    return max(-1.0, value - against - down), min(1.0, value - against + up)

"""Two models over the same items: by how much they differ, and how sure that is."""

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
    """Of one metric: the first model's value less the other's."""

    metric: str
    value: float
    other: float
    difference: float
    ci_low: float
    ci_high: float
    """Paired: items are resampled for both models alike."""
    n: int

    @property
    def verdict(self) -> str:
        """How the first model does; unclear where the interval holds zero, or nobody has said which way is better."""
        higher = HIGHER_IS_BETTER.get(self.metric)
        if higher is None or self.ci_low <= 0 <= self.ci_high:
            return UNCLEAR
        return BETTER if (self.ci_low > 0) == higher else WORSE


def differences(
    one: Sequence[Measured], other: Sequence[Measured], samples: int
) -> tuple[list[Difference], dict[str, str]]:
    """Every metric that both have of the same items in the same order, and for any other why it is not compared."""
    mine, theirs = ({measured.metric: measured for measured in side} for side in (one, other))
    found, why = [], {}
    for metric in dict.fromkeys([*mine, *theirs]):
        if metric not in mine or metric not in theirs:
            why[metric] = f"only measured for the {'first' if metric in mine else 'second'}"
        elif mine[metric].signature != theirs[metric].signature:
            why[metric] = f"computed otherwise: {mine[metric].signature or '–'} / {theirs[metric].signature or '–'}"
        elif both := _counted_by_both(mine[metric], theirs[metric]):
            found.append(_difference(*both, samples))
        else:
            why[metric] = "no item that counts for both"
    return found, why


def _counted_by_both(one: Measured, other: Measured) -> tuple[Measured, Measured] | None:
    """Both over the items that both count."""
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
    """The difference of two shares that are none or all, the same in every resample: from the two own intervals.

    Square and add, Newcombe's method 10 (Statistics in Medicine 17, 1998), whose correlation is zero for such shares.
    """
    (low, high), (other_low, other_high) = (interval(m.statistics, m.score, samples) for m in (one, other))
    down, up = math.hypot(value - low, other_high - against), math.hypot(high - value, against - other_low)
    return max(-1.0, value - against - down), min(1.0, value - against + up)

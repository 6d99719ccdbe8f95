"""Intervals that say 95 % hold the true value in 93 to 97 of a hundred simulated evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cpt.evals.benchmarks.bpb import bits_per_byte
from cpt.evals.metrics.bootstrap import interval, paired, ratio, tail_of

SIMULATIONS, RESAMPLES = 1200, 400
Statistics = NDArray[np.float64]


def share_covered(true: float, found: Callable[[np.random.Generator], tuple[float, float]]) -> float:
    rng = np.random.default_rng(12)
    inside = 0
    for _ in range(SIMULATIONS):
        low, high = found(rng)
        inside += low <= true <= high
    return inside / SIMULATIONS


def right_or_wrong(right: NDArray[np.bool_]) -> Statistics:
    return np.stack([right, np.ones(len(right))], axis=1).astype(float)


@pytest.mark.parametrize("accuracy", [0.3, 0.7])
def test_an_accuracy_over_the_items_of_sib(accuracy: float) -> None:
    def found(rng: np.random.Generator) -> tuple[float, float]:
        return interval(right_or_wrong(rng.random(204) < accuracy), ratio, RESAMPLES)

    assert 0.93 <= share_covered(accuracy, found) <= 0.97


def texts(rng: np.random.Generator, items: int) -> Statistics:
    """Nats and bytes: sizes as skewed as sentences' are, and short texts harder than long ones."""
    size = np.ceil(np.exp(rng.normal(4.8, 0.5, items)))
    bits = size * np.exp(rng.normal(0, 0.4, items)) + 20
    return np.stack([bits * math.log(2), size], axis=1)


def of_sums(sums: Statistics) -> float:
    return bits_per_byte(sums[0], sums[1])


def test_bits_per_byte_over_as_many_texts_as_flores_has() -> None:
    true = of_sums(texts(np.random.default_rng(1), 2_000_000).sum(axis=0))
    share = share_covered(true, lambda rng: interval(texts(rng, 1012), of_sums, RESAMPLES))
    assert 0.93 <= share <= 0.97


def two_models(rng: np.random.Generator, items: int) -> tuple[Statistics, Statistics]:
    """What is hard for one is hard for the other."""
    ease = rng.normal(size=items)
    one, other = (ease + rng.normal(0, 0.7, items) > bar for bar in (0.2, 0.6))
    return right_or_wrong(one), right_or_wrong(other)


def test_the_difference_of_two_models_over_the_same_items() -> None:
    one, other = two_models(np.random.default_rng(1), 4_000_000)
    true = float(one[:, 0].mean() - other[:, 0].mean())
    assert true > 0.1
    share = share_covered(true, lambda rng: paired(*two_models(rng, 204), ratio, RESAMPLES))
    assert 0.93 <= share <= 0.97


def test_a_paired_interval_is_narrower_than_two_that_know_nothing_of_each_other() -> None:
    one, other = two_models(np.random.default_rng(2), 204)
    low, high = paired(one, other, ratio, RESAMPLES)
    apart = [np.diff(interval(model, ratio, RESAMPLES))[0] for model in (one, other)]
    assert high - low < 0.8 * math.hypot(*apart)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_and_all_are_wilsons_intervals(accuracy: float) -> None:
    """Of 204 all alike: z² / (n + z²) is 1.85 %."""
    low, high = interval(right_or_wrong(np.full(204, accuracy == 1)), ratio, RESAMPLES)
    assert high - low == pytest.approx(0.01848, abs=1e-5)
    assert accuracy in (low, high)


@pytest.mark.parametrize(("n", "tail"), [(12, 0.010757), (50, 0.021179), (204, 0.024045), (1012, 0.024807)])
def test_fewer_items_leave_less_of_the_resamples_out(n: int, tail: float) -> None:
    """Known values: the normal distribution at minus Student's quantile for 97.5 % times the root of n / (n - 1)."""
    assert tail_of(n) == pytest.approx(tail, abs=1e-5)

"""Student intervals, and p-values corrected for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.05
Variance = tuple[float, float]
"""A variance and its degrees of freedom."""


def half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Half the width of the 95 % interval of a mean."""
    n = len(values)
    return float(special.stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(n)


def half_widths(groups: Sequence[Sequence[float]], fewest: int) -> list[float]:
    """The same for many groups of values at once; NaN for those with fewer than `fewest`."""
    half_width_of = [math.nan] * len(groups)
    of_length: dict[int, list[int]] = {}
    for index, values in enumerate(groups):
        of_length.setdefault(len(values), []).append(index)
    for n, indices in of_length.items():
        if n >= fewest:
            quantile, root = float(special.stdtrit(n - 1, 0.975)), math.sqrt(n)
            spreads = np.std(np.array([groups[index] for index in indices]), axis=1, ddof=1)
            for index, spread in zip(indices, spreads.tolist(), strict=True):
                half_width_of[index] = quantile * spread / root
    return half_width_of


def interval(value: float, parts: Sequence[Variance], rounding: float = 0.0) -> tuple[float, float, float]:
    """95 % interval and p-value against no effect, from variances whose degrees of freedom add up by Satterthwaite.

    Not numbers if the standard error is not above `rounding`: then nothing is known of chance.
    """
    variance = math.fsum(part for part, _ in parts)
    error = math.sqrt(variance)
    if not error > rounding:
        return math.nan, math.nan, math.nan
    dof = 1 / math.fsum((part / variance) ** 2 / count for part, count in parts)
    half = float(special.stdtrit(dof, 0.975)) * error
    return value - half, value + half, float(2 * special.stdtr(dof, -abs(value) / error))


def adjusted(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values corrected by Benjamini and Hochberg's step-up (1995); NaN stays NaN and does not count.

    scipy's `false_discovery_control` differs in the last digit, which saved tables must not.
    """
    values = np.asarray(p, dtype="float64")
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    if len(order):
        scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
        corrected[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return corrected

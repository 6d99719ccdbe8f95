"""Correction for many comparisons: of what a study calls an effect, at most one in twenty is expected to be none.

Benjamini and Hochberg's step-up (Journal of the Royal Statistical Society B 57, 1995) over all effects of a study
together. Where there is no effect at all it calls one in at most 5 % of studies, as stricter corrections do; where
there are some it finds more of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05


def adjusted(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Each p-value corrected for all of them, in their order; what is not a number is none and stays so."""
    values = np.asarray(p, dtype="float64")
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    if not len(order):
        return found
    scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
    found[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return found

"""The noise of the scores of several candidates, resampled jointly.

All candidates answer the same items, so a resample draws the same items for every candidate, and for every language
whose benchmark has as many items, because these are the same sentences. The width of a score's noise comes from its
interval, which uses the full statistics of a corpus score; the correlation comes from the item scores. Without item
scores, noise is independent and as wide as the intervals, which is conservative. Without intervals it is unknown.

If some candidates were trained with several seeds, run-to-run variance is added for every trained candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cpt.results.analysis.choice.candidates import Candidate, Floats

SAMPLES, FEWER = 4_000, 1_000
"""Resamples for a single query, and for each of many: shares are within 2 or 3 percentage points."""
ITEMS, INTERVALS, UNKNOWN = "items", "intervals", "unknown"
"""The basis of the noise: item scores, the intervals of the scores, or nothing."""


@dataclass(frozen=True)
class Noise:
    basis: str
    draws: Floats
    """Samples by candidates: the noise of each value in each resample; zeros if it is unknown."""
    of_seeds: bool = False
    """Whether run-to-run variance is included."""


def noise(candidates: Sequence[Candidate], samples: int = SAMPLES) -> Noise:
    """Draw noise for each candidate; the result depends only on the candidates and their order."""
    rng = np.random.Generator(np.random.PCG64(0))
    shape = samples, len(candidates)
    if not all(np.isfinite(candidate.errors).all() for candidate in candidates):
        return Noise(UNKNOWN, np.zeros(shape))
    draws, basis = item_noise(candidates, samples, rng), ITEMS
    if draws is None:
        errors = [np.sqrt((candidate.errors**2).sum()) / candidate.errors.size for candidate in candidates]
        draws, basis = rng.standard_normal(shape) * np.array(errors), INTERVALS
    run_noise = _run_to_run(candidates, samples, rng)
    return Noise(basis, draws, False) if run_noise is None else Noise(basis, draws + run_noise, True)


def item_noise(candidates: Sequence[Candidate], samples: int, rng: np.random.Generator) -> Floats | None:
    """Noise by resampling items, the same ones for all candidates; None if a score has no item scores."""
    lengths = _lengths(candidates)
    if lengths is None:
        return None
    deviations = {n: np.zeros((n, len(candidates))) for n in lengths}
    independent = np.zeros(len(candidates))
    for index, candidate in enumerate(candidates):
        for item_scores, errors in zip(candidate.items, candidate.errors / candidate.values.size, strict=True):
            for values, error in zip(item_scores, errors, strict=True):
                assert values is not None, "checked by _lengths"
                deviation = np.nan_to_num(values - np.nanmean(values))
                width = float(np.sqrt((deviation**2).sum()))
                if width > 0:
                    deviations[len(values)][:, index] += deviation * (error / width)
                else:  # all items are equal, so there is no correlation to estimate
                    independent[index] += error**2
    drawn = np.zeros((samples, len(candidates)))
    for n, deviation in deviations.items():
        drawn += _draws(n, samples) @ deviation
    return drawn + rng.standard_normal(drawn.shape) * np.sqrt(independent)


def _lengths(candidates: Sequence[Candidate]) -> set[int] | None:
    """The numbers of items; None if item scores are missing or candidates differ in their number."""
    lengths: dict[int, int] = {}
    for candidate in candidates:
        if not candidate.items:
            return None
        for item_scores in candidate.items:
            for language, values in enumerate(item_scores):
                if values is None or len(values) < 2 or np.isnan(values).all():
                    return None
                if lengths.setdefault(language, len(values)) != len(values):
                    return None
    return set(lengths.values())


@lru_cache(maxsize=4)
def _draws(n: int, samples: int) -> Floats:
    """How often each of n items is drawn in each resample; the same draws on every call."""
    rng = np.random.Generator(np.random.PCG64(n))
    return rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float64)


def _run_to_run(candidates: Sequence[Candidate], samples: int, rng: np.random.Generator) -> Floats | None:
    """Run-to-run noise (Student's t), pooled over the candidates with several seeds; None if there are none."""
    several = [candidate.values.mean(axis=1) for candidate in candidates if len(candidate.values) > 1]
    dof = sum(len(means) - 1 for means in several)
    if not dof:
        return None
    variance = sum(float(((means - means.mean()) ** 2).sum()) for means in several) / dof
    widths = [0.0 if candidate.is_base else np.sqrt(variance / len(candidate.values)) for candidate in candidates]
    student = np.sqrt(dof / rng.chisquare(dof, size=(samples, 1)))
    drawn: Floats = rng.standard_normal((samples, len(candidates))) * np.array(widths) * student
    return drawn

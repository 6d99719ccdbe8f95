"""By how much the scores of several candidates might be off, resampled for all of them together.

Candidates are asked the same items, so what makes an item hard is hard for all: a resample draws items alike for every
candidate, and alike for every language whose benchmark has as many of them, for these are the same sentences. How wide
a score's noise is comes from its own interval, which was reckoned from the whole statistics of a corpus score; what is
shared, and so cancels, comes from the single items. Where no items are kept, noise is as wide as the intervals and
independent, which for candidates that were asked the same is cautious. Without intervals nothing is known.

Where some candidates were trained with several seeds, run-to-run variance is drawn too, for every trained one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cpt.results.analysis.choice.candidates import Candidate, Floats

SAMPLES, FEWER = 4_000, 1_000
"""Resamples of one answer, and of each where there are many: a share is known to within 2 points, or to within 3."""
ITEMS, INTERVALS, UNKNOWN = "items", "intervals", "unknown"
"""What is known of the noise: item by item, as wide as the scores' own intervals, or nothing."""


@dataclass(frozen=True)
class Noise:
    basis: str
    draws: Floats
    """Samples by candidates: what is added to a candidate's value in each resample; zeros where nothing is known."""
    of_seeds: bool = False
    """Whether run-to-run variance is in it."""


def noise(candidates: Sequence[Candidate], samples: int = SAMPLES) -> Noise:
    """What is drawn depends on nothing but the candidates and their order."""
    rng = np.random.Generator(np.random.PCG64(0))
    shape = samples, len(candidates)
    if not all(np.isfinite(each.errors).all() for each in candidates):
        return Noise(UNKNOWN, np.zeros(shape))
    draws, basis = of_items(candidates, samples, rng), ITEMS
    if draws is None:
        errors = [np.sqrt((each.errors**2).sum()) / each.errors.size for each in candidates]
        draws, basis = rng.standard_normal(shape) * np.array(errors), INTERVALS
    runs = _of_seeds(candidates, samples, rng)
    return Noise(basis, draws, False) if runs is None else Noise(basis, draws + runs, True)


def of_items(candidates: Sequence[Candidate], samples: int, rng: np.random.Generator) -> Floats | None:
    """Items drawn anew, the same ones for all candidates; None where they are not kept of every score."""
    lengths = _lengths(candidates)
    if lengths is None:
        return None
    shares = {n: np.zeros((n, len(candidates))) for n in lengths}
    apart = np.zeros(len(candidates))
    for place, candidate in enumerate(candidates):
        for kept, errors in zip(candidate.items, candidate.errors / candidate.values.size, strict=True):
            for values, error in zip(kept, errors, strict=True):
                assert values is not None, "_lengths looked"
                share = np.nan_to_num(values - np.nanmean(values))
                width = float(np.sqrt((share**2).sum()))
                if width > 0:
                    shares[len(values)][:, place] += share * (error / width)
                else:  # all items alike, so they tell nothing of what they have in common
                    apart[place] += error**2
    drawn = np.zeros((samples, len(candidates)))
    for n, share in shares.items():
        drawn += _draws(n, samples) @ share
    return drawn + rng.standard_normal(drawn.shape) * np.sqrt(apart)


def _lengths(candidates: Sequence[Candidate]) -> set[int] | None:
    """Items by language, the same number for all candidates; None where some are not kept or not as many."""
    found: dict[int, int] = {}
    for candidate in candidates:
        if not candidate.items:
            return None
        for kept in candidate.items:
            for language, values in enumerate(kept):
                if values is None or len(values) < 2 or np.isnan(values).all():
                    return None
                if found.setdefault(language, len(values)) != len(values):
                    return None
    return set(found.values())


@lru_cache(maxsize=4)
def _draws(n: int, samples: int) -> Floats:
    """How often each of n items is drawn, a row a resample; the same for whoever asks."""
    rng = np.random.Generator(np.random.PCG64(n))
    return rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float64)


def _of_seeds(candidates: Sequence[Candidate], samples: int, rng: np.random.Generator) -> Floats | None:
    """Run-to-run variance, by Student's distribution, pooled over the candidates with several seeds; None without."""
    several = [each.values.mean(axis=1) for each in candidates if len(each.values) > 1]
    dof = sum(len(means) - 1 for means in several)
    if not dof:
        return None
    variance = sum(float(((means - means.mean()) ** 2).sum()) for means in several) / dof
    widths = [0.0 if each.is_base else np.sqrt(variance / len(each.values)) for each in candidates]
    student = np.sqrt(dof / rng.chisquare(dof, size=(samples, 1)))
    drawn: Floats = rng.standard_normal((samples, len(candidates))) * np.array(widths) * student
    return drawn

"""Estimates of effects with intervals over languages, items and runs.

- Languages are a sample: the variance of an effect between languages includes the noise of the items of each.
- Items are the same sentences in every language, so their shared part does not average out over languages. It is added
  if item scores are stored.
- Run-to-run variance is shared by all languages of a run. It is estimated from replicate seeds, or else from the
  third-order interaction of model, data and code, and added to every effect.

Intervals are Student's t over languages (Welch's for two groups), with Satterthwaite's degrees of freedom for the sum
of the parts. The shared parts are estimated by covariances and clipped at zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.results.analysis.change.against_base import FEWEST
from cpt.results.analysis.effects.design import ContrastWeights, Layout
from cpt.results.analysis.intervals import Variance, interval

Scores = NDArray[np.float64]
ROUNDING = 1e-12
"""Relative to the largest score: smaller differences between sums are rounding errors."""


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    languages: int = 0
    runs: int = 0
    items: int = 0
    """Items of each language, if item scores are stored and shared by all languages; else 0."""
    seeds: int = 0
    """The largest number of seeds in a cell."""
    luck: str = ""
    """The source of run-to-run variance, if the interval includes it. A column of `effects.csv`."""
    why: str = ""
    """Why there is no interval, or what it does not include."""


@dataclass(frozen=True)
class Observed:
    """The scores of one measure, from which all effects on it are estimated; missing scores are zero."""

    layout: Layout
    scores: Scores
    """Runs by languages."""
    items: Scores | None = None
    """Runs by languages by items, centred."""

    @cached_property
    def run_variance(self) -> Variance | None:
        return _run_variance(self.layout, self.scores)


def estimate(weights: ContrastWeights, observed: Observed) -> Estimate:
    """Estimate one effect with its interval, or say why there is none."""
    layout, scores, items, cells = observed.layout, observed.scores, observed.items, weights.cells
    counts = [int(group.sum()) for group in weights.groups]
    sizes: dict[str, Any] = {
        "languages": sum(counts),
        "runs": sum(map(len, cells.values())),
        "seeds": max(map(len, cells.values()), default=0),
        "items": 0 if items is None else items.shape[2],
    }
    if not all(counts):
        return Estimate(math.nan, why="no run, or no counterpart to compare it with", **sizes)
    language_effects = (weights.runs * scores).sum(axis=0)
    means = [float(language_effects[group].mean()) for group in weights.groups]
    value = means[-1] - (means[0] if len(means) == 2 else 0.0)
    item_effects = None if items is None else np.einsum("rl,rli->li", weights.runs, items)
    parts, why = _parts(weights, language_effects, item_effects)
    if not parts:
        return Estimate(value, why=why, **sizes)
    if variance := observed.run_variance:
        parts.append((variance[0] * weights.training_variance, variance[1]))
        sizes["luck"] = layout.repeats[0]
    rounding = ROUNDING * float(np.abs(scores).max())
    low, high, p = interval(value, parts, rounding)
    if p != p and abs(value) <= rounding:
        return Estimate(0.0, why="no difference anywhere", **sizes)
    return Estimate(value, low, high, p, why="the same difference everywhere" if p != p else why, **sizes)


def _parts(
    weights: ContrastWeights, language_effects: Scores, item_effects: Scores | None
) -> tuple[list[Variance], str]:
    counts = [int(group.sum()) for group in weights.groups]
    if min(counts) >= FEWEST:
        parts = [
            (float(language_effects[g].var(ddof=1)) / n, n - 1.0) for g, n in zip(weights.groups, counts, strict=True)
        ]
        if item_effects is not None:
            parts.append(_shared(weights.groups, item_effects))
        return parts, ""
    few = f"{min(counts)} language" + ("s" if min(counts) > 1 else "")
    if item_effects is None or len(counts) == 2:
        return [], f"{few} in a group" if len(counts) == 2 else few
    mean = item_effects[weights.groups[0]].mean(axis=0)
    return [(float(mean.var(ddof=1)) / len(mean), len(mean) - 1.0)], f"{few}: over items alone"


def _shared(groups: Sequence[NDArray[np.bool_]], item_effects: Scores) -> Variance:
    """The variance that items add to all languages alike: the covariance of languages over items."""
    n = item_effects.shape[1]
    means = [item_effects[group].mean(axis=0) for group in groups]
    covariance = 0.0
    for group, mean in zip(groups, means, strict=True):
        count = int(group.sum())
        own = float(item_effects[group].var(axis=1, ddof=1).sum()) / count**2
        # The mean covariance of different languages; the variance between languages does not include it.
        covariance += (float(mean.var(ddof=1)) - own) * count / (count - 1)
    if len(means) == 2:
        covariance -= 2 * float(np.cov(means[0], means[1])[0, 1])
    return max(0.0, covariance) / n, n - 1.0


def _run_variance(layout: Layout, scores: Scores) -> Variance | None:
    """Run-to-run variance: the part of a run's scores that all its languages share."""
    together, apart, mean_inverse, dof = 0.0, 0.0, 0.0, 0
    for repeats in layout.repeats[1]:
        differences, count = repeats.residual @ scores[repeats.rows][:, repeats.shared], int(repeats.shared.sum())
        together += float((differences.mean(axis=1) ** 2).sum())
        apart += float((differences**2).sum()) / count**2
        dof += repeats.dof
        mean_inverse += repeats.dof / count
    if not dof:
        return None
    mean_inverse /= dof
    # The covariance between languages: the mean over languages includes all of it, their differences none.
    common = together if mean_inverse > 1 - 1e-9 else max(0.0, together - apart) / (1 - mean_inverse)
    return common / dof, float(dof)

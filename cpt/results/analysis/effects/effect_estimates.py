"""An effect from the scores of runs by languages, with an interval for everything that was drawn at random.

Three things vary. Languages are a sample of their kind: how much an effect differs from one to the next is seen in the
languages themselves, and what chance the items of each add is in that. Items are the same sentences in every language,
so what is peculiar to them does not average out over languages: where single items are kept, that part is added.
Run-to-run variance is shared by all languages of a run: it is estimated from replicate seeds, or else from what model,
data, code and every two of them leave unexplained of a category's runs, and added to every effect.

Of the three, languages are compared by Student's t, two groups of them by Welch's; parts are added up with degrees of
freedom by Satterthwaite. The estimates of the shared parts are covariances, and never taken to be below zero.
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
"""Of the largest score: what sums of equal scores may differ by, which no chance has to explain."""


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    languages: int = 0
    runs: int = 0
    items: int = 0
    """Of each language, where single ones are known to be shared; else 0."""
    seeds: int = 0
    """The most of one cell."""
    luck: str = ""
    """Where run-to-run variance is estimated from, if it is in the interval; the name of a saved column."""
    why: str = ""
    """Why there is no interval, or what it is not over."""


@dataclass(frozen=True)
class Observed:
    """The scores of one measure that all effects on it are told from; what is not scored is zero."""

    layout: Layout
    scores: Scores
    """Runs by languages."""
    items: Scores | None = None
    """Runs by languages by items, centred."""

    @cached_property
    def run_variance(self) -> Variance | None:
        return _run_variance(self.layout, self.scores)


def estimate(weights: ContrastWeights, observed: Observed) -> Estimate:
    """One effect with its interval, or why there is none."""
    layout, scores, items, cells = observed.layout, observed.scores, observed.items, weights.cells
    counts = [int(group.sum()) for group in weights.groups]
    told: dict[str, Any] = {
        "languages": sum(counts),
        "runs": sum(map(len, cells.values())),
        "seeds": max(map(len, cells.values()), default=0),
        "items": 0 if items is None else items.shape[2],
    }
    if not all(counts):
        return Estimate(math.nan, why="no run, or no counterpart to compare it with", **told)
    of_language = (weights.runs * scores).sum(axis=0)
    means = [float(of_language[group].mean()) for group in weights.groups]
    value = means[-1] - (means[0] if len(means) == 2 else 0.0)
    of_items = None if items is None else np.einsum("rl,rli->li", weights.runs, items)
    parts, why = _parts(weights, of_language, of_items)
    if not parts:
        return Estimate(value, why=why, **told)
    if variance := observed.run_variance:
        parts.append((variance[0] * weights.training_variance, variance[1]))
        told["luck"] = layout.repeats[0]
    rounding = ROUNDING * float(np.abs(scores).max())
    low, high, p = interval(value, parts, rounding)
    if p != p and abs(value) <= rounding:
        return Estimate(0.0, why="no difference anywhere", **told)
    return Estimate(value, low, high, p, why="the same difference everywhere" if p != p else why, **told)


def _parts(weights: ContrastWeights, of_language: Scores, of_items: Scores | None) -> tuple[list[Variance], str]:
    counts = [int(group.sum()) for group in weights.groups]
    if min(counts) >= FEWEST:
        parts = [(float(of_language[g].var(ddof=1)) / n, n - 1.0) for g, n in zip(weights.groups, counts, strict=True)]
        if of_items is not None:
            parts.append(_shared(weights.groups, of_items))
        return parts, ""
    few = f"{min(counts)} language" + ("s" if min(counts) > 1 else "")
    if of_items is None or len(counts) == 2:
        return [], f"{few} in a group" if len(counts) == 2 else few
    mean = of_items[weights.groups[0]].mean(axis=0)
    return [(float(mean.var(ddof=1)) / len(mean), len(mean) - 1.0)], f"{few}: over items alone"


def _shared(groups: Sequence[NDArray[np.bool_]], of_items: Scores) -> Variance:
    """What items add that all languages share: their covariance over items, within groups and between them."""
    n = of_items.shape[1]
    means = [of_items[group].mean(axis=0) for group in groups]
    found = 0.0
    for group, mean in zip(groups, means, strict=True):
        count = int(group.sum())
        own = float(of_items[group].var(axis=1, ddof=1).sum()) / count**2
        # The mean of all pairs of different languages: the variation between languages lacks all that is common.
        found += (float(mean.var(ddof=1)) - own) * count / (count - 1)
    if len(means) == 2:
        found -= 2 * float(np.cov(means[0], means[1])[0, 1])
    return max(0.0, found) / n, n - 1.0


def _run_variance(layout: Layout, scores: Scores) -> Variance | None:
    """Run-to-run variance: of what a training adds to all its languages alike."""
    together, apart, squares, dof = 0.0, 0.0, 0.0, 0
    for each in layout.repeats[1]:
        differences, count = each.left @ scores[each.rows][:, each.shared], int(each.shared.sum())
        together += float((differences.mean(axis=1) ** 2).sum())
        apart += float((differences**2).sum()) / count**2
        dof += each.dof
        squares += each.dof / count
    if not dof:
        return None
    squares /= dof
    # The covariance between languages, of which each cell's mean has all and the languages' own variation nothing.
    common = together if squares > 1 - 1e-9 else max(0.0, together - apart) / (1 - squares)
    return common / dof, float(dof)

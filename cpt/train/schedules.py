"""Learning-rate schedules: pure functions of the step. How long one is and when training stops are two settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """`factor(step)` times the peak is the learning rate of a step, counted from 0."""

    kind: str
    warmup: float
    """Share of the schedule's steps over which the rate rises to its peak."""
    floor: float
    """Where a decay ends, as a share of the peak."""
    steps: int
    """The schedule's whole length, which training need not reach."""

    def factor(self, step: int) -> float:
        warm = math.ceil(self.warmup * self.steps)
        if step < warm:
            return (step + 1) / warm
        progress = min((step - warm) / max(self.steps - warm, 1), 1.0)
        return KINDS[self.kind](progress, self.floor)


def _cosine(progress: float, floor: float) -> float:
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _constant(progress: float, floor: float) -> float:
    return 1.0


KINDS: dict[str, Callable[[float, float], float]] = {"cosine": _cosine, "constant": _constant}
"""Decay after the warm-up: from progress (0 to 1) and floor to a factor."""

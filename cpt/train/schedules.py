"""Learning-rate schedules: pure functions of the step. How long one is and when training stops are two settings.

Where transformers has the same schedule, its values are ours: LLaMA-Factory, which the study trained with, uses it. So
a warm-up from nothing gives the first step a rate of 0. The phases of an infinite schedule (arXiv 2503.02844) are
lengths, not positions: implementations differ in this, and lengths can be changed one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

from cpt.config import ScheduleConfig
from cpt.train.hooks import Hook, Session


@dataclass(frozen=True)
class Schedule:
    """`factor(step)` times the peak is the learning rate of a step, counted from 0; settings as in ScheduleConfig."""

    kind: str
    warmup: float
    floor: float
    steps: int
    """The schedule's whole length, which training need not reach."""
    start: float = 0.0
    cooldown: float = 0.0
    cooldown_form: str = "cosine"
    level: float = 1.0
    decay: float = 0.0
    decay_form: str = "linear"

    def factor(self, step: int) -> float:
        """Past its end, a schedule stays where it ended."""
        if step < self.warm:
            return _linear(self.start, 1.0, step / self.warm)
        return KINDS[self.kind].course(self, min(step, self.steps))

    @property
    def warm(self) -> int:
        """Steps of the warm-up, rounded as transformers does; one step is left for the peak, even of very few."""
        return min(self.length(self.warmup), max(self.steps - 1, 0))

    def length(self, share: float) -> int:
        return math.ceil(share * self.steps)


def laid_out(config: ScheduleConfig, steps: int) -> Schedule:
    """The configured schedule over so many steps."""
    settings = asdict(config)
    del settings["epochs"]
    return Schedule(**settings, steps=steps)


def _linear(begin: float, end: float, progress: float) -> float:
    return begin + (end - begin) * progress


def _cosine(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _one_minus_sqrt(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * (1 - math.sqrt(progress))


def _inverse_sqrt(begin: float, end: float, progress: float) -> float:
    """Scaled to reach its end, which an inverse root alone never does."""
    return begin + (end - begin) * (1 / math.sqrt(1 + 10 * progress) - 1) / (1 / math.sqrt(11) - 1)


def _exponential(begin: float, end: float, progress: float) -> float:
    return float(begin ** (1 - progress) * end**progress)


FORMS: dict[str, Callable[[float, float, float], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "1-sqrt": _one_minus_sqrt,
    "inverse-sqrt": _inverse_sqrt,
    "exponential": _exponential,
}
"""How a rate falls: from where it begins, where it ends, and progress (0 to 1) to a factor."""


def _progress(step: int, begin: int, end: int) -> float:
    """0 up to the beginning, 1 from the end on; a phase of no steps is never in between."""
    if step <= begin:
        return 0.0
    return 1.0 if step >= end else (step - begin) / (end - begin)


def _constant(schedule: Schedule, step: int) -> float:
    return 1.0


def _falling(form: str, schedule: Schedule, step: int) -> float:
    """From the end of the warm-up to the end of all."""
    return FORMS[form](1.0, schedule.floor, _progress(step, schedule.warm, schedule.steps))


def _wsd(schedule: Schedule, step: int) -> float:
    """Warm-up, stable, decay (arXiv 2404.06395)."""
    begin = max(schedule.warm, schedule.steps - schedule.length(schedule.decay))
    return FORMS[schedule.decay_form](1.0, schedule.floor, _progress(step, begin, schedule.steps))


def _infinite(schedule: Schedule, step: int) -> float:
    """Cool-down to a constant level from which any later stage can go on; only the decay at the end leaves it."""
    cool = min(schedule.warm + schedule.length(schedule.cooldown), schedule.steps)
    if step < cool:
        return FORMS[schedule.cooldown_form](1.0, schedule.level, _progress(step, schedule.warm, cool))
    begin = max(cool, schedule.steps - schedule.length(schedule.decay))
    return FORMS[schedule.decay_form](schedule.level, schedule.floor, _progress(step, begin, schedule.steps))


class Kind(NamedTuple):
    """What follows the warm-up: a function of schedule and step, and the settings it reads."""

    course: Callable[[Schedule, int], float]
    reads: frozenset[str]


_COMMON = frozenset({"kind", "warmup", "start", "epochs"})
"""What every schedule has."""
_DECAY = frozenset({"floor", "decay", "decay_form"})
KINDS = {
    "constant": Kind(_constant, _COMMON),
    "linear": Kind(partial(_falling, "linear"), _COMMON | {"floor"}),
    "cosine": Kind(partial(_falling, "cosine"), _COMMON | {"floor"}),
    "wsd": Kind(_wsd, _COMMON | _DECAY),
    "infinite": Kind(_infinite, _COMMON | _DECAY | {"cooldown", "cooldown_form", "level"}),
}


class LearningRate(Hook):
    """Sets the rate of each step: the peak times the schedule's factor."""

    def __init__(self, peak: float, schedule: Schedule) -> None:
        self.peak, self.schedule = peak, schedule

    def on_start(self, session: Session) -> None:
        self.engine = session.engine

    def before_step(self, step: int) -> None:
        self.engine.set_lr(self.peak * self.schedule.factor(step))

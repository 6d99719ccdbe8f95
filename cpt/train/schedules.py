"""Learning-rate schedules: pure functions of the step. A schedule's length is separate from the training's length.

Values are those of transformers where it has the same schedule, as LLaMA-Factory uses it: a warm-up from 0 gives the
first step a rate of 0. The phases of an infinite schedule (arXiv 2503.02844) are given as lengths, not positions, so
each can be changed alone; implementations differ in this.
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
    """The learning rate of a step, counted from 0, is the peak times `factor(step)`; settings as in ScheduleConfig."""

    kind: str
    warmup: float
    floor: float
    steps: int
    """The schedule's length; training may stop earlier."""
    start: float = 0.0
    cooldown: float = 0.0
    cooldown_form: str = "cosine"
    level: float = 1.0
    decay: float = 0.0
    decay_form: str = "linear"

    def factor(self, step: int) -> float:
        """After its end, a schedule stays at its last value."""
        if step < self.warm:
            return _linear(self.start, 1.0, step / self.warm)
        return KINDS[self.kind].course(self, min(step, self.steps))

    @property
    def warm(self) -> int:
        """Warm-up steps, rounded as in transformers; at least one step is left for the peak."""
        return min(self.length(self.warmup), max(self.steps - 1, 0))

    def length(self, share: float) -> int:
        return math.ceil(share * self.steps)


def make_schedule(config: ScheduleConfig, steps: int) -> Schedule:
    """The configured schedule with a length of `steps`."""
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
    """Scaled so that it reaches `end`, which a plain inverse root never does."""
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
"""Shapes of a decay: functions of begin, end and progress (0 to 1)."""


def _progress(step: int, begin: int, end: int) -> float:
    """0 up to `begin`, 1 from `end` on; a phase of no steps has nothing between."""
    if step <= begin:
        return 0.0
    return 1.0 if step >= end else (step - begin) / (end - begin)


def _constant(schedule: Schedule, step: int) -> float:
    return 1.0


def _decay(form: str, schedule: Schedule, step: int) -> float:
    """Decay from the end of the warm-up to the end of the schedule."""
    return FORMS[form](1.0, schedule.floor, _progress(step, schedule.warm, schedule.steps))


def _wsd(schedule: Schedule, step: int) -> float:
    """Warm-up, stable, decay (arXiv 2404.06395)."""
    begin = max(schedule.warm, schedule.steps - schedule.length(schedule.decay))
    return FORMS[schedule.decay_form](1.0, schedule.floor, _progress(step, begin, schedule.steps))


def _infinite(schedule: Schedule, step: int) -> float:
    """Cool down to a constant level that a later stage can continue from; decay only at the end."""
    cool = min(schedule.warm + schedule.length(schedule.cooldown), schedule.steps)
    if step < cool:
        return FORMS[schedule.cooldown_form](1.0, schedule.level, _progress(step, schedule.warm, cool))
    begin = max(cool, schedule.steps - schedule.length(schedule.decay))
    return FORMS[schedule.decay_form](schedule.level, schedule.floor, _progress(step, begin, schedule.steps))


class Kind(NamedTuple):
    """The course after the warm-up as a function of schedule and step, and the settings it reads."""

    course: Callable[[Schedule, int], float]
    reads: frozenset[str]


_COMMON = frozenset({"kind", "warmup", "start", "epochs"})
"""Settings of every schedule."""
_DECAY = frozenset({"floor", "decay", "decay_form"})
KINDS = {
    "constant": Kind(_constant, _COMMON),
    "linear": Kind(partial(_decay, "linear"), _COMMON | {"floor"}),
    "cosine": Kind(partial(_decay, "cosine"), _COMMON | {"floor"}),
    "wsd": Kind(_wsd, _COMMON | _DECAY),
    "infinite": Kind(_infinite, _COMMON | _DECAY | {"cooldown", "cooldown_form", "level"}),
}


class LearningRate(Hook):
    """Sets the learning rate of each step."""

    def __init__(self, peak: float, schedule: Schedule) -> None:
        self.peak, self.schedule = peak, schedule

    def on_start(self, session: Session) -> None:
        self.engine = session.engine

    def before_step(self, step: int) -> None:
        self.engine.set_lr(self.peak * self.schedule.factor(step))

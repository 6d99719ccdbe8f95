"""What happens around the steps of a run: logging, status, tracking. The loop calls hooks and knows none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepRecord:
    """What is known after a step; `step` counts from 1, `seconds` is this step's own."""

    step: int
    steps: int
    loss: float
    lr: float
    gradient_norm: float
    tokens: int
    seconds: float


class Hook(Protocol):
    """Something that happens around the steps of a run."""

    def on_start(self, step: int, steps: int) -> None:
        """Before the first step of this process; `step` steps were done before it."""

    def after_step(self, record: StepRecord) -> None: ...

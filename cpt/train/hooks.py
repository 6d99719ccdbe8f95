"""What happens around the steps of a run. The loop calls hooks and knows none of them: the schedule, the ledger, the
log, the status, the mirror and every further technique are hooks, each in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from cpt.train.engines.base import Engine


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
    waited: float = 0.0
    """Seconds of the step spent waiting for data."""
    source_losses: dict[str, float] = field(default_factory=dict)
    """Mean loss of the step's targets from each source it had."""


@dataclass(frozen=True)
class Session:
    """What a hook may look at: the engine, how many steps were done before this process, and how many there are."""

    engine: Engine
    step: int
    steps: int


class Hook:
    """A part in the training of a run. Each method does nothing unless it is written anew."""

    def parameter_options(self, name: str) -> dict[str, float]:
        """Options of a parameter's group that differ from the run's: `lr_factor`, `weight_decay`."""
        return {}

    def on_start(self, session: Session) -> None:
        """Before the first step of this process."""

    def before_step(self, step: int) -> None:
        """Before step `step`, counted from 0."""

    def extra_loss(self, model: Any, outputs: Any) -> Tensor | None:
        """A term added to each micro-batch's loss, given as if that were the whole step; the engine takes the mean."""
        return None

    def after_backward(self, engine: Engine) -> None:
        """With all gradients of the step there, added up over processes, and not clipped yet."""

    def after_step(self, record: StepRecord) -> None:
        """After the weights have moved."""

"""Hooks around the training step. The loop knows no single hook: the schedule, the ledger, the metrics log, the status,
the mirror and every training technique are hooks, each in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cpt.tokens.batch import Batch
    from cpt.train.distributed import DistContext


class TrainingEngine(Protocol):
    """The part of an engine that hooks may use; all ranks must make the same calls."""

    model: Any
    dist: DistContext
    parameters: dict[str, nn.Parameter]

    def read(self, name: str, part: str) -> Tensor | None: ...

    def write(self, name: str, part: str, value: Tensor) -> None: ...

    def set_lr(self, lr: float) -> None: ...

    def losses(self, batch: Batch, sources: int) -> list[float]: ...


@dataclass(frozen=True)
class StepRecord:
    """The outcome of one step; `step` counts from 1."""

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
    """Mean loss over the step's targets from each source in it."""


@dataclass(frozen=True)
class Session:
    """The engine, the step that training starts from (0, or that of a checkpoint), and the number of steps."""

    engine: TrainingEngine
    step: int
    steps: int


class Hook:
    """Base class: every method does nothing unless overridden."""

    def parameter_options(self, name: str) -> dict[str, float]:
        """Optimizer options of a parameter that differ from the run's: `lr_factor`, `weight_decay`."""
        return {}

    def on_start(self, session: Session) -> None:
        """Called before the first step of this process."""

    def before_step(self, step: int) -> None:
        """Called before step `step`, counted from 0."""

    def extra_loss(self, model: Any, outputs: Any) -> Tensor | None:
        """A term added to each micro-batch's loss, scaled as for a whole step; the engine averages it."""
        return None

    def after_backward(self, engine: TrainingEngine) -> None:
        """Called with the step's gradients, reduced over ranks and not yet clipped."""

    def after_step(self, record: StepRecord) -> None:
        """Called after the optimizer step."""

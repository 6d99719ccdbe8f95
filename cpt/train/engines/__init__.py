"""Engines: how one optimizer step is carried out, on one process or many. The loop knows only this interface."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from cpt.tokens.mix import Batch


class Engine(Protocol):
    def step(self, batch: Batch, lr: float) -> tuple[float, float]:
        """One optimizer step on a global batch. Returns the mean loss over its targets and the gradient norm."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs to go on to the same bits."""
        ...

    def load(self, state: dict[str, Tensor]) -> None: ...

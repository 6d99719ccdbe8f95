"""Signals that stop a training: it finishes its step, saves a checkpoint, and exits cleanly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""SIGTERM ends a job; a scheduler announces a time limit or a preemption with the others."""


class StoppedError(Exception):
    """A signal stopped the training after it saved a checkpoint; launching again resumes it."""

    def __init__(self, step: int, steps: int, by: signal.Signals | None = None) -> None:
        super().__init__(f"stopped by a signal; saved after step {step:,} of {steps:,}; launch again to resume")
        self.by = by
        """The signal; None where another rank received it."""


class StopSignals:
    """Records a stop signal for the length of the block, instead of letting it end the process."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._record) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def received(self) -> bool:
        return self.by is not None

    def _record(self, number: int, frame: FrameType | None) -> None:
        # On preemption SLURM sends SIGTERM as well as the configured signal, which says more.
        self.by = signal.Signals(number) if self.by in (None, signal.SIGTERM) else self.by

"""Signals that ask a training to stop: it finishes its step, saves, and ends cleanly."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""A person or a scheduler ends a job with the first; the others announce a time limit or a preemption."""


class StoppedError(Exception):
    """Training was asked to stop and did, after saving; launching again goes on."""

    def __init__(self, step: int, steps: int, by: signal.Signals | None = None) -> None:
        super().__init__(f"asked to stop; saved after step {step:,} of {steps:,}; launch again to go on")
        self.by = by
        """The signal that asked; none where another process of the run got it."""


class StopSignals:
    """Notes that one of the signals came, for as long as the block lasts; before and after it they act as always."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        return self.by is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        # SLURM sends SIGTERM too where it preempts; the signal that was asked for says more.
        self.by = signal.Signals(number) if self.by in (None, signal.SIGTERM) else self.by

"""Waiting for other processes as long as they are alive: a busy machine may take many times as long as an idle one."""

import time
from collections.abc import Callable
from typing import Protocol

PATIENCE = 600
"""Seconds after which something that is awaited will never happen."""


class Process(Protocol):
    """The part of the interface of Popen that waiting needs."""

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...


def wait_until(condition: Callable[[], object], process: Process | None = None) -> None:
    """Wait for a condition, which a process that is alive will bring about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, f"the process ended with {process.returncode}"
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.02)

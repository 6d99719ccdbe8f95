"""Which of a run's processes one is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seat:
    """Which of a run's processes one is, and where they meet."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    meeting: str = "env://"
    attempt: str = ""
    """What tells this start of the run's processes from an earlier one of the same folder."""
    devices: str | None = None
    """GPUs of this machine the run may use, as `CUDA_VISIBLE_DEVICES` has them; none means whatever is visible."""


ALONE = Seat()

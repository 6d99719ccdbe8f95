"""Which of a run's processes this is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """Which of a run's processes this is, and how they find each other."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    init_method: str = "env://"
    """Where torch.distributed's processes meet."""
    attempt: str = ""
    """Distinguishes this start of the run's processes from an earlier one in the same folder."""
    devices: str | None = None
    """GPUs of this machine that the run may use, as in `CUDA_VISIBLE_DEVICES`; None means all that are visible."""


SINGLE = ProcessRank()

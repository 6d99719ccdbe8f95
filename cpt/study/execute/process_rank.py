"""The rank of a process among the processes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """The rank of this process among the processes of a run, and how they connect."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    init_method: str = "env://"
    """Rendezvous of torch.distributed."""
    attempt: str = ""
    """Distinguishes this start of the run's processes from an earlier one in the same folder."""
    devices: str | None = None
    """GPUs of this machine that the run may use, as in `CUDA_VISIBLE_DEVICES`; None means all that are visible."""


SINGLE = ProcessRank()

"""The process group of one training run: rank, world size, device, and the collectives the loop needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

TIMEOUT = timedelta(hours=2)
"""Of a collective: one rank may be writing a checkpoint, or reading a model from a slow disk."""


@dataclass(frozen=True)
class DistContext:
    """One rank of a run. With one process, collectives return at once."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this rank writes the files and the logs."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Each number summed over all ranks; every rank gets the same bits."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def any(self, value: bool) -> bool:
        return self.sum([float(value)])[0] > 0

    def barrier(self) -> None:
        self.sum([0.0])


def best_device(local_rank: int) -> torch.device:
    """This rank's GPU (CUDA, or ROCm, which torch calls cuda too), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())  # a scheduler may show each rank only its own


@contextmanager
def init_distributed(rank: int, world_size: int, local_rank: int, init_method: str) -> Iterator[DistContext]:
    """Join the process group for the length of the block.

    `init_method` is `env://` under torchrun or a cluster's launcher, or a `file://` that processes of one machine
    share. Engines need the process group even for a world size of 1.
    """
    device = best_device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif init_method.startswith("file://"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host name may not resolve
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Engines and their libraries read these, however the processes were started.
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank))
    dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world_size, timeout=TIMEOUT)
    yield DistContext(rank, world_size, device)
    # Not after an error: destroying the group is a collective, and the others may be in another. The process ends.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.destroy_process_group()

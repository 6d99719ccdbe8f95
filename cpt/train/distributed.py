"""Where a process stands among those that train one run together, and what they agree on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: one may be writing a checkpoint, or reading a model from a slow disk."""


@dataclass(frozen=True)
class Place:
    """One process of `ranks`. Alone, every agreement is its own opinion and costs nothing."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks for all."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Each number added up over all processes; every process gets the same bits."""
        if self.ranks == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def any(self, opinion: bool) -> bool:
        return self.sum([float(opinion)])[0] > 0

    def wait(self) -> None:
        """Until every process is here."""
        self.sum([0.0])


def best_device(local_rank: int) -> torch.device:
    """This process's own GPU (CUDA or ROCm, which torch calls cuda too), or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())  # a scheduler may show each process its own


@contextmanager
def joined(rank: int, ranks: int, local_rank: int, rendezvous: str) -> Iterator[Place]:
    """The place of this process, connected to the others for as long as the block lasts.

    `rendezvous` is `env://` under torchrun or a cluster's launcher, or a `file://` of their own for processes that
    share a machine. Engines that talk to themselves only need it too.
    """
    device = best_device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif rendezvous.startswith("file://"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a machine's own name need not resolve
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Engines and their libraries look for these, however the processes were started.
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(local_rank))
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=ranks, timeout=PATIENCE)
    yield Place(rank, ranks, device)
    # Not after an error: leaving is a common act, and the others may be waiting in another. The process ends anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.destroy_process_group()

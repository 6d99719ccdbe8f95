"""What a probe measures: matrix products, an all-reduce, files. Small on a CPU, where they only show that it works."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from cpt.train.distributed import DistContext

Values = dict[str, Any]
GROUPS = 4
"""Process groups made after the first: a hang in the first collective of a further one comes and goes."""
_CHUNK = 4 << 20


def bus_bandwidth(size: float, seconds: float, world_size: int) -> float:
    """Bytes a second over the slowest link of a ring all-reduce: S/t · 2(n-1)/n, as nccl-tests states it.

    It can be set beside what the hardware does, however many take part (nccl-tests, doc/PERFORMANCE.md).
    """
    return size / seconds * 2 * (world_size - 1) / world_size


def product_rate(side: int, seconds: float, times: int) -> float:
    """Operations a second of products of square matrices: 2·n³ each."""
    return 2.0 * side**3 * times / seconds


def settle(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_product(device: torch.device) -> Values:
    """Rate of bf16 products, after a warm-up, for about a second on a GPU."""
    import torch

    side, least = (8192, 1.0) if device.type == "cuda" else (128, 0.05)
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(side, side, generator=generator).to(device, torch.bfloat16) for _ in range(2))
    for _ in range(3):
        one @ other
    settle(device)
    times, begun = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begun) < least or not times:
        for _ in range(5):
            one @ other
        settle(device)
        times += 5
    return {"flops": product_rate(side, seconds, times), "side": side, "finite": bool((one @ other).isfinite().all())}


def sum_of_ranks(context: DistContext, group: Any = None) -> Values:
    """An all-reduce whose sum is known."""
    import torch
    import torch.distributed as dist

    tensor = torch.full((1024,), context.rank + 1, dtype=torch.float32, device=context.device)
    dist.all_reduce(tensor, group=group)
    sums = sorted(set(tensor.tolist()))
    return {"sum": sums[0] if len(sums) == 1 else sums, "expected": context.world_size * (context.world_size + 1) / 2}


def sums_of_groups(context: DistContext) -> Values:
    """The same on further process groups of all processes, one after the other; returns at the first wrong sum."""
    import torch.distributed as dist

    values: Values = {}
    for _ in range(GROUPS):
        values = sum_of_ranks(context, dist.new_group(list(range(context.world_size))))
        if values["sum"] != values["expected"]:
            return values
    return values


def large_all_reduce(context: DistContext) -> Values:
    """Time of an all-reduce of as much as a trainer sends at once."""
    import torch
    import torch.distributed as dist

    size, times = (512 << 20, 10) if context.device.type == "cuda" else (1 << 20, 3)
    tensor = torch.zeros(size // 2, dtype=torch.bfloat16, device=context.device)
    dist.all_reduce(tensor)
    settle(context.device)
    begun = time.perf_counter()
    for _ in range(times):
        dist.all_reduce(tensor)
    settle(context.device)
    seconds = (time.perf_counter() - begun) / times
    return {"bytes": size, "seconds": seconds, "bus": bus_bandwidth(size, seconds, context.world_size)}


def file_speed(folder: Path, size: int) -> Values:
    """Bytes a second of writing a file to the disk and of reading it back, not out of this node's memory."""
    path = folder / f".cpt-doctor-{os.uname().nodename}-{os.getpid()}"
    content = os.urandom(_CHUNK)
    try:
        begun = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(max(size // _CHUNK, 1)):
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written = time.perf_counter()
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            opened, whole = time.perf_counter(), True
            while chunk := file.read(_CHUNK):
                whole = whole and chunk == content[: len(chunk)]
        read = time.perf_counter()
        size = path.stat().st_size
    finally:
        path.unlink(missing_ok=True)
    return {"bytes": size, "write": size / (written - begun), "read": size / (read - opened), "whole": whole}

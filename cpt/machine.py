"""What this machine has to give to a run: its GPUs, and the processes that train on them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cpt.config import HardwareConfig


def gpus() -> list[str]:
    """This machine's GPUs as `CUDA_VISIBLE_DEVICES` names them, listed without importing torch."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if (given := os.environ.get(variable)) is not None:
            return [name for name in given.split(",") if name.strip()]
    if (given := os.environ.get("ROCR_VISIBLE_DEVICES")) is not None:  # the variables above number within these
        return [str(number) for number, _ in enumerate(given.split(","))]
    return [str(number) for number in range(nvidia_gpus() or amd_gpus())]


def nvidia_gpus() -> int:
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def amd_gpus() -> int:
    """AMD GPUs that this process may use; those of other jobs are listed too, but cannot be read."""
    count = 0
    for node in Path("/sys/class/kfd/kfd/topology/nodes").glob("*/gpu_id"):
        with suppress(OSError):
            count += node.read_text().strip() != "0"
    return count


def processes_of(hardware: HardwareConfig) -> int:
    """Processes that train one run together on this machine."""
    return hardware.processes or (1 if hardware.engine == "plain" else max(len(gpus()), 1))

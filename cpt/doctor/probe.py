"""What every process of the short job does on a cluster: look around, meet the others, measure, and write it down.

The folder must be a new one for each job, on a file system that all nodes share.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.doctor import measurements, probe_record
from cpt.doctor.check_result import redact
from cpt.doctor.disk import existing
from cpt.doctor.measurements import Values
from cpt.doctor.probe_record import Watchdog
from cpt.errors import UserError

if TYPE_CHECKING:
    from cpt.train.distributed import DistContext

_RECORDED = re.compile(
    r"(NCCL|RCCL|FI|HSA|GLOO|MIOPEN|MASTER)_|(CUDA|HIP|ROCR)_VISIBLE_DEVICES$|OMP_NUM_THREADS$|PYTHONUSERBASE$|"
    r"SLURM_(JOB_ID|JOB_NODELIST|CPU_BIND)$"
)
"""Variables that are written down: what communication depends on, and nothing that could be a key."""
PATIENCE = {probe_record.JOIN: 3.0}
"""Times the limit: until they meet, each goes its own way, and the others wait for one that is slow in every step."""


@dataclass
class Probing:
    """One process of the job, and what it has come to hold."""

    rank: int
    world_size: int
    local_rank: int
    folder: Path
    init_method: str
    joined: ExitStack = field(default_factory=ExitStack)
    _context: DistContext | None = None

    @property
    def context(self) -> DistContext:
        assert self._context is not None
        return self._context

    def join(self) -> Values:
        from cpt.train.distributed import init_distributed

        # RCCL says in its log alone what it talks through.
        for name, value in {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}.items():
            os.environ.setdefault(name, value)
        os.environ.setdefault("NCCL_DEBUG_FILE", str(self._log))
        self._context = self.joined.enter_context(
            init_distributed(self.rank, self.world_size, self.local_rank, self.init_method)
        )
        return {"backend": "gloo" if self._context.device.type == "cpu" else "nccl"}

    def all_reduce(self) -> Values:
        return measurements.sum_of_ranks(self.context) | network_of(self._log)

    def leave(self) -> Values:
        self.joined.close()
        return {}

    @property
    def _log(self) -> Path:
        return self.folder / f"nccl-{self.rank}.log"


def load_torch(_: Probing) -> Values:
    import torch

    version: Callable[[], tuple[int, ...]] = torch.cuda.nccl.version
    nccl = ".".join(str(part) for part in version()) if torch.cuda.is_available() else None
    versions = {"torch": torch.__version__, "hip": torch.version.hip, "cuda": torch.version.cuda, "nccl": nccl}
    return versions | {"file": torch.__file__}


def look_at_device(probing: Probing) -> Values:
    """The process's own device; the first touch of a GPU is where its driver hangs."""
    import torch

    from cpt.train.distributed import best_device

    device = best_device(probing.local_rank)
    if device.type == "cpu":
        return {"type": "cpu", "name": platform.processor() or platform.machine(), "names": []}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    torch.cuda.set_device(device)
    torch.ones(1, device=device).sum().item()
    free, total = torch.cuda.mem_get_info(device)
    identity = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    values = {"type": "cuda", "name": torch.cuda.get_device_name(device), "names": names, "free": free, "total": total}
    return values | {"identity": None if identity is None else str(identity)}


def multiply(probing: Probing) -> Values:
    from cpt.train.distributed import best_device

    return measurements.matrix_product(best_device(probing.local_rank))


STEPS: dict[str, Callable[[Probing], Values]] = {
    probe_record.TORCH: load_torch,
    probe_record.DEVICE: look_at_device,
    probe_record.PRODUCT: multiply,
    probe_record.JOIN: Probing.join,
    probe_record.DEFAULT: Probing.all_reduce,
    probe_record.SECOND: lambda probing: measurements.sums_of_groups(probing.context),
    probe_record.LARGE: lambda probing: measurements.large_all_reduce(probing.context),
    probe_record.LEAVE: Probing.leave,
}
"""In this order. Files come after them, on one process of each node: nobody waits for one that measurements."""


def run_probe(
    rank: int,
    world_size: int,
    local_rank: int,
    folder: Path,
    seconds: float,
    folders: Mapping[str, Path] | None = None,
    init_method: str = "env://",
) -> None:
    """All steps of one process; `seconds` is what each may take, `folders` the folders whose speed is wanted, by name.

    A step that hangs ends the process with code 86, one that fails is an error that says which.
    """
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()  # as SLURM is told to leave it out
    record = probe_record.ProcessRecord(rank, world_size, local_rank, host, os.getpid(), facts())
    watchdog = Watchdog(record, folder)
    probing = Probing(rank, world_size, local_rank, folder, init_method)
    try:
        for name, work in STEPS.items():
            with watchdog.step(name, seconds * PATIENCE.get(name, 1)) as values:
                values.update(work(probing))
        size = (256 if probing.context.device.type == "cuda" else 8) << 20
        for name, path in (folders or {"probe": folder}).items() if local_rank == 0 else ():
            with watchdog.step(probe_record.FILES + name, seconds) as values:
                values.update(measurements.file_speed(existing(path), size))
    except Exception as error:
        step = record.steps[-1]
        print(redact("".join(traceback.format_exception(error))), file=sys.stderr, flush=True)
        # Not from the error, whose own words would be in the job's log as they are.
        raise UserError(f"rank {rank} on {host} failed in '{step.name}': {step.error}") from None
    watchdog.end()


def facts() -> dict[str, Any]:
    """What is known without torch."""
    from cpt.doctor.gpus import this_machine

    names = sorted(path.name for path in Path("/sys/class/net").glob("*"))
    environment = {name: redact(value) for name, value in sorted(os.environ.items()) if _RECORDED.match(name)}
    cores = sorted(os.sched_getaffinity(0))
    versions = {"python": platform.python_version(), "executable": sys.executable}
    fast = [name for name in names if name.startswith(("hsn", "ib"))]
    return versions | {"machine": asdict(this_machine()), "cores": cores, "fast": fast, "environment": environment}


def network_of(log: Path) -> Values:
    """What NCCL or RCCL says it talks through, where it was asked to write that down."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    network = re.findall(r"Using network (.+)", text)
    library = re.search(r"\b(?:NCCL|RCCL) version\s*:?\s*(\S+)", text)
    return {"network": network[-1].strip() if network else None, "library": library[1] if library else None}

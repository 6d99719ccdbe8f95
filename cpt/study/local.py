"""Carries out the runs of a study on this machine, some at a time, each in a process of its own.

The processes are forked from a server that has imported everything once, so a run starts in milliseconds and one
that fails, or is killed, takes no other down.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from cpt.study.run import Run
from cpt.study.status import Status, read_status, write_status
from cpt.study.worker import Job

POLL_SECONDS = 0.2
WARM_MODULES = ["cpt.study.stages", "cpt.results.tracking", "transformers.models.llama.modeling_llama", "sacrebleu"]
# Large blocks are kept by the allocator instead of being given back and faulted in again at every step: 1.2 to 1.6
# times the speed on small models. It must be set before a process starts.
_ALLOCATOR = ":".join(
    (
        "glibc.malloc.mmap_threshold=1073741824",
        "glibc.malloc.trim_threshold=4294967296",
        "glibc.malloc.top_pad=268435456",
    )
)


def accelerators() -> int:
    """Whether this machine has a GPU, asked without importing torch: 1 or 0, for a run uses one at most."""
    return int(any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists())


def usable_cores() -> int:
    """Cores this process may use, which on a shared machine can be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Running:
    run: Run
    process: ForkServerProcess
    started: float


class LocalExecutor:
    """Runs jobs `slots` at a time and tells a watcher what is going on."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.task = task

    def slots(self, asked: int | None) -> int:
        return asked or accelerators() or usable_cores()

    def execute(self, runs: list[Run], slots: int, tracking: str, watch: Callable[[list[Run]], None]) -> None:
        """Carry out every run; one that needs a stand-in waits while another makes it. Returns when none is left."""
        os.environ.setdefault("GLIBC_TUNABLES", _ALLOCATOR)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(run.config.hardware.threads for run in runs)))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(WARM_MODULES)
        waiting, running = list(runs), list[Running]()
        previous = signal.signal(signal.SIGTERM, _terminate)
        try:
            while waiting or running:
                while len(running) < slots and (run := _next(waiting, running)):
                    waiting.remove(run)
                    job = Job(run.folder, run.name, run.run_id, tracking)
                    process = context.Process(target=self.task, args=(job,), name=run.run_id)
                    process.start()
                    running.append(Running(run, process, time.monotonic()))
                time.sleep(POLL_SECONDS)
                for item in [item for item in running if not item.process.is_alive()]:
                    running.remove(item)
                    _settle(item)
                watch([item.run for item in running])
        finally:
            signal.signal(signal.SIGTERM, previous)
            for item in running:
                item.process.terminate()
            for item in running:
                item.process.join(10)
                if status := read_status(item.run.folder):
                    status.state = "planned"  # stopped by the user, not by itself
                    write_status(item.run.folder, status)


def _next(waiting: list[Run], running: list[Running]) -> Run | None:
    """The first run that can start. Base models come first in the list and make their stand-in themselves."""
    making = {item.run.model.path for item in running}
    for run in waiting:
        if run.model.toy is None or run.model.folder.exists() or run.model.path not in making:
            return run  # whoever comes first makes a stand-in; the others wait until it is there
    return None


def _settle(item: Running) -> None:
    """A process that ended without saying so was killed: say it for it."""
    status = read_status(item.run.folder)
    if status is not None and status.state in ("finished", "failed") and status.pid == item.process.pid:
        return
    code = item.process.exitcode or 0
    why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    _record_failure(item.run, f"{why}{hint}; last lines of {item.run.folder / 'log.txt'} may say more")


def _record_failure(run: Run, error: str) -> None:
    status = read_status(run.folder) or Status(run.name, run.run_id)
    status.state, status.error = "failed", error
    write_status(run.folder, status)


def _terminate(signum: int, frame: object) -> None:
    raise KeyboardInterrupt

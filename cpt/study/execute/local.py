"""Runs a study on this machine: several runs at a time, each in its own processes.

The processes are forked from a server that has imported everything once, so a run starts in milliseconds, and a run
that fails or is killed does not affect others.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from threading import Thread
from typing import Any

from rich.console import Console

from cpt.config import HardwareConfig, StudyConfig
from cpt.errors import config_error
from cpt.machine import gpus, processes_of
from cpt.processes import interrupted_by, usable_cores
from cpt.study.data.prepare_study import prepare_study
from cpt.study.execute.process_rank import ProcessRank
from cpt.study.execute.progress import Progress
from cpt.study.execute.run_worker import Job
from cpt.study.execute.warm_up import warm_up
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.state.evaluated_run import dropped_benchmarks
from cpt.study.state.lease import TAKEN
from cpt.study.state.run import Run
from cpt.study.state.run_status import Status, read_status, write_status
from cpt.train.signals import STOP_SIGNALS

POLL_SECONDS = 0.2
GRACE_SECONDS = 10.0
"""How long a run's other processes may take to end after one has failed."""


@dataclass
class Running:
    """A run's processes on this machine."""

    run: Run
    processes: list[ForkServerProcess]
    slot: int
    rendezvous: str
    """Local folder through which the processes of this attempt connect."""
    failure: tuple[int, int] | None = None
    """Rank and exit code of the process that failed first."""

    @property
    def ended(self) -> bool:
        """Whether the run has ended. If one process dies the others are ended, as they would wait for it for ever."""
        codes = [process.exitcode for process in self.processes]
        # If a process was killed (negative code), it caused the errors of the others.
        self.failure = min(
            ((rank, code) for rank, code in enumerate(codes) if code), key=lambda bad: bad[1], default=None
        )
        if self.failure:
            end = time.monotonic() + GRACE_SECONDS
            for process in self.processes:
                process.join(max(end - time.monotonic(), 0))
            for process in self.processes:
                process.kill()
                process.join()
        return all(process.exitcode is not None for process in self.processes)

    def stop(self, seconds: float) -> None:
        """Terminate all processes, which save and stop; kill them after some seconds."""
        for process in self.processes:
            process.terminate()
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(end - time.monotonic(), 0))
        for process in self.processes:
            process.kill()
            process.join()


class LocalExecutor:
    """Runs a study in processes of this machine, `slots` runs at a time."""

    notice = ""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.task = task

    def configure(self, configs: list[StudyConfig]) -> list[StudyConfig]:
        return configs

    def slots(self, hardware: HardwareConfig) -> int:
        devices, processes = len(gpus()), processes_of(hardware)
        slots = hardware.slots or max((devices or usable_cores()) // processes, 1)
        if devices and slots * processes > devices:
            needed = f"{slots} runs of {processes} processes at a time need {slots * processes} GPUs"
            reason = f"{needed}, this machine has {devices}"
            raise config_error("hardware.processes", processes, reason)
        return slots

    def check(self, runs: list[Run]) -> None:
        self.slots(runs[0].config.hardware)

    def remaining_jobs(self, runs: list[Run]) -> list[StageJob]:
        return []

    def all_jobs(self, runs: list[Run]) -> list[StageJob]:
        return []

    def preview(self, runs: list[Run], console: Console) -> None:
        """The plan shows everything."""

    def prepare(self, runs: list[Run], console: Console) -> None:
        if trained := [run for run in runs if run.trains]:
            prepare_study(trained, console)

    def run(self, todo: list[Run], runs: list[Run], console: Console) -> None:
        """Execute unfinished runs, unless only data is to be prepared."""
        from cpt.results.tracking.destinations import resolve_mode

        config = runs[0].config
        if config.prepare_only:
            console.print("Everything is prepared; nothing was trained (prepare_only=true).")
            return
        if not todo:
            if all(run.state.finished for run in runs):
                console.print(f"All {len(runs)} are finished already.")
            return
        save_runs(todo, console)
        tracking, slots = resolve_mode(config.tracking.mode, console.print), self.slots(config.hardware)
        with Progress(todo, len(runs) - len(todo), slots, console) as progress:
            self.execute(todo, slots, tracking, progress.update)

    def wait(self, runs: list[Run], console: Console) -> bool:
        return True

    def execute(self, runs: list[Run], slots: int, tracking: str, watch: Callable[[list[Run]], None]) -> None:
        """Execute all runs. A run waits while another one makes its toy base model."""
        warm_up()
        waiting, running = list(runs), list[Running]()
        try:
            with interrupted_by(*STOP_SIGNALS):
                while waiting or running:
                    while len(running) < slots and (run := _next(waiting, [item.run for item in running])):
                        waiting.remove(run)
                        used_slots = {item.slot for item in running}
                        slot = next(number for number in range(slots) if number not in used_slots)
                        running.append(self._start(run, slot, tracking))
                    time.sleep(POLL_SECONDS)
                    for item in [item for item in running if item.ended]:
                        running.remove(item)
                        _check_ended(item)
                    watch([item.run for item in running])
        finally:
            stop_all(running)

    def _start(self, run: Run, slot: int, tracking: str) -> Running:
        """Start the run's processes, which train it together and share its evaluation."""
        context = multiprocessing.get_context("forkserver")
        processes = processes_of(run.config.hardware)
        mine = gpus()[slot * processes :][:processes]
        started = Running(run, [], slot, tempfile.mkdtemp(prefix="cpt-rendezvous-"))
        for rank in range(processes):
            store, attempt = f"file://{started.rendezvous}/store", started.rendezvous
            process_rank = ProcessRank(rank, processes, rank, store, attempt, ",".join(mine) or None)
            job = Job(run.folder, run.name, run.run_id, tracking, process_rank)
            process = context.Process(target=self.task, args=(job,), name=f"{run.run_id} {rank}")
            process.start()
            started.processes.append(process)
        return started


def save_runs(runs: list[Run], console: Console) -> None:
    """Save the configuration and the first status of runs before they start."""
    for run in runs:
        if dropped := dropped_benchmarks(run):
            text = f"{run.run_id}: {', '.join(dropped)} will not be in the comparison; the answers are not deleted"
            console.print(f"{text}, so choosing the benchmarks again restores them", soft_wrap=True)
        run.save_config()
        write_status(run.folder, Status(run.name, run.run_id))


def stop_all(running: list[Running]) -> None:
    """Stop all runs when the user stops the study: each saves its progress and is planned again."""
    threads = [Thread(target=item.stop, args=(item.run.config.hardware.stop_seconds,)) for item in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for item in running:
        shutil.rmtree(item.rendezvous, ignore_errors=True)
        status = read_status(item.run.folder)
        if status and status.state not in ("finished", "stopped"):
            status.state = "planned"  # stopped by the user, not by itself
            write_status(item.run.folder, status)


def _next(waiting: list[Run], running: list[Run]) -> Run | None:
    """The first run that can start. Base models come first in the list and make their toy weights themselves."""
    making = {run.model.path for run in running}
    for run in waiting:
        if run.model.toy is None or run.model.folder.exists() or run.model.path not in making:
            return run  # the first run makes a toy base model; the others wait for it
    return None


def _check_ended(item: Running) -> None:
    """Write the status of a run whose processes ended without writing it, because they were killed."""
    shutil.rmtree(item.rendezvous, ignore_errors=True)
    status = read_status(item.run.folder)
    rank, code = item.failure or (0, 0)
    if code == TAKEN:
        return  # another process works on this run and writes its status
    written = status is not None and status.pid == item.processes[0].pid
    if status is not None and written and status.state in ("finished", "failed", "stopped") and not (rank and code < 0):
        return
    why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with code {code}"
    who = f"process {rank}: " if len(item.processes) > 1 else ""
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    _record_failure(item.run, f"{who}{why}{hint}; see the last lines of {item.run.folder / 'log.txt'}")


def _record_failure(run: Run, error: str) -> None:
    status = read_status(run.folder) or Status(run.name, run.run_id)
    status.state, status.error = "failed", error
    write_status(run.folder, status)

"""A worker process: runs the stages of one run in its folder and writes how they end."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.errors import UserError, config_error
from cpt.processes import exit_with_parent
from cpt.study.execute.process_rank import SINGLE, ProcessRank
from cpt.study.state.lease import RENEW_SECONDS, STALE_SECONDS, TAKEN, Lease, LeaseTakenError
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, TRAIN
from cpt.study.state.run_status import BACK, Reporter
from cpt.train.signals import StoppedError

if TYPE_CHECKING:
    from cpt.train.distributed import DistContext


@dataclass(frozen=True)
class Job:
    """A run's folder, and how this launch runs it."""

    folder: Path
    name: str
    run_id: str
    tracking: str
    """Tracking mode resolved for the whole launch: none, offline or online."""
    process: ProcessRank = SINGLE
    stages: tuple[str, ...] = (TRAIN, EVALUATE)
    cluster_job: str = ""
    """Id of the cluster's job that this process is part of."""


@dataclass(frozen=True)
class Outcome:
    """How a process's part of a job ended."""

    state: str
    """finished, stopped, failed, or taken: another process works on this run."""
    by: signal.Signals | None = None
    """The signal that stopped it."""
    machine: bool = False
    """Whether the machine failed, not the configuration: elsewhere or later it may work."""


def execute_folder(job: Job) -> None:
    """Run the saved run of a folder in this process; the exit code says whether it finished."""
    exit_with_parent()
    if (state := execute_job(job).state) != "finished":
        sys.exit(TAKEN if state == "taken" else 1)


def execute_job(job: Job) -> Outcome:
    """Run this process's part of a job; the state of the run is written to its folder."""
    if job.process.devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.process.devices
        if "HIP_VISIBLE_DEVICES" in os.environ:
            os.environ["HIP_VISIBLE_DEVICES"] = job.process.devices
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher handles Ctrl-C and stops its workers
    log_to(job.folder / "log.txt", f"[{job.process.rank}] " if job.process.world_size > 1 else "")
    if job.process.rank:
        return _assist(job)
    owner = f"job {job.cluster_job}" if job.cluster_job else f"process {os.getpid()}"
    # A job has waited in the queue for hours: it also waits until the lease of a dead holder expires.
    wait = STALE_SECONDS + RENEW_SECONDS if job.cluster_job else 0.0
    try:
        with Lease(job.folder, owner, job.process.attempt, wait=wait):
            return execute_reported(
                Reporter(job.folder, job.name, job.run_id, job.process.attempt, job.cluster_job),
                lambda reporter: _execute(_load_run(job), job, reporter),
                "finished" if EVALUATE in job.stages else "submitted",
            )
    except LeaseTakenError as taken:
        logging.error("%s", taken)
        return Outcome("taken")  # only the holder writes the status


STOPPED = "stopped by a signal; launch again to resume"
REQUEUE_EXIT_CODE = -1
"""Exit code of submitit's signal handler when the job is requeued."""


def execute_reported(reporter: Reporter, work: Callable[[Reporter], None], done: str = "finished") -> Outcome:
    """Call `work` and write to its status how it ended."""
    try:
        work(reporter)
    except UserError as error:
        logging.error("%s", error)
        reporter.end("failed", str(error))
        return Outcome("failed")
    except StoppedError as stopped:
        logging.info("%s", stopped)
        reporter.end("stopped", str(stopped))
        return Outcome("stopped", by=stopped.by)
    except Exception as error:
        logging.error("%s", traceback.format_exc())
        reporter.end("failed", f"{type(error).__name__}: {error} (traceback in log.txt)")
        return Outcome("failed", machine=is_machine_error(error))
    except KeyboardInterrupt:  # raised for SIGTERM while data is prepared
        reporter.end("stopped", STOPPED)
        return Outcome("stopped", by=signal.SIGTERM)
    except SystemExit as ended:  # from a signal handler: submitit's requeues the job, ours stops it
        reporter.end(*(("submitted", BACK) if ended.code == REQUEUE_EXIT_CODE else ("stopped", STOPPED)))
        raise
    reporter.end(done)
    return Outcome("finished")


_MACHINE_ERRORS = ("nccl", "rccl", "libfabric", "hiperror", "ecc error", "launch failure", "connection reset")
_MACHINE_ERRNOS = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNRESET)


def is_machine_error(error: BaseException) -> bool:
    """Whether a network, a device or a disk failed. Out of memory is not: it would fail again."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return False
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRNOS
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MACHINE_ERRORS)


def _load_run(job: Job) -> Run:
    run = Run.from_folder(job.folder)
    if run.folder.resolve() != job.folder.resolve():
        raise UserError(f"data or model changed since the launch: it would now be {run.run_id}; launch again")
    return run


def _assist(job: Job) -> Outcome:
    """Run as one of the run's other processes; the first process or the launcher writes the status."""
    from cpt.study.execute.stages import assist

    try:
        run = _load_run(job)
        _configure_libraries(run)
        assist(run, _dist_context(run, job), job.process, job.stages)
    except StoppedError as stopped:
        return Outcome("stopped", by=stopped.by)
    except UserError as error:
        logging.error("%s", error)
        return Outcome("failed")
    except Exception as error:
        logging.error("%s", _error_text(error))
        return Outcome("failed", machine=is_machine_error(error))
    return Outcome("finished")


_PEER_ERRORS = ("by peer", "remote process exited")


def _error_text(error: Exception) -> str:
    """The traceback to log, or one line if another process has ended, which logs its own error."""
    if any(word in str(error).lower() for word in _PEER_ERRORS):
        return f"another process of this run is gone: {str(error).splitlines()[0]}"
    return traceback.format_exc()


def _execute(run: Run, job: Job, reporter: Reporter) -> None:
    from cpt.results.tracking.mirror import open_tracker
    from cpt.study.compare.mirror_identity import identity_of
    from cpt.study.execute.stages import execute_stages

    _configure_libraries(run)
    with open_tracker(job.tracking, job.folder, identity_of(run, run.run_id)) as tracker:
        execute_stages(run, reporter, tracker, _dist_context(run, job), job.process, job.stages)


def _configure_libraries(run: Run) -> None:
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(run.config.hardware.threads)
    warnings.simplefilter("ignore", FutureWarning)  # libraries warn about each other at every call
    disable_progress_bar()  # type: ignore[no-untyped-call]  # it would write thousands of lines to a log file


def _dist_context(run: Run, job: Job) -> AbstractContextManager[DistContext]:
    """The distributed context for training; engines for several processes need one even for a single process."""
    from cpt.train.distributed import DistContext, best_device, init_distributed

    process = job.process
    if run.config.hardware.engine == "plain":
        if process.world_size > 1 and TRAIN in job.stages:
            raise config_error(
                "hardware.engine", "plain", f"it runs one process, not {process.world_size}; choose zero3"
            )
        return nullcontext(DistContext(device=best_device(process.local_rank)))
    return init_distributed(process.rank, process.world_size, process.local_rank, process.init_method)


def log_to(path: Path, prefix: str) -> None:
    """Send the output of this process, including that of libraries, to the run's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    form = f"%(asctime)s {prefix}%(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr, force=True)


def main() -> None:
    """`torchrun … -m cpt.study.worker <run folder>`: one process of a run that a launch has saved."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m cpt.study.worker <run folder>")
    folder = Path(sys.argv[1])
    rank, world_size, local_rank = (int(os.environ.get(name, default)) for name, default in _RANKS.items())
    process = ProcessRank(rank, world_size, local_rank, attempt=" ".join(os.environ.get(name, "") for name in _ATTEMPT))
    try:
        run = Run.from_folder(folder)
    except UserError as error:
        sys.exit(str(error))
    execute_folder(Job(folder, run.name, run.run_id, run.config.tracking.mode, process))


_ATTEMPT = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "SLURM_JOB_ID",
    "SLURM_RESTART_COUNT",
    "MASTER_PORT",
)
"""Environment variables of torchrun and cluster launchers that identify an attempt."""
_RANKS = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
"""Environment variables of torchrun and cluster launchers for a process's rank, with their defaults."""

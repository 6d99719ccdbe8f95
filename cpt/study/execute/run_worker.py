"""What a worker process does with the folder of one run: carry it out, say how it ends."""

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
    """A run's folder, and how this launch carries it out."""

    folder: Path
    name: str
    run_id: str
    tracking: str
    """Tracking mode as it turned out for the whole launch: none, offline or online."""
    process: ProcessRank = SINGLE
    stages: tuple[str, ...] = (TRAIN, EVALUATE)
    cluster_job: str = ""
    """Id of the cluster's job that this is part of."""


@dataclass(frozen=True)
class Outcome:
    """How a process's part of a job ended."""

    state: str
    """finished, stopped, failed, or taken: another process is at this run."""
    by: signal.Signals | None = None
    """The signal that stopped it."""
    machine: bool = False
    """Whether it failed by no fault of the configuration: elsewhere, or later, it may work."""


def carry_out_folder(job: Job) -> None:
    """Carry out the frozen run of a folder in this process; its exit code says whether it finished."""
    exit_with_parent()
    if (state := carry_out_job(job).state) != "finished":
        sys.exit(TAKEN if state == "taken" else 1)


def carry_out_job(job: Job) -> Outcome:
    """This process's part of a job; how a run fares is in its folder, whatever the process's end."""
    if job.process.devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.process.devices
        if "HIP_VISIBLE_DEVICES" in os.environ:
            os.environ["HIP_VISIBLE_DEVICES"] = job.process.devices
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle; it stops its workers
    log_to(job.folder / "log.txt", f"[{job.process.rank}] " if job.process.world_size > 1 else "")
    if job.process.rank:
        return _assist(job)
    owner = f"job {job.cluster_job}" if job.cluster_job else f"process {os.getpid()}"
    # A job has waited for hours already: it waits too until a holder that died elsewhere is known to be dead.
    wait = STALE_SECONDS + RENEW_SECONDS if job.cluster_job else 0.0
    try:
        with Lease(job.folder, owner, job.process.attempt, wait=wait):
            return reported(
                Reporter(job.folder, job.name, job.run_id, job.process.attempt, job.cluster_job),
                lambda reporter: _carry_out(_thawed(job), job, reporter),
                "finished" if EVALUATE in job.stages else "submitted",
            )
    except LeaseTakenError as taken:
        logging.error("%s", taken)
        return Outcome("taken")  # the status is its holder's to write


PUT_BACK = -1
"""Exit code of submitit's handler of signals when the job is to start again."""


def reported(reporter: Reporter, work: Callable[[Reporter], None], done: str = "finished") -> Outcome:
    """Do something long and say in its status how it ended."""
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
        return Outcome("failed", machine=of_the_machine(error))
    except KeyboardInterrupt:  # what SIGTERM is where data is prepared
        reporter.end("stopped", "asked to stop; launch again to go on")
        return Outcome("stopped", by=signal.SIGTERM)
    except SystemExit as ended:  # of a handler of signals: submitit's puts the job back, ours was asked to stop
        again = ended.code == PUT_BACK
        reporter.end(*(("submitted", BACK) if again else ("stopped", "asked to stop; launch again to go on")))
        raise
    reporter.end(done)
    return Outcome("finished")


_MACHINES_WORDS = ("nccl", "rccl", "libfabric", "hiperror", "ecc error", "launch failure", "connection reset")
_MACHINES_ERRNO = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNRESET)


def of_the_machine(error: BaseException) -> bool:
    """Whether a network, a device or a disk failed. Memory and configurations are the user's, and fail again."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return False
    if isinstance(error, OSError):
        return error.errno in _MACHINES_ERRNO
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MACHINES_WORDS)


def _thawed(job: Job) -> Run:
    run = Run.from_folder(job.folder)
    if run.folder.resolve() != job.folder.resolve():
        raise UserError(f"data or model changed since the launch: it would now be {run.run_id}; launch again")
    return run


def _assist(job: Job) -> Outcome:
    """As one of a run's further processes; what goes wrong is told by the first, or by whoever started them all."""
    from cpt.study.execute.stages import assist

    try:
        run = _thawed(job)
        _quieten(run)
        assist(run, _dist_context(run, job), job.process, job.stages)
    except StoppedError as stopped:
        return Outcome("stopped", by=stopped.by)
    except UserError as error:
        logging.error("%s", error)
        return Outcome("failed")
    except Exception as error:
        logging.error("%s", _without_peers(error))
        return Outcome("failed", machine=of_the_machine(error))
    return Outcome("finished")


_PEERS_WORDS = ("by peer", "remote process exited")


def _without_peers(error: Exception) -> str:
    """What to log of an error: one line where it only says that another process is gone, which has told why."""
    if any(word in str(error).lower() for word in _PEERS_WORDS):
        return f"another process of this run is gone: {str(error).splitlines()[0]}"
    return traceback.format_exc()


def _carry_out(run: Run, job: Job, reporter: Reporter) -> None:
    from cpt.results.tracking.mirror import open_tracker
    from cpt.study.compare.mirror_identity import identity_of
    from cpt.study.execute.stages import carry_out

    _quieten(run)
    with open_tracker(job.tracking, job.folder, identity_of(run, run.run_id)) as tracker:
        carry_out(run, reporter, tracker, _dist_context(run, job), job.process, job.stages)


def _quieten(run: Run) -> None:
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(run.config.hardware.threads)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries about each other, once a call
    disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar in a log file is a thousand lines


def _dist_context(run: Run, job: Job) -> AbstractContextManager[DistContext]:
    """Where this process stands while training; engines for many connect even one to itself."""
    from cpt.train.distributed import DistContext, best_device, init_distributed

    process = job.process
    if run.config.hardware.engine == "plain":
        if process.world_size > 1 and TRAIN in job.stages:
            raise config_error(
                "hardware.engine", "plain", f"it is one process, here are {process.world_size}; choose zero3"
            )
        return nullcontext(DistContext(device=best_device(process.local_rank)))
    return init_distributed(process.rank, process.world_size, process.local_rank, process.init_method)


def log_to(path: Path, prefix: str) -> None:
    """Everything this process says, from any library, goes to the run's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    form = f"%(asctime)s {prefix}%(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr, force=True)


def main() -> None:
    """`torchrun … -m cpt.study.worker <run folder>`: one of the processes of a run that was frozen by a launch."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m cpt.study.worker <run folder>")
    folder = Path(sys.argv[1])
    rank, world_size, local_rank = (int(os.environ.get(name, default)) for name, default in _RANKS.items())
    process = ProcessRank(rank, world_size, local_rank, attempt=" ".join(os.environ.get(name, "") for name in _ATTEMPT))
    try:
        run = Run.from_folder(folder)
    except UserError as error:
        sys.exit(str(error))
    carry_out_folder(Job(folder, run.name, run.run_id, run.config.tracking.mode, process))


_ATTEMPT = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "MASTER_PORT")
"""What torchrun and clusters' launchers tell a process of the start it belongs to."""
_RANKS = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
"""What torchrun and clusters' launchers set for a process's rank."""

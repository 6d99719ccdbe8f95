"""What a job of a cluster runs: one stage of one run, or a stage of the whole study.

submitit pickles these and carries them out in every process of the job. They are plain data, so that a pickle says no
more than which folder to read. When SLURM announces a time limit or a preemption, submitit's handler asks for what is
to be carried out next (`checkpoint`) and puts the job back into the queue; a training, which handles signals itself to
finish its step and save, hands the signal on. Putting back is done by the job's script (cluster/executor), which runs
outside any container: inside there are no commands of SLURM's.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.slurm.slurm import SlurmJobEnvironment

from cpt.study.cluster.attempts import FRUITLESS, fruitless
from cpt.study.execute.process_rank import Seat
from cpt.study.state.run_status import BACK, Status, read_status, write_status

log = logging.getLogger(__name__)

ANNOUNCED = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which SLURM announces that a job's time is up; SIGTERM may also be a person who cancels it."""
AGAIN = "CPT_AGAIN"
"""Variable with the file by which a job's script is asked to put the job back."""
GRACE_SECONDS = 15.0
"""How long a run's other processes wait for the first to say what happened, before they end the job with theirs."""


@dataclass(frozen=True)
class RunTask:
    """A stage of one run, by one of the processes of its job."""

    folder: str
    name: str
    run_id: str
    tracking: str
    stage: str

    def __call__(self) -> None:
        env = submitit.JobEnvironment()
        seat = seat_of(env)
        if seat.rank == 0:
            handle_signals(env)
        from cpt.study.execute import preload  # noqa: F401  # with the collector at rest: a third of the imports' time
        from cpt.study.execute.worker import Job, Outcome, carry_out_job

        folder = Path(self.folder)
        if seat.rank == 0 and (times := fruitless(folder, seat.attempt, env.job_id)) > FRUITLESS:
            why = f"started {times} times in job {env.job_id} and came no further; its log says more"
            mark(folder, self.name, self.run_id, "failed", why, number_of(env))
            sys.exit(1)
        job = Job(folder, self.name, self.run_id, self.tracking, seat, (self.stage,), number_of(env))
        try:
            outcome = carry_out_job(job)
            if seat.rank:
                self._leave(outcome, seat)
            elif outcome.machine or (outcome.state == "stopped" and goes_on(env, outcome.by)):
                os.kill(os.getpid(), signal.SIGUSR2)  # to submitit's handler, which puts the job back
        except UncompletedJobError as error:
            outcome = Outcome("failed")
            why = f"{str(error).rstrip('.')}; launch again to go on, or raise hydra.launcher.max_num_timeout"
            mark(folder, self.name, self.run_id, "failed", why, number_of(env))
        if outcome.state != "finished":
            sys.exit(1)

    def _leave(self, outcome: Any, seat: Seat) -> None:
        """End as one of several: quietly where the first one says how the run fares, else for it."""
        if outcome.state != "failed":
            sys.exit(0)
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end:
            status = read_status(Path(self.folder))
            if status and status.attempt == seat.attempt and status.state != "running":
                break
            time.sleep(0.5)
        else:
            env, why = submitit.JobEnvironment(), f"process {seat.rank} failed, see log.txt"
            if again := outcome.machine and AGAIN in os.environ:
                Path(os.environ[AGAIN]).touch()
            state = "submitted" if again else "failed"
            mark(Path(self.folder), self.name, self.run_id, state, why, number_of(env))
        sys.exit(1)  # and SLURM ends the others

    def checkpoint(self) -> DelayedSubmission:
        """What is to be carried out when the job starts anew: the same, from what is on disk."""
        mark(Path(self.folder), self.name, self.run_id, "submitted", BACK, number_of(submitit.JobEnvironment()))
        return DelayedSubmission(self)


@dataclass(frozen=True)
class StudyTask:
    """A stage of a whole study, by one process: its data made, or its runs compared."""

    study: str
    stage: str
    runs: tuple[str, ...]
    """Folders of the runs that it is for."""

    @property
    def folder(self) -> Path:
        return stage_folder(Path(self.study), self.stage)

    def __call__(self) -> None:
        env = submitit.JobEnvironment()
        handle_signals(env)
        from cpt.study.cluster.study_stages import carry_out_stage
        from cpt.study.execute import preload  # noqa: F401

        outcome = carry_out_stage(Path(self.study), self.stage, [Path(run) for run in self.runs], number_of(env))
        if outcome.state == "stopped" and goes_on(env, outcome.by):
            os.kill(os.getpid(), signal.SIGUSR2)
        if outcome.state != "finished":
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        mark(self.folder, self.stage, self.stage, "submitted", BACK, number_of(submitit.JobEnvironment()))
        return DelayedSubmission(self)


def number_of(env: Any) -> str:
    """The job as SLURM's queue calls it; a process of this machine is in no queue."""
    return str(env.job_id) if env.cluster == "slurm" else ""


def stage_folder(study: Path, stage: str) -> Path:
    """Where a study's own stage has its status and its log."""
    return study / ".jobs" / stage


def mark(folder: Path, name: str, run_id: str, state: str, why: str | None, job: str) -> None:
    """Say in a folder's status what becomes of its job."""
    status = read_status(folder) or Status(name, run_id)
    status.state, status.error, status.job = state, why, job
    write_status(folder, status)


def seat_of(env: Any) -> Seat:
    """Which of a job's processes this is, and, for torch, where they meet."""
    hosts = env.hostnames
    again = os.environ.get("SLURM_RESTART_COUNT", "0")
    raw = env.raw_job_id  # of an array's element its own, so that two on one node do not meet
    if env.num_nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a machine's own name need not resolve
    os.environ["MASTER_ADDR"] = hosts[0] if env.num_nodes > 1 else "127.0.0.1"
    os.environ["MASTER_PORT"] = str(10_000 + (int(raw) * 31 + int(again)) % 22_000)  # below the ports that systems give
    return Seat(env.global_rank, env.num_tasks, env.local_rank, attempt=f"{raw}.{again}")


class ByTheScript(SlurmJobEnvironment):
    """SLURM's environment, where the job's script is asked to put the job back."""

    def _requeue(self, countdown: int) -> None:
        Path(os.environ[AGAIN]).touch()
        log.info("asked the job's script to put job %s back (%d timeouts left)", self.job_id, countdown)


def handle_signals(env: Any) -> None:
    """What signals do where no training handles them; everything that was done is on disk already."""
    handler = getattr(signal.getsignal(signal.SIGUSR2), "__self__", None)
    if env.cluster == "slurm" and isinstance(handler, SignalHandler):
        handler.env = ByTheScript()

    def terminated(*_: object) -> None:
        if goes_on(env, signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGUSR2)
        else:
            sys.exit(1)

    signal.signal(signal.SIGTERM, terminated)


def goes_on(env: Any, by: signal.Signals | None) -> bool:
    """Whether a job that was stopped may go on later.

    SLURM preempts some with SIGTERM alone, which is also what a person's scancel sends; the job's script, which can ask
    SLURM, puts back only what was not cancelled.
    """
    return env.cluster == "slurm" or by in ANNOUNCED

"""What a job of a cluster runs: one stage of one run, or a stage of the whole study.

submitit pickles these tasks and runs them in every process of the job. They are plain data: a pickle only says which
folder to read. Heavy modules are imported when a task runs, after `preload`, which makes the imports faster.

When SLURM announces a time limit or a preemption, submitit's handler asks what to run next (`checkpoint`) and requeues
the job; a training handles signals itself, to finish its step and save, and passes the signal on. The job's script
does the requeueing (cluster/submission), outside any container, where SLURM's commands are available.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.slurm.slurm import SlurmJobEnvironment

from cpt.files import locked, read_json, write_json
from cpt.study.execute.process_rank import ProcessRank
from cpt.study.state.run_status import BACK, Reporter, Status, read_status, write_status

if TYPE_CHECKING:
    from cpt.study.execute.run_worker import Outcome

log = logging.getLogger(__name__)

ANNOUNCED = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which SLURM announces that a job's time is up; SIGTERM may also be a person who cancels it."""
AGAIN = "CPT_AGAIN"
"""Variable with the file by which a job's script is asked to put the job back."""
FRUITLESS = 3
"""A job that starts more often than this at one point fails."""
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
        process = process_rank_of(env)
        if process.rank == 0:
            handle_signals(env)
        from cpt.study.execute import preload  # noqa: F401  # with the collector at rest: a third of the imports' time
        from cpt.study.execute.run_worker import Job, Outcome, carry_out_job

        folder = Path(self.folder)
        if process.rank == 0 and (times := fruitless(folder, process.attempt, env.job_id)) > FRUITLESS:
            why = f"started {times} times in job {env.job_id} and came no further; its log says more"
            mark(folder, self.name, self.run_id, "failed", why, number_of(env))
            sys.exit(1)
        job = Job(folder, self.name, self.run_id, self.tracking, process, (self.stage,), number_of(env))
        try:
            outcome = carry_out_job(job)
            if process.rank:
                self._leave(outcome, process)
            elif outcome.machine or (outcome.state == "stopped" and goes_on(env, outcome.by)):
                os.kill(os.getpid(), signal.SIGUSR2)  # to submitit's handler, which puts the job back
        except UncompletedJobError as error:
            outcome = Outcome("failed")
            why = f"{str(error).rstrip('.')}; launch again to go on, or raise hydra.launcher.max_num_timeout"
            mark(folder, self.name, self.run_id, "failed", why, number_of(env))
        if outcome.state != "finished":
            sys.exit(1)

    def _leave(self, outcome: Any, process: ProcessRank) -> None:
        """End as one of several: quietly where the first one says how the run fares, else for it."""
        if outcome.state != "failed":
            sys.exit(0)
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end:
            status = read_status(Path(self.folder))
            if status and status.attempt == process.attempt and status.state != "running":
                break
            time.sleep(0.5)
        else:
            env, why = submitit.JobEnvironment(), f"process {process.rank} failed, see log.txt"
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


def process_rank_of(env: Any) -> ProcessRank:
    """Which of a job's processes this is, and, for torch, where they meet."""
    hosts = env.hostnames
    again = os.environ.get("SLURM_RESTART_COUNT", "0")
    raw = env.raw_job_id  # of an array's element its own, so that two on one node do not meet
    if env.num_nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a machine's own name need not resolve
    os.environ["MASTER_ADDR"] = hosts[0] if env.num_nodes > 1 else "127.0.0.1"
    os.environ["MASTER_PORT"] = str(10_000 + (int(raw) * 31 + int(again)) % 22_000)  # below the ports that systems give
    return ProcessRank(env.global_rank, env.num_tasks, env.local_rank, attempt=f"{raw}.{again}")


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


def carry_out_stage(study: Path, stage: str, runs: list[Path], job: str) -> Outcome:
    """Carry out one of the study's own stages, with a status and a log of its own."""
    from cpt.study.execute.run_worker import Outcome, log_to, reported
    from cpt.study.plan.stage_jobs import COMPARE
    from cpt.study.state.lease import LAUNCH, Lease, LeaseTakenError
    from cpt.study.state.run_files import PREPARE

    folder = stage_folder(study, stage)
    folder.mkdir(parents=True, exist_ok=True)
    log_to(folder / "log.txt", "")
    work = {PREPARE: lambda reporter: prepare_for(runs, reporter), COMPARE: lambda reporter: compare(study)}[stage]
    try:
        # Another launch may be doing the same: its results are used, and a comparison is then made again.
        with Lease(folder, f"job {job}" if job else LAUNCH, wait=inf):
            return reported(Reporter(folder, stage, stage, job=job), work)
    except LeaseTakenError:
        return Outcome("taken")


def prepare_for(folders: list[Path], reporter: Reporter) -> None:
    """Make the data of runs, and the toy base models, for which each run would otherwise wait."""
    from cpt.console import make_console
    from cpt.study.data.prepare_study import prepare_study
    from cpt.study.execute.stages import prepare_model
    from cpt.study.state.run import Run
    from cpt.study.state.run_files import PREPARE

    runs = [Run.from_folder(folder) for folder in folders]
    reporter.stage(PREPARE)
    for run in {run.model.path: run for run in runs if run.config.checkpoint is None}.values():
        prepare_model(run, reporter)
    for run in runs:
        if not run.trains:
            run.evaluated_model.fetch()
    if trained := [run for run in runs if run.trains]:
        prepare_study(trained, make_console())


def compare(study: Path) -> None:
    """Compare and report what there is now, after any launch that is planning at this moment."""
    from cpt.console import make_console
    from cpt.study.cluster.settle import settle
    from cpt.study.compare.conclude import conclude

    with locked(study / ".lock"):
        settle(study)
        conclude(study, make_console())


def fruitless(folder: Path, attempt: str, job: str) -> int:
    """Record a start of a run's job; returns how often the job has started since the run last got further.

    submitit counts time limits (`max_num_timeout`) and nobody counts preemptions, rightly: only a job that starts
    again and again at one point must not be requeued for ever.
    """
    path = folder / "attempts.json"
    before = read_json(path) if path.exists() else {}
    here = {"job": job, "progress": progress(folder)}
    same = {key: before.get(key) for key in here} == here
    starts = [*(before["starts"] if same else []), attempt]
    write_json(path, {**here, "starts": starts})
    return len(starts)


def progress(folder: Path) -> list[str]:
    """How far a run is: the checkpoints, markers and answers that another start cannot lose."""
    steps = sorted(path.name for path in folder.glob("checkpoints/step-*"))
    markers = sorted(path.name for path in folder.glob("*.done"))
    answers = sum(path.stat().st_size for path in folder.glob("items/*"))
    return [*steps[-1:], *markers, f"{answers} bytes of answers"]

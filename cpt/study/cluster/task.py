"""The task of a cluster's job: one stage of one run, or a stage of the whole study.

submitit pickles these tasks and runs them in every process of the job. They are plain data: a pickle only says which
folder to read. Heavy modules are imported when a task runs, after `preload`, which makes the imports faster.

When SLURM announces a time limit or a preemption, submitit's handler calls `checkpoint` for the next task and requeues
the job. A training handles signals itself, to finish its step and save, and passes the signal on. The job's script
requeues the job (cluster/submission), outside any container, where SLURM's commands are available.
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

TIME_LIMIT_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which SLURM announces a time limit; SIGTERM may also come from a user who cancels the job."""
REQUEUE_FILE = "CPT_AGAIN"
"""Environment variable with a file: if the job's processes create it, the job's script requeues the job."""
MAX_STARTS = 3
"""A job that starts more often than this without progress fails."""
GRACE_SECONDS = 15.0
"""How long a run's other processes wait for the first to write its status before they end the job."""


@dataclass(frozen=True)
class RunTask:
    """A stage of one run, executed by one of the processes of its job."""

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
        from cpt.study.execute import preload  # noqa: F401  # imports faster with garbage collection off
        from cpt.study.execute.run_worker import Job, Outcome, execute_job

        folder = Path(self.folder)
        if process.rank == 0 and (starts := fruitless_starts(folder, process.attempt, env.job_id)) > MAX_STARTS:
            reason = f"started {starts} times in job {env.job_id} without progress; see its log"
            write_job_state(folder, self.name, self.run_id, "failed", reason, job_id_of(env))
            sys.exit(1)
        job = Job(folder, self.name, self.run_id, self.tracking, process, (self.stage,), job_id_of(env))
        try:
            outcome = execute_job(job)
            if process.rank:
                self._exit(outcome, process)
            elif outcome.machine or (outcome.state == "stopped" and may_resume(env, outcome.by)):
                os.kill(os.getpid(), signal.SIGUSR2)  # to submitit's handler, which requeues the job
        except UncompletedJobError as error:
            outcome = Outcome("failed")
            reason = f"{str(error).rstrip('.')}; launch again to resume, or raise hydra.launcher.max_num_timeout"
            write_job_state(folder, self.name, self.run_id, "failed", reason, job_id_of(env))
        if outcome.state != "finished":
            sys.exit(1)

    def _exit(self, outcome: Any, process: ProcessRank) -> None:
        """End a process that is not the first; write the run's status if the first process does not."""
        if outcome.state != "failed":
            sys.exit(0)
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end:
            status = read_status(Path(self.folder))
            if status and status.attempt == process.attempt and status.state != "running":
                break
            time.sleep(0.5)
        else:
            env, reason = submitit.JobEnvironment(), f"process {process.rank} failed, see log.txt"
            if again := outcome.machine and REQUEUE_FILE in os.environ:
                Path(os.environ[REQUEUE_FILE]).touch()
            state = "submitted" if again else "failed"
            write_job_state(Path(self.folder), self.name, self.run_id, state, reason, job_id_of(env))
        sys.exit(1)  # and SLURM ends the others

    def checkpoint(self) -> DelayedSubmission:
        """The task of the requeued job: the same, which resumes from what is on disk."""
        write_job_state(
            Path(self.folder), self.name, self.run_id, "submitted", BACK, job_id_of(submitit.JobEnvironment())
        )
        return DelayedSubmission(self)


@dataclass(frozen=True)
class StudyTask:
    """A stage of a whole study, executed by one process: preparing its data or comparing its runs."""

    study: str
    stage: str
    runs: tuple[str, ...]
    """Folders of the stage's runs."""

    @property
    def folder(self) -> Path:
        return stage_folder(Path(self.study), self.stage)

    def __call__(self) -> None:
        env = submitit.JobEnvironment()
        handle_signals(env)
        from cpt.study.execute import preload  # noqa: F401

        outcome = execute_stage(Path(self.study), self.stage, [Path(run) for run in self.runs], job_id_of(env))
        if outcome.state == "stopped" and may_resume(env, outcome.by):
            os.kill(os.getpid(), signal.SIGUSR2)
        if outcome.state != "finished":
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        write_job_state(self.folder, self.stage, self.stage, "submitted", BACK, job_id_of(submitit.JobEnvironment()))
        return DelayedSubmission(self)


def job_id_of(env: Any) -> str:
    """The job id in SLURM's queue; empty for a process of this machine."""
    return str(env.job_id) if env.cluster == "slurm" else ""


def stage_folder(study: Path, stage: str) -> Path:
    """The folder with status and log of a study's own stage."""
    return study / ".jobs" / stage


def write_job_state(folder: Path, name: str, run_id: str, state: str, reason: str | None, job: str) -> None:
    """Write the state of its job to a folder's status."""
    status = read_status(folder) or Status(name, run_id)
    status.state, status.error, status.job = state, reason, job
    write_status(folder, status)


def process_rank_of(env: Any) -> ProcessRank:
    """The rank of this process in its job; also sets the address by which torch connects the processes."""
    hosts = env.hostnames
    again = os.environ.get("SLURM_RESTART_COUNT", "0")
    raw = env.raw_job_id  # each array element has its own, so that two on one node use different ports
    if env.num_nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the hostname may not resolve
    os.environ["MASTER_ADDR"] = hosts[0] if env.num_nodes > 1 else "127.0.0.1"
    os.environ["MASTER_PORT"] = str(10_000 + (int(raw) * 31 + int(again)) % 22_000)  # below the ephemeral ports
    return ProcessRank(env.global_rank, env.num_tasks, env.local_rank, attempt=f"{raw}.{again}")


class RequeueByScript(SlurmJobEnvironment):
    """SLURM's environment in which the job's script requeues the job, not this process."""

    def _requeue(self, countdown: int) -> None:
        Path(os.environ[REQUEUE_FILE]).touch()
        log.info("requested that the job's script requeues job %s (%d timeouts left)", self.job_id, countdown)


def handle_signals(env: Any) -> None:
    """Handle signals outside a training, when all progress is on disk already."""
    handler = getattr(signal.getsignal(signal.SIGUSR2), "__self__", None)
    if env.cluster == "slurm" and isinstance(handler, SignalHandler):
        handler.env = RequeueByScript()

    def terminated(*_: object) -> None:
        if may_resume(env, signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGUSR2)
        else:
            sys.exit(1)

    signal.signal(signal.SIGTERM, terminated)


def may_resume(env: Any, by: signal.Signals | None) -> bool:
    """Whether a stopped job may resume later.

    SLURM preempts some jobs with SIGTERM only, which scancel also sends; the job's script asks SLURM, and requeues only
    jobs that were not cancelled.
    """
    return env.cluster == "slurm" or by in TIME_LIMIT_SIGNALS


def execute_stage(study: Path, stage: str, runs: list[Path], job: str) -> Outcome:
    """Execute one of the study's own stages, with its own status and log."""
    from cpt.study.execute.run_worker import Outcome, execute_reported, log_to
    from cpt.study.plan.stage_jobs import COMPARE
    from cpt.study.state.lease import LAUNCH, Lease, LeaseTakenError
    from cpt.study.state.run_files import PREPARE

    folder = stage_folder(study, stage)
    folder.mkdir(parents=True, exist_ok=True)
    log_to(folder / "log.txt", "")
    work = {PREPARE: lambda reporter: prepare_for(runs, reporter), COMPARE: lambda reporter: compare(study)}[stage]
    try:
        # Another launch may execute the same stage: its data is reused, a comparison is repeated.
        with Lease(folder, f"job {job}" if job else LAUNCH, wait=inf):
            return execute_reported(Reporter(folder, stage, stage, job=job), work)
    except LeaseTakenError:
        return Outcome("taken")


def prepare_for(folders: list[Path], reporter: Reporter) -> None:
    """Prepare the data of runs, and the toy base models, for which each run would otherwise wait."""
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
    """Compare and report the finished runs; waits for a launch that is being planned."""
    from cpt.console import make_console
    from cpt.study.cluster.settle import settle
    from cpt.study.compare.conclude import conclude

    with locked(study / ".lock"):
        settle(study)
        conclude(study, make_console())


def fruitless_starts(folder: Path, attempt: str, job: str) -> int:
    """Record a start of a run's job; returns how often the job has started since the run last made progress.

    submitit counts time limits (`max_num_timeout`); preemptions need no limit, but a job that starts again and again
    without progress must not be requeued for ever.
    """
    path = folder / "attempts.json"
    before = read_json(path) if path.exists() else {}
    current = {"job": job, "progress": progress(folder)}
    same = {key: before.get(key) for key in current} == current
    starts = [*(before["starts"] if same else []), attempt]
    write_json(path, {**current, "starts": starts})
    return len(starts)


def progress(folder: Path) -> list[str]:
    """The progress of a run: checkpoints, markers and answers, which another start does not lose."""
    steps = sorted(path.name for path in folder.glob("checkpoints/step-*"))
    markers = sorted(path.name for path in folder.glob("*.done"))
    answers = sum(path.stat().st_size for path in folder.glob("items/*"))
    return [*steps[-1:], *markers, f"{answers} bytes of answers"]

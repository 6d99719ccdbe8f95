"""Submits the unfinished jobs of a study to its cluster and, if requested, waits until the last one has ended."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cpt.config import HardwareConfig, StudyConfig
from cpt.errors import UserError, config_error
from cpt.files import write_text
from cpt.processes import interrupted_by, usable_cores
from cpt.run_keys import run_name
from cpt.study.cluster.job_record import SubmittedJob, record_jobs
from cpt.study.cluster.limits import limit_mistakes
from cpt.study.cluster.local_queue import LocalQueue
from cpt.study.cluster.queue import GONE, cancel, slurm_present, states
from cpt.study.cluster.snapshot import take_snapshot
from cpt.study.cluster.submission import sbatch_texts, submit
from cpt.study.cluster.task import stage_folder, write_job_state
from cpt.study.execute.local import save_runs
from cpt.study.execute.progress import Progress
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob, job_plan, processes_of_job, refuse_unknown
from cpt.study.state.lease import LAUNCH, Lease
from cpt.study.state.run import Run
from cpt.study.state.run_files import PREPARE, TRAIN
from cpt.study.state.run_status import now, read_status
from cpt.train.signals import STOP_SIGNALS

Submitted = list[SubmittedJob] | LocalQueue
POLL_SECONDS = 5.0
"""Time between two queries of the queue while waiting; a cluster's controller serves many users."""
MAX_FAILED_POLLS = 60
"""How many times in a row the queue may fail to answer."""


class ClusterExecutor:
    """Runs the stages of a study as jobs. `launcher` has the keys of hydra-submitit-launcher and three of our own."""

    notice = ""

    def __init__(self, launcher: Mapping[str, Any]) -> None:
        self.launcher = dict(launcher)
        self.submitted: Submitted | None = None

    @property
    def local(self) -> bool:
        """Whether jobs are processes of this machine instead of a cluster."""
        return bool(self.launcher.get("cluster") == "local")

    def configure(self, configs: list[StudyConfig]) -> list[StudyConfig]:
        """The configurations, each with the number of processes of its training job."""
        configured = []
        for config in configs:
            processes = processes_of_job(self.launcher, config.hardware, TRAIN, run_name(config))
            if config.hardware.processes not in (None, processes):
                reason = f"a training job has nodes × tasks_per_node = {processes} processes; set hydra.launcher's keys"
                raise config_error("hardware.processes", config.hardware.processes, reason)
            configured.append(replace(config, hardware=replace(config.hardware, processes=processes)))
        return configured

    def slots(self, hardware: HardwareConfig) -> int:
        """How many runs may run at a time: the limit of an array."""
        if self.local:
            return hardware.slots or usable_cores()
        return int(self.launcher.get("array_parallelism") or 256)

    def check(self, runs: list[Run]) -> None:
        """Refuse jobs that the cluster would refuse or never start."""
        hardware = runs[0].config.hardware
        if not self.local and not slurm_present() and not runs[0].config.dry_run:
            reason = "there is no sbatch on this machine; run this on the cluster, or choose hardware=local"
            raise config_error("hardware", hardware.name, reason)
        refuse_unknown(hardware, runs)
        jobs = self.remaining_jobs(runs)
        if mistakes := limit_mistakes(jobs, hardware.partitions):
            raise UserError("\n".join(map(str, mistakes)))
        sbatch_texts(jobs, self.launcher)  # an unknown key of a job is an error

    def remaining_jobs(self, runs: list[Run]) -> list[StageJob]:
        """The jobs of unfinished runs, base models first."""
        todo = [run for run in runs if not run.state.finished]
        untrained = [run for run in todo if run.trains and not run.state.done(TRAIN)]
        unprepared = [run for run in untrained if not run.state.done(PREPARE)]
        toys = [run for run in todo if run.model.toy and not run.model.folder.exists()]
        missing = [run for run in todo if not run.trains and not run.evaluated_model.present]
        prepared = list({run.run_id: run for run in [*unprepared, *toys, *missing]}.values())
        if runs[0].config.prepare_only:
            return job_plan(self.launcher, prepared, [], [])[:1]
        return job_plan(self.launcher, prepared, untrained, todo)

    def all_jobs(self, runs: list[Run]) -> list[StageJob]:
        return job_plan(self.launcher, [], runs, runs)

    def preview(self, runs: list[Run], console: Console) -> None:
        """Write the job scripts to files."""
        jobs = self.remaining_jobs(runs)
        folder = runs[0].folder.parent / ".jobs" / "dry-run"
        for name, text in sbatch_texts(jobs, self.launcher).items():
            write_text(folder / f"{name}.sh", text)
        if jobs:
            names = ", ".join(f"{job.name}" + (f" [{job.elements}]" if job.elements > 1 else "") for job in jobs)
            console.print(f"Jobs: {names}; their scripts are in {folder}", highlight=False, soft_wrap=True)

    def prepare(self, runs: list[Run], console: Console) -> None:
        """Data is made by a job."""

    def run(self, todo: list[Run], runs: list[Run], console: Console) -> None:
        """Submit the jobs of unfinished runs."""
        from cpt.results.tracking.destinations import resolve_mode

        jobs = self.remaining_jobs(todo) if todo else []
        if jobs:
            save_runs(todo, console)
            tracking = resolve_mode(todo[0].config.tracking.mode, console.print)
            self.submitted = submit_all(self, jobs, tracking, console)

    def wait(self, runs: list[Run], console: Console) -> bool:
        """Wait for the last job, if that is requested or the jobs are processes of this machine."""
        study, config = runs[0].folder.parent, runs[0].config
        if self.submitted is None:
            if not (finished := all(run.state.finished for run in runs)):
                text = f"Nothing is left to submit; `cpt status {study.name}` shows the state of its runs."
                console.print(text, soft_wrap=True)
            return finished
        if not (config.wait or self.local):
            text = f"`cpt status {study.name}` and `cpt logs` show its state, `cpt cancel` stops it."
            if not config.prepare_only:
                text += f" The comparison will be in {study / 'report.html'}."
            console.print(f"{text} The same command again submits only what is missing.", soft_wrap=True)
            return False
        with Lease(study, LAUNCH) if self.local else nullcontext():
            follow(self.submitted, runs, self.slots(config.hardware), console)
        return True


def submit_all(executor: ClusterExecutor, jobs: list[StageJob], tracking: str, console: Console) -> Submitted:
    """Submit the jobs and record each as soon as it is submitted."""
    study = jobs[0].runs[0].folder.parent
    code = take_snapshot(study).resolve()
    if executor.local:
        queue = LocalQueue(executor.launcher, code, executor.slots(jobs[0].runs[0].config.hardware))
        queue.add(jobs, tracking)
        return queue
    ids: dict[str, str] = {}
    arrays = {job.name: job.elements > 1 for job in jobs}
    submitted: list[SubmittedJob] = []
    for job in jobs:
        try:
            ids[job.name] = submit(job, executor.launcher, code, tracking, ids, arrays)
        except UserError:  # else only a part of the study would run
            cancel([before.job for before in submitted])
            raise
        submitted.append(_record(study, job, ids[job.name], code))
    shown = [f"{job.name} {ids[job.name]}" + (f" [{job.elements}]" if job.elements > 1 else "") for job in jobs]
    console.print(f"Submitted: {', '.join(shown)}", highlight=False, soft_wrap=True)
    return submitted


def _record(study: Path, job: StageJob, number: str, code: Path) -> SubmittedJob:
    own = job.stage in OF_A_STUDY
    elements = [] if own else [run.run_id for run in job.runs]
    record = SubmittedJob(
        name=job.name,
        stage=job.stage,
        job=number,
        elements=elements,
        array=job.elements > 1,
        cluster="slurm",
        submitted=now(),
        by=getpass.getuser(),
        snapshot=code.name,
    )
    record_jobs(study, [record])
    if own:
        write_job_state(stage_folder(study, job.stage), job.stage, job.stage, "submitted", None, number)
    for run, element in () if own else zip(job.runs, record.ids, strict=True):
        status = read_status(run.folder)
        if status is None or status.state == "planned":
            write_job_state(run.folder, run.name, run.run_id, "submitted", None, element)
    return record


def follow(jobs: Submitted, runs: list[Run], slots: int, console: Console) -> None:
    """Show the state of every run until the last job has ended; on a cluster Ctrl-C only stops watching."""
    todo = [run for run in runs if not run.state.finished]
    with Progress(todo, len(runs) - len(todo), slots, console) as progress, interrupted_by(*STOP_SIGNALS):
        if isinstance(jobs, LocalQueue):
            _run_queue(jobs, todo, progress.update)
            return
        try:
            _watch(jobs, todo, progress, console)
        except KeyboardInterrupt:
            study = runs[0].folder.parent.name
            console.print(
                f"Stopped watching; jobs keep running. `cpt status {study}` shows and `cpt cancel {study}` stops them."
            )
            sys.exit(130)


def _watch(submitted: list[SubmittedJob], todo: list[Run], progress: Progress, console: Console) -> None:
    """Update the progress until none of these jobs is in the queue."""
    job_ids, failed_polls = [number for job in submitted for number in job.ids], 0
    while failed_polls < MAX_FAILED_POLLS:
        progress.update(_working(todo))
        time.sleep(POLL_SECONDS)
        try:
            if all(state == GONE for state in states(job_ids).values()):
                break
            failed_polls = 0
        except UserError as error:  # the controller may be busy or restarting
            failed_polls += 1
            console.print(str(error), highlight=False, markup=False)
    progress.update([])


def _run_queue(queue: LocalQueue, runs: list[Run], watch: Callable[[list[Run]], None]) -> None:
    try:
        while queue.advance():
            time.sleep(0.2)
            watch(_working(runs))
        watch([])
    finally:
        queue.stop()


def _working(runs: list[Run]) -> list[Run]:
    """Runs that have started and not ended: running, or between the jobs of two stages."""
    working = []
    for run in runs:
        status = read_status(run.folder)
        if status is not None and status.started and status.state in ("running", "submitted"):
            working.append(run)
    return working

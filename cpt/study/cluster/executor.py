"""Submits what is left of a study to its cluster, and, where that is asked, stays until the last job has ended."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cpt.config import HardwareConfig, StudyConfig
from cpt.errors import UserError, config_error, some
from cpt.files import write_text
from cpt.keys import run_name
from cpt.processes import interrupted_by, usable_cores
from cpt.study.cluster.job_record import SubmittedJob, record_jobs
from cpt.study.cluster.limits import limit_mistakes
from cpt.study.cluster.local_queue import LocalQueue
from cpt.study.cluster.queue import GONE, cancel, slurm_present, states
from cpt.study.cluster.settle import settle
from cpt.study.cluster.snapshot import take_snapshot
from cpt.study.cluster.submission import sbatch_texts, submit
from cpt.study.cluster.task import mark, stage_folder
from cpt.study.execute.progress import Progress
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob, job_plan, processes_of_job, refuse_unknown
from cpt.study.state.lease import holder
from cpt.study.state.run import PREPARE, TRAIN, Run
from cpt.study.state.run_status import Status, now, read_status, write_status
from cpt.train.signals import STOP_SIGNALS

Sent = list[SubmittedJob] | LocalQueue
POLL_SECONDS = 5.0
"""How often the queue is asked while somebody waits; a cluster's controller serves many."""
PATIENCE = 60
"""So many times in a row the queue may not answer."""


class ClusterExecutor:
    """Where the stages of a study are jobs. `launcher` has the keys of hydra-submitit-launcher, and three of ours."""

    notice = ""

    def __init__(self, launcher: Mapping[str, Any]) -> None:
        self.launcher = dict(launcher)

    @property
    def local(self) -> bool:
        """Whether jobs are processes of this machine instead of a cluster's."""
        return bool(self.launcher.get("cluster") == "local")

    def fitted(self, configs: list[StudyConfig]) -> list[StudyConfig]:
        """The configurations, with as many processes a run as its training job has."""
        found = []
        for config in configs:
            processes = processes_of_job(self.launcher, config.hardware, TRAIN, run_name(config))
            if config.hardware.processes not in (None, processes):
                reason = f"a training job has nodes × tasks_per_node = {processes} processes; set hydra.launcher's keys"
                raise config_error("hardware.processes", config.hardware.processes, reason)
            found.append(replace(config, hardware=replace(config.hardware, processes=processes)))
        return found

    def slots(self, hardware: HardwareConfig) -> int:
        """Runs at a time, as far as that is known: what an array may run at once."""
        if self.local:
            return hardware.slots or usable_cores()
        return int(self.launcher.get("array_parallelism") or 256)

    def refuse(self, runs: list[Run]) -> None:
        """What a cluster would refuse, or let wait for ever, is said before any work."""
        hardware = runs[0].config.hardware
        if not self.local and not slurm_present() and not runs[0].config.dry_run:
            reason = "there is no sbatch on this machine; run this on the cluster, or choose hardware=local"
            raise config_error("hardware", hardware.name, reason)
        refuse_unknown(hardware, runs)
        jobs = self.jobs(runs)
        if mistakes := limit_mistakes(jobs, hardware.partitions):
            raise UserError("\n".join(map(str, mistakes)))
        sbatch_texts(jobs, self.launcher)  # says which key there is none of

    def jobs(self, runs: list[Run]) -> list[StageJob]:
        """The jobs for what is left to do of runs, base models first among them."""
        todo = [run for run in runs if not run.finished]
        untrained = [run for run in todo if run.trains and not run.done(TRAIN)]
        toys = [run for run in todo if run.model.toy and not run.model.folder.exists()]
        fetched = [run for run in todo if not run.trains and not run.evaluated_model.present]
        unprepared = [run for run in untrained if not run.done(PREPARE)]
        prepared = list({run.run_id: run for run in [*unprepared, *toys, *fetched]}.values())
        if runs[0].config.prepare_only:
            return job_plan(self.launcher, prepared, [], [])[:1]
        return job_plan(self.launcher, prepared, untrained, todo)

    def all_jobs(self, runs: list[Run]) -> list[StageJob]:
        """The jobs of training and evaluating runs, whatever of it is done already."""
        return job_plan(self.launcher, [], runs, runs)

    def show(self, runs: list[Run], console: Console) -> None:
        """What the cluster would get, as files to look at."""
        jobs = self.jobs(runs)
        folder = runs[0].folder.parent / ".jobs" / "dry-run"
        for name, text in sbatch_texts(jobs, self.launcher).items():
            write_text(folder / f"{name}.sh", text)
        if jobs:
            told = ", ".join(f"{job.name}" + (f" [{job.elements}]" if job.elements > 1 else "") for job in jobs)
            console.print(f"Jobs: {told}; what SLURM would get is in {folder}", highlight=False, soft_wrap=True)

    def send(self, runs: list[Run], console: Console) -> Sent | None:
        """Submit what nobody is at; none where nothing is left to do."""
        from cpt.results.tracking.mirror import resolve_mode

        free = left_alone(runs[0].folder.parent, runs, console)
        jobs = self.jobs(free) if free else []
        if not jobs:
            return None
        for run in (run for run in free if not run.finished):
            run.save_config()
            write_status(run.folder, Status(run.name, run.run_id))
        tracking = resolve_mode(runs[0].config.tracking.mode, console.print)
        return submit_all(self, jobs, tracking, console)

    def stay(self, sent: Sent, runs: list[Run], console: Console) -> None:
        follow(sent, runs, self.slots(runs[0].config.hardware), console)


def left_alone(study: Path, runs: list[Run], console: Console) -> list[Run]:
    """The runs that nobody else is at; those of a job in the queue, or of a live process, are theirs."""
    queued = settle(study).queued
    free: list[Run] = []
    taken: list[Run] = []
    for run in runs:
        held = holder(run.folder)
        busy = (held is not None and held.alive) or run.run_id in queued
        (taken if busy and not run.finished else free).append(run)
    if taken:
        names = some(run.run_id for run in taken)
        console.print(f"In the queue or running already, left alone: {names}", soft_wrap=True)
    return free


def submit_all(executor: ClusterExecutor, jobs: list[StageJob], tracking: str, console: Console) -> Sent:
    """Send the jobs off, each recorded as soon as SLURM has it."""
    study = jobs[0].runs[0].folder.parent
    code = take_snapshot(study).resolve()
    if executor.local:
        queue = LocalQueue(executor.launcher, code, executor.slots(jobs[0].runs[0].config.hardware))
        queue.add(jobs, tracking)
        return queue
    ids: dict[str, str] = {}
    arrays = {job.name: job.elements > 1 for job in jobs}
    sent: list[SubmittedJob] = []
    for job in jobs:
        try:
            ids[job.name] = submit(job, executor.launcher, code, tracking, ids, arrays)
        except UserError:  # half a study would go on without its end
            cancel([before.job for before in sent])
            raise
        sent.append(_record(study, job, ids[job.name], code))
    shown = [f"{job.name} {ids[job.name]}" + (f" [{job.elements}]" if job.elements > 1 else "") for job in jobs]
    console.print(f"Submitted: {', '.join(shown)}", highlight=False, soft_wrap=True)
    return sent


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
        mark(stage_folder(study, job.stage), job.stage, job.stage, "submitted", None, number)
    for run, element in () if own else zip(job.runs, record.ids, strict=True):
        status = read_status(run.folder)
        if status is None or status.state == "planned":
            mark(run.folder, run.name, run.run_id, "submitted", None, element)
    return record


def follow(sent: Sent, runs: list[Run], slots: int, console: Console) -> None:
    """Stay until the last job has ended, showing where every run is; on a cluster Ctrl-C only stops the watching."""
    todo = [run for run in runs if not run.finished]
    with Progress(todo, len(runs) - len(todo), slots, console) as progress, interrupted_by(*STOP_SIGNALS):
        if isinstance(sent, LocalQueue):
            _drive(sent, todo, progress.update)
            return
        try:
            _watch(sent, todo, progress, console)
        except KeyboardInterrupt:
            study = runs[0].folder.parent.name
            console.print(
                f"No longer watching; the jobs go on. `cpt status {study}` shows, `cpt cancel {study}` stops them."
            )
            sys.exit(130)


def _watch(sent: list[SubmittedJob], todo: list[Run], progress: Progress, console: Console) -> None:
    """Until the queue has none of these jobs any more."""
    numbers, silent = [number for job in sent for number in job.ids], 0
    while silent < PATIENCE:
        progress.update(_working(todo))
        time.sleep(POLL_SECONDS)
        try:
            if all(state == GONE for state in states(numbers).values()):
                break
            silent = 0
        except UserError as error:  # its controller may be busy, or start anew
            silent += 1
            console.print(str(error), highlight=False, markup=False)
    progress.update([])


def _drive(queue: LocalQueue, runs: list[Run], watch: Callable[[list[Run]], None]) -> None:
    try:
        while queue.advance():
            time.sleep(0.2)
            watch(_working(runs))
        watch([])
    finally:
        queue.stop()


def _working(runs: list[Run]) -> list[Run]:
    """Runs that are not at their end: working, or between the jobs of two stages."""
    found = []
    for run in runs:
        status = read_status(run.folder)
        if status is not None and status.started and status.state in ("running", "submitted"):
            found.append(run)
    return found

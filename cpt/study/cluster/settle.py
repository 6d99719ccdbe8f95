"""Marks runs as failed whose job was killed by the system or the cluster and could not write their status."""

from __future__ import annotations

import getpass
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from cpt.errors import UserError, some
from cpt.study.cluster.job_record import known_jobs, last_jobs
from cpt.study.cluster.queue import GONE, states
from cpt.study.state.lease import holder
from cpt.study.state.run import Run
from cpt.study.state.run_files import TRAIN
from cpt.study.state.run_status import BACK, Status, read_status, write_status

log = logging.getLogger(__name__)

OPEN = ("running", "submitted")
"""States in which a run must have a process or a queued job."""
_MEMORY = re.compile(r"oom.?kill|out of memory", re.IGNORECASE)


@dataclass(frozen=True)
class Settled:
    """Ids of runs, after looking for their processes and jobs."""

    failed: list[str] = field(default_factory=list)
    """Marked as failed now: their status says running or submitted, but they have no process and no job."""
    queued: set[str] = field(default_factory=set)
    """With a job that may still start, or start again, whatever their status says."""


def settle(study: Path) -> Settled:
    """Mark as failed the runs whose status says running or submitted but that have neither a process nor a job."""
    jobs, open_runs, settled = last_jobs(known_jobs(study)), dict[Path, set[str]](), Settled()
    for path in sorted(study.glob("*/status.json")):
        folder = path.parent
        status, lease_holder = read_status(folder), holder(folder)
        if status is None or status.state == "finished" or (lease_holder and lease_holder.alive):
            continue
        last = jobs.get(folder.name, {})
        if any(job.by != getpass.getuser() for _, job in last.values()):
            if status.state in OPEN:  # another user's jobs, which the queue may hide
                settled.queued.add(folder.name)
            continue
        job_ids = {number for number, job in last.values() if job.cluster == "slurm"}
        if job_ids or status.state in OPEN:
            open_runs[folder] = job_ids
    try:
        in_queue = states({job for job_ids in open_runs.values() for job in job_ids})
    except UserError as error:  # SLURM's commands are not available in a container
        log.warning("%s; runs whose job is gone keep their status", error)
        settled.queued.update(folder.name for folder, job_ids in open_runs.items() if job_ids)
        return settled
    for folder, job_ids in open_runs.items():
        status, lease_holder = read_status(folder), holder(folder)  # SLURM may have taken a minute to answer
        if any(in_queue.get(job, GONE) != GONE for job in job_ids):
            settled.queued.add(folder.name)
        elif status is not None and status.state in OPEN and not (lease_holder and lease_holder.alive):
            status.error, status.state = _failure_reason(study, folder, status), "failed"
            write_status(folder, status)
            settled.failed.append(folder.name)
    return settled


def available_runs(study: Path, runs: list[Run], console: Console) -> list[Run]:
    """The unfinished runs that no other process or queued job is working on."""
    queued = settle(study).queued
    todo, busy = list[Run](), list[Run]()
    for run in runs:
        if not run.state.finished:
            lease_holder = holder(run.folder)
            (busy if (lease_holder is not None and lease_holder.alive) or run.run_id in queued else todo).append(run)
    if busy:
        names = some(run.run_id for run in busy)
        console.print(f"Already in the queue or running, skipped: {names}", soft_wrap=True)
    return todo


def _failure_reason(study: Path, folder: Path, status: Status) -> str:
    if status.error == BACK:
        return f"its job left the queue before it could resume (cancelled?); saved at step {status.step:,}"
    if status.state == "submitted":
        what = "its evaluation" if (folder / f"{TRAIN}.done").exists() else "it"
        return f"{what} never started: a job that it depends on failed, or its own job was cancelled"
    output = "".join(
        path.read_text(encoding="utf-8", errors="replace")[-4000:] for path in _job_outputs(study, status.job)
    )
    why = "out of memory" if _MEMORY.search(output) else "its job ended without writing a status (killed?)"
    return f"{why}; the last lines of {folder / 'log.txt'} may say more"


def _job_outputs(study: Path, job: str) -> list[Path]:
    """Output files of a job by SLURM and submitit."""
    return sorted((study / ".submitit" / job).glob("*_log.*")) if job else []

"""Runs whose job ended without a word, killed by the system or the cluster: somebody else must say so."""

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
"""States that somebody must be behind."""
_MEMORY = re.compile(r"oom.?kill|out of memory", re.IGNORECASE)


@dataclass(frozen=True)
class Settled:
    """Ids of runs, after their jobs were looked for."""

    failed: list[str] = field(default_factory=list)
    """Marked as failed now: nobody is at them, though they claim it."""
    queued: set[str] = field(default_factory=set)
    """With a job that may yet start, or start anew, whatever their status says."""


def settle(study: Path) -> Settled:
    """Mark as failed what claims to be running or waiting and has neither a process nor a job."""
    jobs, open_runs, found = last_jobs(known_jobs(study)), dict[Path, set[str]](), Settled()
    for path in sorted(study.glob("*/status.json")):
        folder = path.parent
        status, held = read_status(folder), holder(folder)
        if status is None or status.state == "finished" or (held and held.alive):
            continue
        last = jobs.get(folder.name, {})
        if any(job.by != getpass.getuser() for _, job in last.values()):
            if status.state in OPEN:  # another's jobs, which the queue need not show
                found.queued.add(folder.name)
            continue
        numbers = {number for number, job in last.values() if job.cluster == "slurm"}
        if numbers or status.state in OPEN:
            open_runs[folder] = numbers
    try:
        in_queue = states({job for numbers in open_runs.values() for job in numbers})
    except UserError as error:  # in a container there are no commands of SLURM's
        log.warning("%s; runs whose job is gone stay as they are", error)
        found.queued.update(folder.name for folder, numbers in open_runs.items() if numbers)
        return found
    for folder, numbers in open_runs.items():
        status, held = read_status(folder), holder(folder)  # SLURM may have taken a minute to answer
        if any(in_queue.get(job, GONE) != GONE for job in numbers):
            found.queued.add(folder.name)
        elif status is not None and status.state in OPEN and not (held and held.alive):
            status.error, status.state = _why(study, folder, status), "failed"
            write_status(folder, status)
            found.failed.append(folder.name)
    return found


def available_runs(study: Path, runs: list[Run], console: Console) -> list[Run]:
    """The unfinished runs that no other process or queued job is working on."""
    queued = settle(study).queued
    todo, busy = list[Run](), list[Run]()
    for run in runs:
        if not run.state.finished:
            held = holder(run.folder)
            (busy if (held is not None and held.alive) or run.run_id in queued else todo).append(run)
    if busy:
        names = some(run.run_id for run in busy)
        console.print(f"In the queue or running already, left alone: {names}", soft_wrap=True)
    return todo


def _why(study: Path, folder: Path, status: Status) -> str:
    if status.error == BACK:
        return f"left the queue before it could go on (cancelled?); saved at step {status.step:,}"
    if status.state == "submitted":
        what = "its evaluation" if (folder / f"{TRAIN}.done").exists() else "it"
        return f"{what} never started: what it waits for failed, or its job was cancelled"
    said = "".join(path.read_text(encoding="utf-8", errors="replace")[-4000:] for path in _outputs(study, status.job))
    why = "out of memory" if _MEMORY.search(said) else "its job ended without a word (killed? a node lost?)"
    return f"{why}; the last lines of {folder / 'log.txt'} may say more"


def _outputs(study: Path, job: str) -> list[Path]:
    """What SLURM and submitit wrote of a job."""
    return sorted((study / ".submitit" / job).glob("*_log.*")) if job else []

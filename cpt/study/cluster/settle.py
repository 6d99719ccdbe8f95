"""Runs whose job ended without a word, killed by the system or the cluster: somebody else must say so."""

from __future__ import annotations

import getpass
import logging
import re
from pathlib import Path

from cpt.errors import UserError
from cpt.study.cluster.queue import GONE, states
from cpt.study.cluster.record import known_jobs, last_jobs
from cpt.study.lease import holder
from cpt.study.status import read_status, write_status

log = logging.getLogger(__name__)

_MEMORY = re.compile(r"oom.?kill|out of memory", re.IGNORECASE)


def settle(study: Path) -> list[str]:
    """Mark as failed what claims to be running or waiting and has neither a process nor a job. Returns run ids."""
    open_runs: dict[Path, set[str]] = {}
    jobs = last_jobs(known_jobs(study))
    for path in sorted(study.glob("*/status.json")):
        folder = path.parent
        status = read_status(folder)
        if status is None or status.state not in ("running", "submitted"):
            continue
        if (held := holder(folder)) and held.alive:
            continue
        last = jobs.get(folder.name, {})
        if any(job.by != getpass.getuser() for _, job in last.values()):
            continue  # another's jobs, which the queue need not show
        numbers = {number for number, job in last.values() if job.cluster == "slurm"}
        open_runs[folder] = numbers | ({status.job} if status.job else set())
    try:
        in_queue = states({job for numbers in open_runs.values() for job in numbers})
    except UserError as error:  # in a container there are no commands of SLURM's
        log.warning("%s; runs whose job is gone stay as they are", error)
        return []
    settled = []
    for folder, numbers in open_runs.items():
        status, held = read_status(folder), holder(folder)  # SLURM may have taken a minute to answer
        if status is None or status.state not in ("running", "submitted") or (held and held.alive):
            continue
        if all(in_queue.get(job, GONE) == GONE for job in numbers):
            status.error = _why(study, folder, status.state, status.job)
            status.state = "failed"
            write_status(folder, status)
            settled.append(folder.name)
    return settled


def _why(study: Path, folder: Path, state: str, job: str) -> str:
    if state == "submitted":
        return "never started: what it waits for failed, or its job was cancelled"
    said = "".join(path.read_text(encoding="utf-8", errors="replace")[-4000:] for path in _outputs(study, job))
    why = "out of memory" if _MEMORY.search(said) else "its job ended without a word (killed? a node lost?)"
    return f"{why}; the last lines of {folder / 'log.txt'} may say more"


def _outputs(study: Path, job: str) -> list[Path]:
    """What SLURM and submitit wrote of a job."""
    return sorted((study / ".submitit" / job).glob("*_log.*")) if job else []

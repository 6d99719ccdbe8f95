"""Runs whose job ended without a word, killed by the system or the cluster: somebody else must say so."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from cpt.study.cluster.queue import GONE, states
from cpt.study.cluster.record import job_of, known_jobs
from cpt.study.lease import holder
from cpt.study.run import EVALUATE, TRAIN
from cpt.study.status import read_status, write_status

_MEMORY = re.compile(r"oom.?kill|out of memory", re.IGNORECASE)


def settle(study: Path) -> list[str]:
    """Mark as failed what claims to be running or waiting and has neither a process nor a job. Returns run ids."""
    open_runs: dict[Path, set[str]] = {}
    for path in sorted(study.glob("*/status.json")):
        folder = path.parent
        status = read_status(folder)
        if status is None or status.state not in ("running", "submitted"):
            continue
        if (held := holder(folder)) and held.alive:
            continue
        if any(job.by != getpass.getuser() and folder.name in job.elements for job in known_jobs(study)):
            continue  # another's jobs, which the queue need not show
        jobs = {job for stage in (TRAIN, EVALUATE) if (job := job_of(study, folder.name, stage))}
        open_runs[folder] = jobs | ({status.job} if status.job else set())
    in_queue = states({job for jobs in open_runs.values() for job in jobs})
    gone = [folder for folder, jobs in open_runs.items() if all(in_queue.get(job, GONE) == GONE for job in jobs)]
    for folder in gone:
        status = read_status(folder)
        assert status is not None, "it was just read"
        status.error = _why(study, folder, status.state, status.job)
        status.state = "failed"
        write_status(folder, status)
    return [folder.name for folder in gone]


def _why(study: Path, folder: Path, state: str, job: str) -> str:
    if state == "submitted":
        return "never started: what it waits for failed, or its job was cancelled"
    said = "".join(path.read_text(encoding="utf-8", errors="replace")[-4000:] for path in _outputs(study, job))
    why = "out of memory" if _MEMORY.search(said) else "its job ended without a word (killed? a node lost?)"
    return f"{why}; the last lines of {folder / 'log.txt'} may say more"


def _outputs(study: Path, job: str) -> list[Path]:
    """What SLURM and submitit wrote of a job."""
    return sorted((study / ".submitit" / job).glob("*_log.*")) if job else []

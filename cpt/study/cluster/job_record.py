"""Which jobs of a cluster a study was submitted as: `.jobs/jobs.json`, for all who look for a run's job later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.study.state.lease import Lease

WAIT_SECONDS = 90.0
"""How long another launch may take to write its jobs down, until whoever began it is known to be gone."""


@dataclass(frozen=True)
class SubmittedJob:
    """One job as it was submitted, or an array of them."""

    name: str
    stage: str
    job: str
    """The cluster's number of it, of an array that of the whole."""
    elements: list[str]
    """Ids of the runs, in the order of the array; none of a stage of the whole study."""
    array: bool
    cluster: str
    """slurm, or local where jobs are processes of one machine."""
    submitted: str
    by: str
    """Whose job it is."""
    snapshot: str = ""
    """The code it runs."""

    @property
    def ids(self) -> list[str]:
        """What the cluster calls each element."""
        return [f"{self.job}_{number}" for number in range(len(self.elements))] if self.array else [self.job]


def jobs_file(study: Path) -> Path:
    return study / ".jobs" / "jobs.json"


def record_jobs(study: Path, jobs: Sequence[SubmittedJob]) -> None:
    """Write down jobs that were submitted, behind those of earlier launches."""
    path = jobs_file(study)
    with Lease(path.parent, "a launch that writes its jobs down", wait=WAIT_SECONDS):
        write_json(path, [asdict(job) for job in [*known_jobs(study), *jobs]])


def known_jobs(study: Path) -> list[SubmittedJob]:
    """All jobs a study was ever submitted as, the oldest first."""
    path = jobs_file(study)
    if not path.exists():
        return []
    entries = _entries(path)
    known = {entry.name for entry in fields(SubmittedJob)}
    try:
        return [SubmittedJob(**{key: value for key, value in entry.items() if key in known}) for entry in entries]
    except (AttributeError, TypeError) as error:
        raise _damaged(path, str(error)) from error


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = read_json(path)
    except UserError as error:
        raise _damaged(path, "no valid JSON") from error
    if not isinstance(entries, list):
        raise _damaged(path, "no list")
    return entries


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged ({why}): which jobs the study has in the queue is not known; "
        "see to it that none is left (squeue --me), delete the file, and launch again"
    )


def job_of(study: Path, run_id: str, stage: str) -> str | None:
    """The job a run's stage was submitted as last, as the cluster calls it: `123_4` or `123`."""
    return last_jobs(known_jobs(study)).get(run_id, {}).get(stage, (None, None))[0]


def last_jobs(jobs: Iterable[SubmittedJob]) -> dict[str, dict[str, tuple[str, SubmittedJob]]]:
    """For every run and stage the id of its last job. The study's own stages go by their names, as if runs."""
    found: dict[str, dict[str, tuple[str, SubmittedJob]]] = {}
    for job in jobs:
        pairs = zip(job.elements, job.ids, strict=True) if job.array else ((run, job.job) for run in job.elements)
        for run_id, number in pairs if job.elements else [(job.stage, job.job)]:
            found.setdefault(run_id, {})[job.stage] = (number, job)
    return found

"""The record of a study's submitted jobs, `.jobs/jobs.json`, by which a run's job can be looked up later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.study.state.lease import Lease

WAIT_SECONDS = 90.0
"""How long to wait for another launch that records its jobs; longer than it takes a lease to expire."""


@dataclass(frozen=True)
class SubmittedJob:
    """One submitted job or job array."""

    name: str
    stage: str
    job: str
    """Job id; of an array the id of the whole array."""
    elements: list[str]
    """Run ids in the order of the array; empty for a stage of the whole study."""
    array: bool
    cluster: str
    """slurm, or local if jobs are processes of one machine."""
    submitted: str
    by: str
    """The user who submitted it."""
    snapshot: str = ""
    """The snapshot of the code that it runs."""

    @property
    def ids(self) -> list[str]:
        """Job id of each element."""
        return [f"{self.job}_{number}" for number in range(len(self.elements))] if self.array else [self.job]


def jobs_file(study: Path) -> Path:
    return study / ".jobs" / "jobs.json"


def record_jobs(study: Path, jobs: Sequence[SubmittedJob]) -> None:
    """Append submitted jobs to the record."""
    path = jobs_file(study)
    with Lease(path.parent, "a launch that records its jobs", wait=WAIT_SECONDS):
        write_json(path, [asdict(job) for job in [*known_jobs(study), *jobs]])


def known_jobs(study: Path) -> list[SubmittedJob]:
    """All jobs that were ever submitted for a study, the oldest first."""
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
        f"{path} is damaged ({why}), so the study's jobs in the queue are not known; "
        "make sure that none is left (squeue --me), delete the file, and launch again"
    )


def job_of(study: Path, run_id: str, stage: str) -> str | None:
    """Id of the last job submitted for a run's stage: `123_4` or `123`."""
    return last_jobs(known_jobs(study)).get(run_id, {}).get(stage, (None, None))[0]


def last_jobs(jobs: Iterable[SubmittedJob]) -> dict[str, dict[str, tuple[str, SubmittedJob]]]:
    """The id and record of the last job of every run and stage. The study's own stages have their name as run id."""
    last: dict[str, dict[str, tuple[str, SubmittedJob]]] = {}
    for job in jobs:
        pairs = zip(job.elements, job.ids, strict=True) if job.array else ((run, job.job) for run in job.elements)
        for run_id, number in pairs if job.elements else [(job.stage, job.job)]:
            last.setdefault(run_id, {})[job.stage] = (number, job)
    return last

"""State of every run of a study, from the files in its folder and, for waiting runs, from the queue."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cpt.errors import UserError
from cpt.study.cluster.job_record import SubmittedJob, known_jobs, last_jobs
from cpt.study.cluster.queue import GONE, states
from cpt.study.plan.stage_jobs import COMPARE
from cpt.study.state.lease import STALE_SECONDS, file_system_now, holder
from cpt.study.state.run_files import PREPARE
from cpt.study.state.run_status import Status, read_status

LOST, SUBMITTED, RUNNING, UNREADABLE = "lost", "submitted", "running", "unreadable"


@dataclass
class LiveState:
    """State of a run, or of a stage of the whole study, at present."""

    folder: Path
    run_id: str
    state: str
    """The state in its status file, or lost (no process works on it any more), or unreadable."""
    status: Status
    error: str = ""
    job: str = ""
    job_ids: list[str] = field(default_factory=list)
    """SLURM job ids of this run."""

    @property
    def of_study(self) -> bool:
        return self.folder.parent.name == ".jobs"

    @property
    def open(self) -> bool:
        """Whether its state can still change without a new launch."""
        return self.state in (SUBMITTED, RUNNING)


def folders_of(study: Path) -> list[Path]:
    """Folders with a status: of the stage prepare, of the runs, of the stage compare."""
    first, last = (study / ".jobs" / stage for stage in (PREPARE, COMPARE))
    runs = sorted(path.parent for path in study.glob("*/status.json"))
    return [folder for folder in (first, *runs, last) if (folder / "status.json").exists()]


def run_states(
    study: Path, folders: Sequence[Path] | None = None, check_queue: bool = True
) -> tuple[list[LiveState], list[str]]:
    """States of a study's runs and own stages, or of some of them, and notes on what could not be read."""
    notes: list[str] = []
    try:
        submitted = last_jobs(known_jobs(study))
    except UserError as error:
        submitted, notes = {}, [str(error)]
    when = file_system_now(study)
    chosen = folders_of(study) if folders is None else folders
    chosen_states = [_run_state(folder, when, submitted.get(folder.name, {})) for folder in chosen]
    if check_queue:
        notes += _check_queue(chosen_states)
    return chosen_states, notes


def _run_state(folder: Path, when: float, jobs: dict[str, tuple[str, SubmittedJob]]) -> LiveState:
    status = read_status(folder)
    if status is None:
        error = f"{folder / 'status.json'} is damaged; launching again writes it"
        return LiveState(folder, folder.name, UNREADABLE, Status(folder.name, folder.name), error)
    lines = (status.error or "").strip().splitlines()
    live = LiveState(folder, folder.name, status.state, status, lines[0] if lines else "", status.job)
    # Other users' jobs may be hidden, and a process of this machine is in no queue.
    me = getpass.getuser()
    live.job_ids = [job_id for job_id, job in jobs.values() if job.cluster == "slurm" and job.by == me]
    live.job = live.job or next(iter(live.job_ids), "")
    if status.state == RUNNING:
        lease_holder = holder(folder, now=when)
        silent = lease_holder.age if lease_holder else status.age
        if not lease_holder.alive if lease_holder else silent > STALE_SECONDS:
            live.state, live.error = LOST, _lost_reason(lease_holder is not None and lease_holder.seen is False, silent)
    return live


def _lost_reason(dead: bool, seconds: float) -> str:
    why = "its process is dead" if dead else f"no heartbeat for {seconds:,.0f} s"
    return f"{why}; launch again to resume"


def _check_queue(lines: Iterable[LiveState]) -> list[str]:
    """Update runs without a process from one query of the queue; returns a note if the queue does not answer."""
    waiting = [line for line in lines if line.state in (SUBMITTED, LOST) and line.job_ids]
    if not waiting:
        return []
    try:
        in_queue = states(job_id for line in waiting for job_id in line.job_ids)
    except UserError as error:
        return [f"The queue does not answer, so states are as the files say: {error}"]
    for line in waiting:
        queued = [(job_id, state) for job_id in line.job_ids if (state := in_queue.get(job_id, GONE)) != GONE]
        if queued:
            line.job, state = queued[0]
            if line.state == SUBMITTED:
                line.error = line.error or state.lower()
            elif state == "RUNNING":
                line.error = f"{line.error.partition(';')[0]}, though its job is running"
            else:
                line.state, line.error = SUBMITTED, f"{state.lower()}; resumes when its job starts again"
        elif line.state == SUBMITTED:
            now = read_status(line.folder)  # it may have started and ended since the file was read
            if now and now.state != SUBMITTED:
                line.state, line.status, line.error = now.state, now, now.error or ""
            else:
                line.state, line.error = LOST, "its job is gone; launch again"
    return []

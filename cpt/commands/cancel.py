"""`cpt cancel`: cancels jobs of a study or of some of its runs, and stops its processes on this machine."""

from __future__ import annotations

import getpass
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cpt.commands.arguments import Names, runs_of, study_and_runs
from cpt.commands.logs import chosen_folders
from cpt.console import make_console
from cpt.errors import UserError
from cpt.study.cluster import queue
from cpt.study.cluster.job_record import known_jobs
from cpt.study.cluster.run_states import RUNNING, SUBMITTED, LiveState, run_states
from cpt.study.state.lease import Holder, holder
from cpt.study.state.run_status import read_status, write_status

WAIT_SECONDS = 60.0
"""How long to wait for runs to save and end."""
POLL_SECONDS = 2.0


def cancel(study: Path, words: Sequence[str], console: Console, yes: bool, wait: float = WAIT_SECONDS) -> int:
    """Cancel unfinished runs, of the whole study or the named ones; exit code 1 if a process is still running."""
    states, _ = run_states(study, chosen_folders(study, words) if words else None, check_queue=False)
    left = [line for line in states if line.state != "finished"]  # a later stage of a failed run may still wait
    jobs = _in_queue(left)
    local = _local_processes(study, [line for line in left if not set(line.job_ids) & jobs], whole=not words)
    for note in _notes_on_others(study, left):
        _say(console, note)
    if not jobs and not local:
        _say(console, f"Nothing of {study.name if not words else ', '.join(words)} is running or in the queue.")
        return 0
    what = " and ".join(
        [f"cancel {_job_count(jobs)}"] * bool(jobs) + [f"stop {each.owner} (process {each.pid})" for each in local]
    )
    if not yes and not _confirmed(console, f"{what[0].upper()}{what[1:]} of {study.name}? [y/N] "):
        _say(console, "Nothing was done.")
        return 1
    code = 0
    for process in local:
        code |= _stop(process, console)
    if jobs:
        queue.cancel(_arrays_of(study, jobs))
        _say(console, f"Cancelled {_job_count(jobs)}: {', '.join(sorted(jobs)[:8])}{' …' if len(jobs) > 8 else ''}")
        code |= _mark([line for line in left if set(line.job_ids) & jobs], console, wait)
    return code


def _job_count(jobs: set[str]) -> str:
    return f"{len(jobs):,} job{'s' * (len(jobs) > 1)}"


def _in_queue(lines: Sequence[LiveState]) -> set[str]:
    """Job ids of these runs that are in the queue."""
    job_ids = [job_id for line in lines for job_id in line.job_ids]
    return {job_id for job_id, state in queue.states(job_ids).items() if state != queue.GONE}


def _notes_on_others(study: Path, lines: Sequence[LiveState]) -> list[str]:
    """A note if other users submitted jobs of these runs."""
    me, names = getpass.getuser(), {line.run_id for line in lines if line.state in (SUBMITTED, RUNNING)}
    others = sorted({job.by for job in known_jobs(study) if job.by != me and names & {job.stage, *job.elements}})
    return [f"Jobs that {', '.join(others)} submitted can only be cancelled by them."] if others else []


def _local_processes(study: Path, lines: Sequence[LiveState], whole: bool) -> list[Holder]:
    """Running processes outside any queue: the launch of the study, or else the processes of its runs."""
    holders = [holder(study)] if whole else []
    if not any(each and each.alive for each in holders):
        holders = [holder(line.folder) for line in lines if line.state == RUNNING]
    return [each for each in holders if each and each.alive]


def _stop(process: Holder, console: Console) -> int:
    """Send a process of this machine the signal to save and end."""
    if not process.seen:
        how = (
            "the user who submitted it can cancel it"
            if process.owner.startswith("job ")
            else f"there, `kill {process.pid}` stops it"
        )
        _say(console, f"{process.owner} runs on {process.host}: {how}.")
        return 1
    try:
        os.kill(process.pid, signal.SIGTERM)
    except PermissionError:
        _say(console, f"{process.owner} (process {process.pid}) is another user's; ask them to stop it.")
        return 1
    except ProcessLookupError:
        return 0
    _say(console, f"Asked {process.owner} (process {process.pid}) to save and stop; launch again to resume.")
    return 0


def _arrays_of(study: Path, jobs: set[str]) -> list[str]:
    """The same jobs with complete arrays replaced by their array ids."""
    arrays, rest = [], set(jobs)
    for job in known_jobs(study):
        if job.array and rest.issuperset(job.ids):
            arrays.append(job.job)
            rest.difference_update(job.ids)
    return [*arrays, *sorted(rest)]


def _mark(lines: Sequence[LiveState], console: Console, wait: float) -> int:
    """Mark each run as cancelled once no process works on it."""
    end, waiting = time.monotonic() + wait, lines
    marked: list[str] = []
    while True:
        # The lease of a killed process on another node stays alive for a while, but a job that is gone has no process.
        jobs = _in_queue(waiting)
        queued = [line for line in waiting if set(line.job_ids) & jobs]
        alive = [line for line in queued if (current := holder(line.folder)) and current.alive]
        marked += [line.run_id for line in waiting if line not in alive and _stopped(line.folder)]
        if not alive or time.monotonic() > end:
            break
        if waiting is lines:
            _say(console, f"Waiting for {len(alive)} running to save and end …")
        waiting = alive
        time.sleep(POLL_SECONDS)
    if marked:
        _say(console, f"Stopped: {', '.join(marked[:8])}{f' and {len(marked) - 8} more' if len(marked) > 8 else ''}")
    if alive:
        _say(console, f"Still ending: {', '.join(line.run_id for line in alive)}; cpt status shows when they have.")
    return int(bool(alive))


def _stopped(folder: Path) -> bool:
    """Write that a run was cancelled, unless it has ended by itself; returns whether it is stopped."""
    status = read_status(folder)
    if status is None or status.state not in (SUBMITTED, RUNNING):
        return status is not None and status.state == "stopped"
    status.state, status.error = "stopped", f"cancelled by {getpass.getuser()}; launch again to resume"
    write_status(folder, status)
    return True


def _confirmed(console: Console, question: str) -> bool:
    try:
        return console.input(question, markup=False).strip().lower() in ("y", "yes")
    except EOFError as error:
        raise UserError("cpt cancel: no input to confirm with; give --yes") from error


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def command(
    ctx: typer.Context,
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Stop a study, or some of its runs."""
    study, runs = study_and_runs(runs_of(ctx), names)
    return cancel(study, runs, make_console(), yes)

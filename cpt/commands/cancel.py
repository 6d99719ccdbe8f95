"""`cpt cancel`: takes jobs of a study, or of some of its runs, out of the queue; here, asks its processes to stop."""

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
"""How long to wait for runs to save and end, before saying that they are still at it."""
POLL_SECONDS = 2.0


def cancel(study: Path, words: Sequence[str], console: Console, yes: bool, wait: float = WAIT_SECONDS) -> int:
    """Cancel what has not finished, of the runs named or of the whole study; exit code 1 where something lives on."""
    found, _ = run_states(study, chosen_folders(study, words) if words else None, check_queue=False)
    left = [line for line in found if line.state != "finished"]  # of a failed run a later stage may still wait
    jobs = _in_queue(left)
    here = _here(study, [line for line in left if not set(line.job_ids) & jobs], whole=not words)
    for note in _of_others(study, left):
        _say(console, note)
    if not jobs and not here:
        _say(console, f"Nothing of {study.name if not words else ', '.join(words)} is running or in the queue.")
        return 0
    what = " and ".join(
        [f"cancel {_counted(jobs)}"] * bool(jobs) + [f"stop {held.owner} (process {held.pid})" for held in here]
    )
    if not yes and not _agreed(console, f"{what[0].upper()}{what[1:]} of {study.name}? [y/N] "):
        _say(console, "Nothing was done.")
        return 1
    code = 0
    for held in here:
        code |= _stop(held, console)
    if jobs:
        queue.cancel(_together(study, jobs))
        _say(console, f"Cancelled {_counted(jobs)}: {', '.join(sorted(jobs)[:8])}{' …' if len(jobs) > 8 else ''}")
        code |= _mark([line for line in left if set(line.job_ids) & jobs], console, wait)
    return code


def _counted(jobs: set[str]) -> str:
    return f"{len(jobs):,} job{'s' * (len(jobs) > 1)}"


def _in_queue(lines: Sequence[LiveState]) -> set[str]:
    """Jobs of these runs that the queue has."""
    words = [word for line in lines for word in line.job_ids]
    return {word for word, state in queue.states(words).items() if state != queue.GONE}


def _of_others(study: Path, lines: Sequence[LiveState]) -> list[str]:
    """What is others' to cancel."""
    me, names = getpass.getuser(), {line.run_id for line in lines if line.state in (SUBMITTED, RUNNING)}
    others = sorted({job.by for job in known_jobs(study) if job.by != me and names & {job.stage, *job.elements}})
    return [f"Jobs that {', '.join(others)} submitted are theirs to cancel."] if others else []


def _here(study: Path, lines: Sequence[LiveState], whole: bool) -> list[Holder]:
    """Processes at work outside any queue: the launch that has the study, or else its runs one by one."""
    held = [holder(study)] if whole else []
    if not any(found and found.alive for found in held):
        held = [holder(line.folder) for line in lines if line.state == RUNNING]
    return [found for found in held if found and found.alive]


def _stop(held: Holder, console: Console) -> int:
    """Ask a process to save and end, where it is one of this machine."""
    if not held.seen:
        how = (
            "whoever submitted it can cancel it"
            if held.owner.startswith("job ")
            else f"there, `kill {held.pid}` stops it"
        )
        _say(console, f"{held.owner} runs on {held.host}: {how}.")
        return 1
    try:
        os.kill(held.pid, signal.SIGTERM)
    except PermissionError:
        _say(console, f"{held.owner} (process {held.pid}) is another user's; ask them to stop it.")
        return 1
    except ProcessLookupError:
        return 0
    _say(console, f"Asked {held.owner} (process {held.pid}) to save and stop; launch again to resume.")
    return 0


def _together(study: Path, jobs: set[str]) -> list[str]:
    """The same jobs in few words: an array all of whose elements are meant goes by its own number."""
    found, rest = [], set(jobs)
    for job in known_jobs(study):
        if job.array and rest.issuperset(job.ids):
            found.append(job.job)
            rest.difference_update(job.ids)
    return [*found, *sorted(rest)]


def _mark(lines: Sequence[LiveState], console: Console, wait: float) -> int:
    """Say of each run that it was cancelled, once nobody works on it."""
    end, waiting = time.monotonic() + wait, lines
    marked: list[str] = []
    while True:
        # A node's process that was killed has a lease for a while yet, but a job that is gone has no process.
        jobs = _in_queue(waiting)
        alive = [line for line in waiting if set(line.job_ids) & jobs and (held := holder(line.folder)) and held.alive]
        marked += [line.run_id for line in waiting if line not in alive and _stopped(line.folder)]
        if not alive or time.monotonic() > end:
            break
        if waiting is lines:
            _say(console, f"Waiting for {len(alive)} at work to save and end …")
        waiting = alive
        time.sleep(POLL_SECONDS)
    if marked:
        _say(console, f"Stopped: {', '.join(marked[:8])}{f' and {len(marked) - 8} more' if len(marked) > 8 else ''}")
    if alive:
        _say(console, f"Still ending: {', '.join(line.run_id for line in alive)}; cpt status shows when they have.")
    return int(bool(alive))


def _stopped(folder: Path) -> bool:
    """Write that a run was cancelled, unless it has ended by itself; whether it is stopped now."""
    status = read_status(folder)
    if status is None or status.state not in (SUBMITTED, RUNNING):
        return status is not None and status.state == "stopped"
    status.state, status.error = "stopped", f"cancelled by {getpass.getuser()}; launch again to resume"
    write_status(folder, status)
    return True


def _agreed(console: Console, question: str) -> bool:
    try:
        return console.input(question, markup=False).strip().lower() in ("y", "yes")
    except EOFError as error:
        raise UserError("cpt cancel: nobody is there to ask; say --yes") from error


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

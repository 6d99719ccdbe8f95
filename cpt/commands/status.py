"""What `cpt status` prints: where every run of a study is, by its folder's files and, for what waits, the queue."""

from __future__ import annotations

import getpass
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cpt.console import clock
from cpt.errors import UserError
from cpt.study.cluster.job_record import SubmittedJob, known_jobs, last_jobs
from cpt.study.cluster.queue import GONE, states
from cpt.study.plan.stage_jobs import COMPARE
from cpt.study.state.lease import STALE_SECONDS, file_system_now, holder
from cpt.study.state.run import PREPARE
from cpt.study.state.run_status import Status, read_status

LOST, SUBMITTED, RUNNING, UNREADABLE = "lost", "submitted", "running", "unreadable"
WATCH_SECONDS = 5.0
SHOWN_FAILURES, SHOWN_LINES = 3, 8
"""Failed runs whose logs are shown below the table, and lines of each."""
MANY = 200
"""Runs of which a drawn table is of use to nobody."""
RECENT_BYTES = 16_384
RECENT_STEPS = 20
FIRST_COLUMNS = ("run", "state", "stage", "step")
OTHER_COLUMNS = ("tokens/s", "left", "job", "node", "updated", "error")


@dataclass
class Standing:
    """Where a run, or a stage of the whole study, is now."""

    folder: Path
    run_id: str
    state: str
    """As its status says, or: lost, nobody works on it any more; unreadable."""
    status: Status
    error: str = ""
    job: str = ""
    words: list[str] = field(default_factory=list)
    """What its jobs are called that the queue could know of."""

    @property
    def of_study(self) -> bool:
        return self.folder.parent.name == ".jobs"

    @property
    def open(self) -> bool:
        """Whether it is to change by itself."""
        return self.state in (SUBMITTED, RUNNING)


def places(study: Path) -> list[Path]:
    """Folders with a status: of the runs, between those of the study's own stages."""
    first, last = (study / ".jobs" / stage for stage in (PREPARE, COMPARE))
    runs = sorted(path.parent for path in study.glob("*/status.json"))
    return [folder for folder in (first, *runs, last) if (folder / "status.json").exists()]


def standings(study: Path, folders: Sequence[Path] | None = None, ask: bool = True) -> tuple[list[Standing], list[str]]:
    """Where the runs of a study and its own stages are, or some of them, and notes on what could not be learnt."""
    notes: list[str] = []
    try:
        submitted = last_jobs(known_jobs(study))
    except UserError as error:
        submitted, notes = {}, [str(error)]
    when = file_system_now(study)
    chosen = places(study) if folders is None else folders
    found = [_standing(folder, when, submitted.get(folder.name, {})) for folder in chosen]
    if ask:
        notes += _ask(found)
    return found, notes


def _standing(folder: Path, when: float, jobs: dict[str, tuple[str, SubmittedJob]]) -> Standing:
    status = read_status(folder)
    if status is None:
        error = f"{folder / 'status.json'} is damaged; launching again writes it anew"
        return Standing(folder, folder.name, UNREADABLE, Status(folder.name, folder.name), error)
    lines = (status.error or "").strip().splitlines()
    found = Standing(folder, folder.name, status.state, status, lines[0] if lines else "", status.job)
    # Other people's jobs may be hidden from us, and a process of this machine is in no queue.
    me = getpass.getuser()
    found.words = [number for number, job in jobs.values() if job.cluster == "slurm" and job.by == me]
    found.job = found.job or next(iter(found.words), "")
    if status.state == RUNNING:
        held = holder(folder, now=when)
        silent = held.age if held else status.age
        if not held.alive if held else silent > STALE_SECONDS:
            found.state, found.error = LOST, _silence(held is not None and held.seen is False, silent)
    return found


def _silence(dead: bool, seconds: float) -> str:
    why = "its process is dead" if dead else f"no sign for {seconds:,.0f} s"
    return f"{why}; launch again to go on"


def _ask(found: Iterable[Standing]) -> list[str]:
    """Ask the queue, once, about whatever nobody works on; returns a note where it does not answer."""
    waiting = [line for line in found if line.state in (SUBMITTED, LOST) and line.words]
    if not waiting:
        return []
    try:
        in_queue = states(word for line in waiting for word in line.words)
    except UserError as error:
        return [f"The queue could not be asked, so states are as the files say: {error}"]
    for line in waiting:
        there = [(word, state) for word in line.words if (state := in_queue.get(word, GONE)) != GONE]
        if there:
            line.job, state = there[0]
            if line.state == SUBMITTED:
                line.error = line.error or state.lower()
            elif state == "RUNNING":
                line.error = f"{line.error.partition(';')[0]}, though its job is running"
            else:
                line.state, line.error = SUBMITTED, f"{state.lower()}; goes on when its job starts again"
        elif line.state == SUBMITTED:
            now = read_status(line.folder)  # it may have started and ended since the file was read
            if now and now.state != SUBMITTED:
                line.state, line.status, line.error = now.state, now, now.error or ""
            else:
                line.state, line.error = LOST, "its job is gone; launch again"
    return []


def counted(found: Iterable[Standing]) -> str:
    """One line about all runs."""
    counts = Counter(line.state for line in found if not line.of_study)
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "nothing was launched yet"


def speed(folder: Path) -> tuple[float, float] | None:
    """Tokens a second and seconds a step of a training, from the last lines of its log."""
    path = folder / "metrics.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - RECENT_BYTES, 0))
            lines = file.read().split(b"\n")[1:-1][-RECENT_STEPS:]
        read = [json.loads(line) for line in lines]
        rates = [(float(line["tokens_per_second"]), float(line["seconds"])) for line in read]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not rates:
        return None
    return statistics.median(rate for rate, _ in rates), statistics.median(seconds for _, seconds in rates)


def _cells(line: Standing) -> list[str]:
    status = line.status
    step = f"{status.step:,}/{status.steps:,} {status.step / status.steps:.0%}" if status.steps else ""
    rate = left = ""
    if line.state == RUNNING and status.stage == "train" and (found := speed(line.folder)):
        rate, left = f"{found[0]:,.0f}", clock(found[1] * (status.steps - status.step))
    updated = f"{clock(max(status.age, 0))} ago" if line.open or line.state == LOST else status.updated
    return [line.run_id, line.state, status.stage, step, rate, left, line.job, status.host, updated, line.error]


def _shown(found: list[Standing]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table; columns that would be empty are left out."""
    heads, lines = [*FIRST_COLUMNS, *OTHER_COLUMNS], [_cells(line) for line in found]
    kept = [place for place, head in enumerate(heads) if head in FIRST_COLUMNS or any(line[place] for line in lines)]
    return [heads[place] for place in kept], [[line[place] for place in kept] for line in lines]


def drawn(study: Path, found: list[Standing]) -> Table:
    heads, lines = _shown(found)
    table = Table(title=f"Study {study.name}", title_justify="left")
    for head in heads:
        table.add_column(head, no_wrap=head != "error")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def aligned(study: Path, found: list[Standing]) -> str:
    """The same for a log file, a pipe, or so many runs that drawing them would take long."""
    heads, lines = _shown(found)
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in (heads, *lines))
    return "\n".join([f"Study {study.name}", *rows])


def show_status(study: Path, console: Console) -> int:
    """A line a run, what failed ones said last; exit code 1 when one has failed."""
    from cpt.commands.logs import last_words

    found, notes = standings(study)
    if console.is_terminal and len(found) <= MANY:
        console.print(drawn(study, found))
    else:
        console.out(aligned(study, found), highlight=False)
    failed = [line for line in found if line.state == "failed"]
    for line in failed[:SHOWN_FAILURES]:
        _print(console, *last_words(study, line.folder, line.job, SHOWN_LINES))
    if len(failed) > SHOWN_FAILURES:
        _print(console, f"and {len(failed) - SHOWN_FAILURES:,} more that failed: cpt logs {study.name}")
    _print(console, *notes, counted(found))
    return int(bool(failed))


def watch_status(study: Path, console: Console, seconds: float = WATCH_SECONDS) -> int:
    """The same, again and again, until nothing is to change any more; in a log file a line when something has."""
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    said = ""
    with live or nullcontext():
        while True:
            found, _ = standings(study)
            if not any(line.open for line in found):
                break
            if live:
                live.update(_picture(study, found, console.height), refresh=True)
            elif said != (said := counted(found)):
                _print(console, said)
            time.sleep(seconds)
    return show_status(study, console)


def _picture(study: Path, found: list[Standing], height: int) -> Table:
    """As much as a screen holds: what is at work or went wrong before what waits, and that before what is finished."""
    room = max(height - 8, 1)
    order = (RUNNING, LOST, "failed", UNREADABLE, "stopped", SUBMITTED, "planned")
    first = sorted(found, key=lambda line: order.index(line.state) if line.state in order else len(order))
    table = drawn(study, found if len(found) <= room else first[:room])
    table.caption = counted(found)
    return table


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

"""`cpt status`: state of every run of a study, from its files and, for runs that wait, from the queue."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cpt.commands.arguments import StudyName, find_study, runs_of
from cpt.commands.logs import last_words
from cpt.console import clock, make_console
from cpt.study.cluster.run_states import LOST, RUNNING, SUBMITTED, UNREADABLE, LiveState, run_states

WATCH_SECONDS = 5.0
SHOWN_FAILURES, SHOWN_LINES = 3, 8
"""Failed runs whose logs are shown below the table, and lines of each."""
MANY = 200
"""With more runs than this, a table is printed without lines."""
RECENT_BYTES = 16_384
RECENT_STEPS = 20
FIRST_COLUMNS = ("run", "state", "stage", "step")
OTHER_COLUMNS = ("tokens/s", "left", "job", "node", "updated", "error")


def counted(found: Iterable[LiveState]) -> str:
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


def _cells(line: LiveState) -> list[str]:
    status = line.status
    step = f"{status.step:,}/{status.steps:,} {status.step / status.steps:.0%}" if status.steps else ""
    rate = left = ""
    if line.state == RUNNING and status.stage == "train" and (found := speed(line.folder)):
        rate, left = f"{found[0]:,.0f}", clock(found[1] * (status.steps - status.step))
    updated = f"{clock(max(status.age, 0))} ago" if line.open or line.state == LOST else status.updated
    return [line.run_id, line.state, status.stage, step, rate, left, line.job, status.host, updated, line.error]


def _shown(found: list[LiveState]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table; columns that would be empty are left out."""
    heads, lines = [*FIRST_COLUMNS, *OTHER_COLUMNS], [_cells(line) for line in found]
    kept = [place for place, head in enumerate(heads) if head in FIRST_COLUMNS or any(line[place] for line in lines)]
    return [heads[place] for place in kept], [[line[place] for place in kept] for line in lines]


def drawn(study: Path, found: list[LiveState]) -> Table:
    heads, lines = _shown(found)
    table = Table(title=f"Study {study.name}", title_justify="left")
    for head in heads:
        table.add_column(head, no_wrap=head != "error")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def aligned(study: Path, found: list[LiveState]) -> str:
    """The same for a log file, a pipe, or so many runs that drawing them would take long."""
    heads, lines = _shown(found)
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in (heads, *lines))
    return "\n".join([f"Study {study.name}", *rows])


def show_status(study: Path, console: Console) -> int:
    """A line a run, what failed ones said last; exit code 1 when one has failed."""
    found, notes = run_states(study)
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
            found, _ = run_states(study)
            if not any(line.open for line in found):
                break
            if live:
                live.update(_picture(study, found, console.height), refresh=True)
            elif said != (said := counted(found)):
                _print(console, said)
            time.sleep(seconds)
    return show_status(study, console)


def _picture(study: Path, found: list[LiveState], height: int) -> Table:
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


def command(
    ctx: typer.Context,
    study: StudyName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until nothing changes any more.")] = False,
) -> int:
    """State of every run of a study."""
    return (watch_status if watch else show_status)(find_study(runs_of(ctx), study), make_console())

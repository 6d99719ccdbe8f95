"""`cpt status`: state of every run of a study, from its files and, for waiting runs, from the queue."""

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
from cpt.commands.logs import log_tails
from cpt.console import clock, make_console
from cpt.study.cluster.run_states import LOST, RUNNING, SUBMITTED, UNREADABLE, LiveState, run_states

WATCH_SECONDS = 5.0
MAX_FAILURES, MAX_LINES = 3, 8
"""Failed runs whose logs are shown below the table, and lines of each."""
MAX_DRAWN = 200
"""With more runs than this, the table is printed as plain text."""
RECENT_BYTES = 16_384
RECENT_STEPS = 20
FIRST_COLUMNS = ("run", "state", "stage", "step")
OTHER_COLUMNS = ("tokens/s", "left", "job", "node", "updated", "error")


def state_counts(states: Iterable[LiveState]) -> str:
    """One line with the number of runs in each state."""
    counts = Counter(line.state for line in states if not line.of_study)
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
    if line.state == RUNNING and status.stage == "train" and (recent := speed(line.folder)):
        rate, left = f"{recent[0]:,.0f}", clock(recent[1] * (status.steps - status.step))
    updated = f"{clock(max(status.age, 0))} ago" if line.open or line.state == LOST else status.updated
    return [line.run_id, line.state, status.stage, step, rate, left, line.job, status.host, updated, line.error]


def _shown(states: list[LiveState]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table, without empty columns."""
    heads, lines = [*FIRST_COLUMNS, *OTHER_COLUMNS], [_cells(line) for line in states]
    columns = [i for i, head in enumerate(heads) if head in FIRST_COLUMNS or any(line[i] for line in lines)]
    return [heads[i] for i in columns], [[line[i] for i in columns] for line in lines]


def drawn_table(study: Path, states: list[LiveState]) -> Table:
    heads, lines = _shown(states)
    table = Table(title=f"Study {study.name}", title_justify="left")
    for head in heads:
        table.add_column(head, no_wrap=head != "error")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def text_table(study: Path, states: list[LiveState]) -> str:
    """The table as aligned text for a file, a pipe, or very many runs."""
    heads, lines = _shown(states)
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in (heads, *lines))
    return "\n".join([f"Study {study.name}", *rows])


def show_status(study: Path, console: Console) -> int:
    """Print a line for each run and the ends of failed runs' logs; exit code 1 if one has failed."""
    states, notes = run_states(study)
    if console.is_terminal and len(states) <= MAX_DRAWN:
        console.print(drawn_table(study, states))
    else:
        console.out(text_table(study, states), highlight=False)
    failed = [line for line in states if line.state == "failed"]
    for line in failed[:MAX_FAILURES]:
        _print(console, *log_tails(study, line.folder, line.job, MAX_LINES))
    if len(failed) > MAX_FAILURES:
        _print(console, f"and {len(failed) - MAX_FAILURES:,} more that failed: cpt logs {study.name}")
    _print(console, *notes, state_counts(states))
    return int(bool(failed))


def watch_status(study: Path, console: Console, seconds: float = WATCH_SECONDS) -> int:
    """Update the table until no state can change any more; in a log file print a line at each change."""
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    last = ""
    with live or nullcontext():
        while True:
            states, _ = run_states(study)
            if not any(line.open for line in states):
                break
            if live:
                live.update(_live_table(study, states, console.height), refresh=True)
            elif last != (last := state_counts(states)):
                _print(console, last)
            time.sleep(seconds)
    return show_status(study, console)


def _live_table(study: Path, states: list[LiveState], height: int) -> Table:
    """As many runs as fit on the screen: running and failed ones first, then waiting ones, then finished ones."""
    room = max(height - 8, 1)
    order = (RUNNING, LOST, "failed", UNREADABLE, "stopped", SUBMITTED, "planned")
    first = sorted(states, key=lambda line: order.index(line.state) if line.state in order else len(order))
    table = drawn_table(study, states if len(states) <= room else first[:room])
    table.caption = state_counts(states)
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

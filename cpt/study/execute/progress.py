"""Progress of a running study: a live table in a terminal, otherwise a line for every run that ends."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cpt.console import clock
from cpt.study.state.run import Run
from cpt.study.state.run_status import read_status


class Progress:
    """Follows the runs of one launch through their status files."""

    def __init__(self, runs: list[Run], skipped: int, slots: int, console: Console) -> None:
        self.runs, self.skipped, self.slots, self.console = runs, skipped, slots, console
        self.start = time.monotonic()
        self.ended: dict[str, str] = {}
        self.seconds: list[float] = []
        self.started: dict[str, float] = {}
        self.live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self.skipped:
            self.console.print(f"{self.skipped} finished already, skipped.")
        self.console.print(f"{len(self.runs)} to do, {self.slots} at a time.")
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
        self.console.print(f"{len(self.ended)} of {len(self.runs)} ended in {clock(time.monotonic() - self.start)}.")

    def update(self, running: list[Run]) -> None:
        """Called repeatedly with the runs that are running now."""
        now = time.monotonic()
        active = {run.run_id for run in running}
        for run in running:
            self.started.setdefault(run.run_id, now)
        for run in self.runs:
            if run.run_id in self.started and run.run_id not in active and run.run_id not in self.ended:
                self._end(run, now - self.started[run.run_id])
        if self.live:
            self.live.update(self._table(running))

    def _end(self, run: Run, seconds: float) -> None:
        status = read_status(run.folder)
        state = status.state if status else "failed"
        self.ended[run.run_id] = state
        if not run.base:
            self.seconds.append(seconds)
        tail = f": {status.error}" if status and status.error else ""
        count = f"[{len(self.ended):>{len(str(len(self.runs)))}}/{len(self.runs)}]"
        line = f"{count} {run.run_id} {state} in {clock(seconds)}{tail} · {self._left()}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        """The number of runs left and the estimated time, from the mean time of the runs that have ended."""
        left = sum(run.run_id not in self.ended for run in self.runs)
        if not left:
            return "all done"
        if not self.seconds:
            return f"{left} left"
        return f"{left} left, about {clock(left * sum(self.seconds) / len(self.seconds) / self.slots)}"

    def _table(self, running: list[Run]) -> Group:
        table = Table.grid(padding=(0, 2))
        for run in running:
            status = read_status(run.folder)
            if status is None:
                continue
            step = f"{status.step:,} of {status.steps:,}" if status.steps else ""
            table.add_row(run.run_id, status.stage, ProgressBar(status.steps or 1, status.step, width=24), step)
        head = f"{len(self.ended)} of {len(self.runs)} · {clock(time.monotonic() - self.start)} · {self._left()}"
        return Group(Text(head), table)

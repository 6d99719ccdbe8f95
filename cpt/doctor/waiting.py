"""The launching side of a probe on a cluster: shows how far it is, ends when there is nothing to wait for, judges."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from cpt.doctor.findings import Finding, print_findings
from cpt.doctor.judge import judge
from cpt.doctor.probe_records import Record, named, read_records

POLL_SECONDS = 1.0
ASK_SECONDS = 5.0
"""Between two questions to the cluster's queue, which serves everybody."""
LATE_SECONDS = 5.0
"""How long the last records of a job may take to be seen from here."""


def wait_and_judge(folder: Path, ranks: int, alive: Callable[[], bool], seconds: float, console: Console) -> int:
    """Follow the job until all have ended, it is gone, or `seconds` have passed; print what is wrong; the exit code.

    The time counts from the first record: a job that waits in the queue does not hang, and has a time limit of its own.
    """
    over = _followed(folder, ranks, alive, seconds, console)
    findings = judge(folder, ranks, over)
    if not over:
        line = f"it has not ended: {seconds:,.0f} s have passed since its start, or its processes are frozen"
        findings.append(Finding("job", "fail", line, "cancel it (scancel), after a look at its log"))
    return print_findings(findings, console, f"Preflight of {ranks} ranks")


def _followed(folder: Path, ranks: int, alive: Callable[[], bool], seconds: float, console: Console) -> bool:
    """Whether the job has ended, rather than the patience."""
    end, asked, gone, last = float("inf"), float("-inf"), float("inf"), ""
    with console.status("…") as status:
        while True:
            found = read_records(folder, ranks)
            there = [record for record in found if record is not None]
            if (line := _progress(there, ranks)) != last:
                status.update(line)
                if not console.is_terminal:
                    console.print(line, highlight=False, markup=False)
                last = line
            now = time.monotonic()
            if there:
                end = min(end, now + seconds)
            if len(there) == ranks and all(record.ended for record in there):
                return True
            if now > gone + LATE_SECONDS:
                return True
            if now > end or (len(there) == ranks and all(record.settled(time.time()) for record in there)):
                return not alive()
            if gone == float("inf") and now > asked + ASK_SECONDS:
                asked = now
                gone = gone if alive() else now
            time.sleep(POLL_SECONDS)


def _progress(there: list[Record], ranks: int) -> str:
    """One line; who is furthest behind is whom the others wait for."""
    if not there:
        return f"none of {ranks} ranks has begun"
    ended = sum(record.ended for record in there)
    under_way = [record for record in there if not record.ended]
    if not under_way:
        return f"{ended} of {ranks} ranks have ended"
    behind = min(under_way, key=lambda record: record.position)
    step = behind.last.name if behind.last else "nothing yet"
    return f"{len(there)} of {ranks} ranks have begun, {ended} have ended; last: {named([behind])} in '{step}'"

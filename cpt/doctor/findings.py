"""What an examination finds: a name, whether it is well, what was seen, and what to do about it."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

State = Literal["ok", "warn", "fail"]
_STYLES: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD")
_SHORTEST = 6
"""Letters from which a value is hidden: shorter ones are switches, and words of every text."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty where all is well."""


Examination = Callable[[], list[Finding]]


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text of a library's, which may quote anything, without the values of variables that hold keys."""
    environment = os.environ if environment is None else environment
    values = [value for name, value in environment.items() if any(word in name.upper() for word in _SECRET)]
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, "…")
    return text


def in_a_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says, without secrets."""
    said = str(error).strip().splitlines()
    return without_secrets(f"{type(error).__name__}: {said[0]}" if said else type(error).__name__)


def examined(examinations: Mapping[str, Examination], seconds: float) -> list[Finding]:
    """What all examinations find, made at the same time and listed in order; one that breaks or hangs is a finding."""
    answers: dict[str, queue.SimpleQueue[list[Finding]]] = {name: queue.SimpleQueue() for name in examinations}

    def examine(name: str, examination: Examination) -> None:
        try:
            answers[name].put(examination())
        except Exception as error:
            answers[name].put([Finding(name, "fail", f"cannot be examined: {in_a_line(error)}", "see the message")])

    for name, examination in examinations.items():
        # Daemons: a file system that hangs keeps its thread for good, and must not keep the program.
        threading.Thread(target=examine, args=(name, examination), daemon=True).start()
    findings, end = list[Finding](), time.monotonic() + seconds
    for name, answer in answers.items():
        try:
            findings += answer.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            hung = f"no answer within {seconds:.0f} s: it hangs"
            findings.append(Finding(name, "fail", hung, "find out what does not answer there; a study would hang too"))
    return findings


def print_findings(findings: Iterable[Finding], console: Console, title: str = "Preflight") -> int:
    """A table of all, and how many are well; the exit code, 1 where something fails."""
    table = Table(title=title, title_justify="left")
    for column in ("state", "what", "found", "what to do"):
        table.add_column(column, no_wrap=column in ("state", "what"), overflow="fold")
    counts: dict[State, int] = {"fail": 0, "warn": 0, "ok": 0}
    for finding in findings:
        counts[finding.state] += 1
        words = (without_secrets(word) for word in (finding.name, finding.found, finding.advice))
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), *(Text(word) for word in words))
    console.print(table)
    console.print(f"{counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail", highlight=False)
    return int(counts["fail"] > 0)

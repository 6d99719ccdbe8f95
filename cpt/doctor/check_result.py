"""The result of a check: a name, a state, what was seen, and what to do about it."""

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
"""Shortest value that is hidden: shorter ones are switches, and occur in every text."""


@dataclass(frozen=True)
class Result:
    """One thing that was checked."""

    name: str
    state: State
    detail: str
    advice: str = ""
    """What to do; empty if all is well."""


Check = Callable[[], list[Result]]


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Remove the values of variables that hold keys from a text, which may come from any library."""
    environment = os.environ if environment is None else environment
    values = [value for name, value in environment.items() if any(word in name.upper() for word in _SECRET)]
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, "…")
    return text


def error_line(error: BaseException) -> str:
    """The class of an error and the first line of its message, without secrets."""
    lines = str(error).strip().splitlines()
    return redact(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def run_checks(checks: Mapping[str, Check], seconds: float) -> list[Result]:
    """Run all checks at once and return their results in order. A check that fails or hangs is a result too."""
    answers: dict[str, queue.SimpleQueue[list[Result]]] = {name: queue.SimpleQueue() for name in checks}

    def run(name: str, check: Check) -> None:
        try:
            answers[name].put(check())
        except Exception as error:
            answers[name].put([Result(name, "fail", f"cannot be examined: {error_line(error)}", "see the message")])

    for name, check in checks.items():
        # Daemons: a file system that hangs keeps its thread for good, and must not keep the program.
        threading.Thread(target=run, args=(name, check), daemon=True).start()
    results, end = list[Result](), time.monotonic() + seconds
    for name, answer in answers.items():
        try:
            results += answer.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            hung = f"no answer within {seconds:.0f} s: it hangs"
            results.append(Result(name, "fail", hung, "find out what does not answer there; a study would hang too"))
    return results


def print_results(results: Iterable[Result], console: Console, title: str = "Preflight") -> int:
    """Print a table of all results and their counts. Returns the exit code: 1 if a check fails."""
    table = Table(title=title, title_justify="left")
    for column in ("state", "what", "found", "what to do"):
        table.add_column(column, no_wrap=column in ("state", "what"), overflow="fold")
    counts: dict[State, int] = {"fail": 0, "warn": 0, "ok": 0}
    for result in results:
        counts[result.state] += 1
        texts = (redact(text) for text in (result.name, result.detail, result.advice))
        table.add_row(Text(result.state, style=_STYLES[result.state]), *(Text(text) for text in texts))
    console.print(table)
    console.print(f"{counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail", highlight=False)
    return int(counts["fail"] > 0)

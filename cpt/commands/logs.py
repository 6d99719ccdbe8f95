"""`cpt logs`: the end of a run's log, or of its job's log where the processes died before they wrote one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cpt.commands.arguments import Names, runs_of, study_and_runs
from cpt.console import make_console
from cpt.errors import UserError, nearest
from cpt.study.cluster.job_record import SubmittedJob, known_jobs, last_jobs
from cpt.study.cluster.run_states import LOST, LiveState, folders_of, run_states
from cpt.study.state.lease import holder

LINES = 20
POLL_SECONDS = 0.5
QUEUE_SECONDS = 60.0
"""Seconds between queries of the queue while following a log."""
LINE_BYTES = 1_000
"""Generous estimate of the length of a line."""


def chosen_folders(study: Path, words: Sequence[str]) -> list[Path]:
    """The folders selected by ids or names of runs, by their prefixes, or by names of the study's own stages."""
    known = folders_of(study)
    folders: list[Path] = []
    for word in words:
        matches = [path for path in known if path.name == word]
        matches = matches or [path for path in known if path.name.rpartition("-")[0] == word]
        matches = matches or [path for path in known if path.name.startswith(word)]
        if len(matches) > 1:
            names = ", ".join(path.name for path in matches[:5])
            raise UserError(f"{word}: {len(matches)} runs of {study.name} match; give one of {names}")
        if not matches:
            close = nearest(word, [path.name for path in known])
            raise UserError(f"{study.name} has no run '{word}'{close}; cpt status shows them all")
        folders += matches
    return folders


def show_logs(study: Path, words: Sequence[str], lines: int, follow: bool, console: Console) -> int:
    """Print the ends of the logs of these runs, or of those that failed or were lost; exit code 1 without output."""
    if follow:
        if len(words) != 1:
            raise UserError("cpt logs --follow: name one run, or prepare or compare")
        [folder] = chosen_folders(study, words)
        return _follow(study, folder, lines, console)
    states, _ = run_states(study, chosen_folders(study, words) if words else None)
    shown = states if words else [line for line in states if line.state in ("failed", LOST)]
    if not shown:
        console.print("No run has failed; name one to see its log.")
        return 0
    output = [text for line in shown for text in log_tails(study, line.folder, line.job, lines)]
    for text in output:
        _print(console, text)
    return 0 if output else 1


def log_tails(study: Path, folder: Path, job: str, lines: int) -> list[str]:
    """The last lines of a run's log files, each below the name of its file."""
    tails: list[str] = []
    for path in log_files(study, folder, job):
        tails += [f"==> {path} <==", *tail(path, lines), ""]
    return tails or [f"{folder.name}: no output yet, {folder / 'log.txt'} does not exist"]


def log_files(study: Path, folder: Path, job: str) -> list[Path]:
    """A run's log, and the output of SLURM and submitit of jobs that have not written to the log yet."""
    log = folder / "log.txt"
    written = log.stat().st_mtime if log.exists() and log.stat().st_size else 0.0
    outputs: list[Path] = []
    for number, submitted in _jobs(study, folder.name, job).items():
        if written < submitted:
            for logs in (study / ".submitit" / number, study / ".submitit" / number.partition("_")[0]):
                outputs += [path for path in sorted(logs.glob(f"{number}_*_log.*")) if path.stat().st_size]
    return [*([log] if written else []), *outputs]


def _jobs(study: Path, name: str, job: str) -> dict[str, float]:
    """A run's jobs with the recorded time of submission."""
    jobs = {job: float("inf")} if job else {}  # the time may not be recorded
    try:
        known: dict[str, tuple[str, SubmittedJob]] = last_jobs(known_jobs(study)).get(name, {})
    except UserError:
        known = {}
    for number, record in known.values():
        jobs[number] = _seconds(record.submitted)
    return jobs


def _seconds(when: str) -> float:
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file that may be large."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(size - lines * LINE_BYTES, 0)
        file.seek(start)
        last = file.read().decode("utf-8", errors="replace").splitlines()
    return last[-lines:] if lines else []


def _follow(study: Path, folder: Path, lines: int, console: Console) -> int:
    """Print the last lines of the log and what is added, until the run has ended."""
    read: dict[Path, int] = {}
    shown: Path | None = None
    last_check = float("-inf")
    while True:
        ask = time.monotonic() - last_check > QUEUE_SECONDS
        last_check = time.monotonic() if ask else last_check
        [line], _ = run_states(study, [folder], ask)
        ended = not line.open and not _waits_for_launch(study, line)
        for path in log_files(study, folder, line.job):
            if path not in read:
                read[path] = path.stat().st_size
                text = "\n".join(tail(path, lines))
            else:
                text, read[path] = _new_text(path, read[path])
            if text:
                if path != shown:
                    _print(console, f"==> {path} <==")
                shown = path
                _print(console, text.removesuffix("\n"))
        if ended:
            _print(console, f"{line.run_id} {line.state}" + (f": {line.error}" if line.error else ""))
            return int(line.state != "finished")
        time.sleep(POLL_SECONDS)


def _waits_for_launch(study: Path, line: LiveState) -> bool:
    """Whether a planned run waits for its turn in a running launch."""
    return line.state == "planned" and (held := holder(study)) is not None and held.alive


def _new_text(path: Path, offset: int) -> tuple[str, int]:
    """Complete lines that were added to a file after the offset, and the new offset."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < offset:
            offset = 0  # the file was replaced
        file.seek(offset)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    return whole.decode("utf-8", errors="replace"), offset + len(whole)


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def command(
    ctx: typer.Context,
    names: Names = None,
    lines: Annotated[int, typer.Option(min=1, metavar="N", help="Lines of each log.")] = LINES,
    follow: Annotated[bool, typer.Option("--follow", help="Print what one run writes until it ends.")] = False,
) -> int:
    """Last lines of the logs of runs, or of the stages prepare and compare; without a name, of runs that failed."""
    study, runs = study_and_runs(runs_of(ctx), names)
    return show_logs(study, runs, lines, follow, make_console())

"""Prepares the data of a whole study once before any run starts, with progress and a summary."""

from __future__ import annotations

import csv
import io
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cpt.console import clock
from cpt.corpora.collected_text import TextFolder
from cpt.errors import UserError
from cpt.files import read_json, write_text
from cpt.growing_folder import marker
from cpt.models.base_model import BaseModel
from cpt.processes import WorkerPool, interrupted_by, usable_cores
from cpt.study.data.prepare_run import prepare_runs
from cpt.study.plan.disk_size import BYTES_PER_TOKEN
from cpt.study.plan.matched_arms import print_sources
from cpt.study.plan.run_estimates import planned_amounts, tokens_of
from cpt.study.state.run import Run
from cpt.tokens.prepare_shards import Preparation

PRINT_SECONDS = 30.0
"""Seconds between two progress lines without a terminal."""
MAX_DISK_SHARE = 0.95
"""Largest share of the free space that data is expected to take."""


def prepare_study(runs: list[Run], console: Console) -> None:
    """Fetch, clean and tokenise the data of untrained runs."""
    todo = [run for run in runs if not run.state.done("train")]
    if todo:
        hardware, cache = todo[0].config.hardware, todo[0].cache
        check_free_disk(todo, cache)
        if note := todo[0].cleaning_setup.accuracy_note():
            console.print(note)
        with interrupted_by(signal.SIGTERM), WorkerPool(hardware.preparing or usable_cores()) as pool:
            for model in {run.model.path: run.model for run in todo}.values():
                pool.call(BaseModel.fetch, model)
            with PreparationProgress(expected_tokens(todo), console) as progress:
                preparation = Preparation(cache, pool, progress.update)
                prepare_runs(todo, preparation)
        summarise(todo, preparation, progress, console)
    if prepared := [run for run in runs if run.state.done("prepare")]:
        write_data(runs[0].folder.parent)
        print_sources(prepared, console)


class PreparationProgress:
    """Shows the progress of the sources that are being prepared."""

    def __init__(self, expected: int, console: Console) -> None:
        self.expected, self.console = expected, console
        self.start = self._last_print = time.monotonic()
        self.amounts: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> PreparationProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        self.seconds = time.monotonic() - self.start

    def update(self, source: str, documents: int, amount: int) -> None:
        with self._lock:
            self.amounts[source] = (documents, amount)
            if self._live:
                self._live.update(Text(self._line(source)))
            elif time.monotonic() - self._last_print > PRINT_SECONDS:
                self._last_print = time.monotonic()
                self.console.print(self._line(source), highlight=False, markup=False, soft_wrap=True)

    def _line(self, source: str) -> str:
        tokens = sum(amount for _, amount in self.amounts.values())
        elapsed = max(time.monotonic() - self.start, 1e-3)
        line = f"Preparing {source}: {self.amounts[source][0]:,} documents · {tokens:,} tokens in all"
        line += f" · {tokens / elapsed:,.0f} a second"
        left = (self.expected - tokens) * elapsed / max(tokens, 1)
        return f"{line} · about {clock(left)} left" if left > 0 else line


def expected_tokens(runs: list[Run]) -> int:
    """Tokens of every source under each tokenizer that needs it, by the assumptions of the plan."""
    expected: dict[tuple[str, str], int] = {}
    for run in runs:
        for item, amounts in planned_amounts(run):
            key = (item.source.name, run.model.tokenizer_fingerprint)
            tokens = tokens_of(amounts, item.unit, run.config.model.tokens_per_word)
            expected[key] = max(expected.get(key, 0), tokens)
    return sum(expected.values())


def check_free_disk(runs: list[Run], cache: Path) -> None:
    """Refuse to start if the data cannot fit on the disk."""
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    needed = expected_tokens(runs) * BYTES_PER_TOKEN
    existing = sum(path.stat().st_size for path in cache.glob("shards/*/*.bin"))
    if needed - existing > MAX_DISK_SHARE * free:
        raise UserError(
            f"paths.cache={cache}: about {needed / 1e9:,.1f} GB of data are needed and {free / 1e9:,.1f} GB are free; "
            "make room (`cpt data` lists and removes shards) or name another folder"
        )


def summarise(runs: list[Run], preparation: Preparation, progress: PreparationProgress, console: Console) -> None:
    """Print what was made, what cleaning removed, and the cost of preparing each run separately."""
    shards = {preparation.folder(item.source, run.model): item.source for run in runs for item in run.recipe}
    facts = {folder: marker(folder) for folder in shards}
    sizes = {folder: sum(fact["tokens"].values()) for folder, fact in facts.items() if fact}
    once = sum(sizes.values())
    apart = sum(sizes[preparation.folder(item.source, run.model)] for run in runs for item in run.recipe)
    made = sum(amount for _, amount in progress.amounts.values())
    speed = f", {made / progress.seconds:,.0f} tokens a second" if made else ", all existed already"
    console.print(
        f"Data: {len(shards)} shards, {once:,} tokens, in {clock(progress.seconds)}{speed}. Preparing each "
        f"run separately would tokenise {apart:,}: {apart / max(once, 1):.1f} times as much.",
        highlight=False,
    )
    for folder, fact in facts.items():
        if fact and fact["unreadable"]:
            _print_unreadable(shards[folder].name, fact, console)
    texts = {text.folder: text for source in shards.values() if (text := preparation.text(source))}
    for text in texts.values():
        print_cleaning(text, console)


def _print_unreadable(name: str, fact: dict[str, Any], console: Console) -> None:
    some = "; ".join(fact["samples"][:3])
    console.print(f"{name}: {fact['unreadable']:,} lines could not be read and were skipped: {some}", markup=False)


def print_cleaning(text: TextFolder, console: Console) -> None:
    """Print what each cleaning step removed from a source."""
    facts = marker(text.folder)
    if facts is None:
        return
    if facts["unreadable"]:
        _print_unreadable(text.source.name, facts, console)
    report = facts["cleaning"]
    parts = []
    for step, counts in report["steps"].items():
        for what in ("removed", "noted"):
            parts += [f"{step} {what} {amount['records']:,} ({why})" for why, amount in counts[what].items()]
    if parts:
        read, left = report["read"]["records"], report["kept"]["records"]
        line = f"{text.source.name}: {left:,} of {read:,} records kept; {'; '.join(parts)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


COLUMNS = (
    *("run", "source", "role", "language", "budget", "unit", "available", "words", "bytes", "tokens"),
    *("share_words", "share_tokens", "epochs", "shard", "text"),
)


def data_rows(study: Path) -> Iterator[dict[str, Any]]:
    """The amounts in an epoch of every run of a study, by source and language."""
    for path in sorted(study.glob("*/prepare.done")):
        facts = read_json(path)["sources"]
        words, tokens = (sum(fact[name] for fact in facts) for name in ("words", "tokens"))
        for fact in facts:
            shares = {"share_words": fact["words"] / max(words, 1), "share_tokens": fact["tokens"] / max(tokens, 1)}
            epochs = "" if fact["epochs"] is None else round(fact["epochs"], 6)
            yield {"run": path.parent.name, **fact, **{k: round(v, 6) for k, v in shares.items()}, "epochs": epochs}


def write_data(study: Path) -> None:
    """Write `data.csv` of a study: a row for each run, source and language."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(data_rows(study))
    write_text(study / "data.csv", text.getvalue())

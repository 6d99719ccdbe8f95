"""The plan as it is printed: a line for each run, and the sums."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cpt.console import amount
from cpt.study.plan.disk_size import NOTHING, DiskSize
from cpt.study.plan.plan_row import PlanRow
from cpt.study.state.run import Run

MOST_LINES = 200
"""Larger plans are printed by kind of run; `plan.csv` always has a line for each run."""


def print_plan(
    rows: list[PlanRow], bases: list[Run], slots: int, console: Console, disk: DiskSize | None = None
) -> None:
    """Print a line for each run, and the sums. `disk` is the peak of the study; by default the peaks of the runs are
    added up, as if all trained at once and shared no data."""
    title = f"Plan: {len(rows)} runs and {len(bases)} base models"
    console.print(_by_run(rows, title) if len(rows) <= MOST_LINES else _by_kind(rows, title))
    _print_sums(rows, slots, console, disk)
    for note in sorted({row.short for row in rows if row.short}):
        console.print(f"Short of its budget: {note}")
    assumed = {row.model: row.assumption for row in rows if row.assumption}
    for model, assumption in assumed.items():
        console.print(f"≈ assumes for {model}, for example: {assumption}", highlight=False)


def _by_run(rows: list[PlanRow], title: str) -> Table:
    published = any(row.published_steps for row in rows)
    priced = any(row.device_hours for row in rows)
    table = Table(title=title, title_justify="left")
    for name in ("run", "sources", "words", "tokens", "steps", *(("published", "ratio") if published else ())):
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for name in ("minutes", *(("device-h",) if priced else ()), "peak disk", "files", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        sign = "" if row.tokens_from == "counted" else "≈"
        compared = [str(row.published_steps or ""), f"{row.steps_ratio or ''} {row.steps_flag}".strip()]
        table.add_row(
            row.run_id,
            str(row.sources),
            amount(row.words),
            sign + amount(row.tokens),
            f"{sign}{row.planned_steps:,}",
            *(compared if published else []),
            "unknown" if row.minutes is None else f"{row.minutes:,.1f}",
            *(["unknown" if row.device_hours is None else f"{row.device_hours:,.1f}"] if priced else []),
            amount(row.disk_bytes, "B"),
            str(row.files),
            row.done or "-",
        )
    return table


def _by_kind(rows: list[PlanRow], title: str) -> Table:
    """One line for all runs of a model on the same data, whatever their seeds and settings."""
    kinds: dict[str, list[PlanRow]] = {}
    for row in rows:
        kinds.setdefault(f"{row.model} {row.data}{'+code' if row.code else ''} {row.langcat}", []).append(row)
    table = Table(title=f"{title} (a line for each is in plan.csv)", title_justify="left")
    for name in ("model and data", "runs", "words", "tokens", "steps", "minutes", "peak disk", "finished"):
        table.add_column(name, justify="left" if name == "model and data" else "right", no_wrap=True)
    for kind, mine in kinds.items():
        minutes = [row.minutes for row in mine if row.minutes is not None]
        table.add_row(
            kind,
            f"{len(mine):,}",
            _from_to([amount(row.words) for row in sorted(mine, key=lambda row: row.words)]),
            _from_to([amount(row.tokens) for row in sorted(mine, key=lambda row: row.tokens)]),
            _from_to([f"{row.planned_steps:,}" for row in sorted(mine, key=lambda row: row.planned_steps)]),
            "unknown" if len(minutes) < len(mine) else f"{sum(minutes):,.0f}",
            amount(sum(row.disk_bytes for row in mine), "B"),
            f"{sum(row.done == 'evaluate' for row in mine):,}",
        )
    return table


def _from_to(shown: list[str]) -> str:
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


def _print_sums(rows: list[PlanRow], slots: int, console: Console, disk: DiskSize | None) -> None:
    todo = [row for row in rows if row.done != "evaluate"]
    disk = disk or sum((DiskSize(row.disk_bytes, row.files) for row in rows), NOTHING)
    line = f"{len(rows) - len(todo)} finished, {len(todo)} to do"
    line += f"; at most {amount(disk.bytes, 'B')} in {disk.files:,} files"
    times = [0.0 if row.done == "train" else row.minutes for row in todo]
    known = [minutes for minutes in times if minutes is not None]
    if len(known) == len(times):
        together = max(sum(known) / slots, *known, 0.0)  # a run takes its time, however many run beside it
        line += f"; about {together:,.0f} minutes of training with {slots} at a time"
        sources = dict.fromkeys(row.speed_from for row in todo if row.done != "train")
        line += f" ({'; '.join(sources)})" if sources else ""
    console.print(line + ".")

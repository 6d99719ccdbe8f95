"""The plan: one row a run, known before anything starts, and kept as `plan.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cpt.console import amount
from cpt.files import read_json, write_text
from cpt.machine import gpus, processes_of
from cpt.study.plan import tokens_and_disk as estimate
from cpt.study.plan.cost import billed, by_run, device_hours, partition_of, training_time, units_of
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.throughput import Earlier, earlier_runs
from cpt.study.state.run import EVALUATE, TRAIN, Run
from cpt.tokens.recipe import Ingredient

MOST_LINES = 200
"""Of the plan in the terminal; `plan.csv` always has one for each run."""


@dataclass(frozen=True)
class PlanRow:
    run: str
    run_id: str
    model: str
    data: str
    code: bool
    langcat: str
    seed: int
    done: str
    """The last finished stage, empty for none."""
    sources: int
    words: int
    """Of an epoch, without code, whose budget is in tokens."""
    tokens: int
    """Of an epoch, under the model's own tokenizer."""
    tokens_from: str
    """`counted` from shards, or `assumed` from tokens per word."""
    planned_steps: int
    published_steps: int | None
    steps_ratio: float | None
    steps_flag: str
    minutes: float | None
    """Of training, from `speed_from`; none where that is not known."""
    disk_bytes: int
    """What the run takes at its peak if it is the only one: its shards, and the most of its folder while it trains."""
    files: int
    """Likewise, with folders."""
    short: str
    """Sources that hold less than their budget, with the share of it they hold."""
    assumption: str
    """What the token count rests on, where it was not counted."""
    devices: int | None = None
    """GPUs it trains on."""
    device_hours: float | None = None
    """Of its training as a whole, whatever of it is done already."""
    cost: float | None = None
    """What they are billed as, in `cost_unit`, on a cluster."""
    cost_unit: str = ""
    speed_from: str = ""
    """`measured (3 runs)` by earlier runs of the kind, `assumed: 440 TFLOP/s sustained` by the hardware's settings."""


def plan_rows(runs: Sequence[Run], jobs: Sequence[StageJob] = (), earlier: Earlier | None = None) -> list[PlanRow]:
    """A row for each run, priced by the job that is to train it; without jobs, by this machine's processes."""
    if earlier is None:
        earlier = earlier_runs(Path(runs[0].config.paths.runs))
    trained_by, asked_by = by_run(jobs, TRAIN), by_run(jobs, EVALUATE)
    return [plan_row(run, earlier, trained_by.get(run.run_id), asked_by.get(run.run_id)) for run in runs]


def plan_row(
    run: Run, earlier: Earlier | None = None, job: StageJob | None = None, asking: StageJob | None = None
) -> PlanRow:
    """What is known of a run now: counted where it is prepared, assumed from stated numbers elsewhere."""
    config = run.config
    counted = read_json(run.marker("prepare")) if run.done("prepare") else None
    assumption, short = "", []
    if counted:
        tokens = counted["epoch_tokens"]
        words = sum(fact["words"] for fact in counted["sources"] if fact["role"] == "language")
        short = shortages(counted["sources"])
        wanted = config.mixing.total or sum(item.budget for item in run.recipe if item.role == "language")
        if config.mixing.kind != "explicit" and config.mixing.unit == "words" and words < 0.98 * wanted:
            short.append(f"{config.mixing.kind} reaches {words / wanted:.1%} of its total of {wanted:,.0f} words")
    else:
        planned = planned_amounts(run)
        words = sum(sum(amounts.values()) for item, amounts in planned if item.role == "language")
        per_word = config.model.tokens_per_word
        tokens = sum(estimate.tokens_of(amounts, item.unit, per_word) for item, amounts in planned)
        shared = (config.code and config.mixing.code.share) or 0
        tokens = round(tokens / (1 - config.mixing.replay.share) / (1 - shared))
        codes = sorted({code for item, amounts in planned for code in amounts if item.unit == "words"})
        shown = (f"{code} {per_word.get(code, per_word['default'])}" for code in codes)
        assumption = "tokens per word: " + ", ".join(shown)
        if config.code and config.mixing.code.inferred and config.mixing.code.share is None:
            assumption += f"; code {config.mixing.code.amount:,} {config.mixing.code.unit} an epoch (inferred)"
    train = config.train
    steps = estimate.steps_of(tokens, train.epochs, train.global_batch, train.sequence_length)
    published = estimate.published_steps(config)
    ratio = steps / published if published else None
    stages = [stage for stage in ("prepare", "train", "evaluate") if run.done(stage)]
    processes = job.tasks if job else processes_of(config.hardware)
    results = estimate.results_room(config.scale, steps, units_of(run), asking.tasks if asking else processes)
    peak = estimate.run_room(config, steps, results, processes).peak
    peak += estimate.Room(tokens * estimate.BYTES_A_TOKEN, estimate.FILES_PER_SHARD * len(run.recipe))
    return PlanRow(
        run=run.name,
        run_id=run.run_id,
        model=config.model.name,
        data=config.data_mix.name,
        code=config.code,
        langcat=config.lang_category.name,
        seed=config.seed,
        done=stages[-1] if stages else "",
        sources=len(run.recipe),
        words=words,
        tokens=tokens,
        tokens_from="counted" if counted else "assumed",
        planned_steps=steps,
        published_steps=published,
        steps_ratio=round(ratio, 3) if ratio else None,
        steps_flag=estimate.steps_flag(ratio),
        disk_bytes=peak.bytes,
        files=peak.files,
        short="; ".join(short),
        assumption=assumption,
        **_price(run, steps, earlier or Earlier(), processes, job),
    )


def _price(run: Run, steps: int, earlier: Earlier, processes: int, job: StageJob | None) -> dict[str, Any]:
    """Time, devices and cost of a run's training, as far as they are known."""
    minutes, speed_from = training_time(run, steps, earlier, processes)
    devices = job.devices if job else processes if gpus() else 0
    if not job and run.done("train"):
        ledger = run.ledger()
        devices = 0 if ledger["device"].startswith("cpu") else ledger["processes"]
    priced: dict[str, Any] = {"speed_from": speed_from, "devices": devices or None}
    priced["minutes"] = None if minutes is None else round(minutes, 3)
    if minutes is None or not devices:
        return priced
    priced["device_hours"] = round(device_hours(job, minutes / 60) if job else devices * minutes / 60, 3)
    if job:
        billing = run.config.hardware.billing
        cost = billed(job, partition_of(job), billing, minutes / 60)
        priced |= {"cost": round(cost, 3), "cost_unit": billing.unit}
    return priced


def planned_amounts(run: Run) -> list[tuple[Ingredient, dict[str, int]]]:
    """Budgets by language before anything is counted; a total is spread as they are."""
    settings = run.config.mixing
    budgets = [(item, item.words) for item in run.recipe]
    if settings.kind == "explicit" or not settings.total or settings.unit != "words":
        return budgets
    scale = settings.total / sum(item.budget for item in run.recipe if item.role == "language")
    return [
        (item, {code: round(words * scale) for code, words in amounts.items()} if item.role == "language" else amounts)
        for item, amounts in budgets
    ]


def shortages(facts: list[dict[str, Any]]) -> list[str]:
    """Sources that cannot fill their budget, with the share of it that is taken, and how often they are read for it."""
    budgets: dict[str, float] = {}
    found: dict[str, float] = {}
    epochs: dict[str, float] = {}
    for fact in facts:
        if fact["budget"]:
            name = fact["source"]
            budgets[name] = budgets.get(name, 0) + fact["budget"]
            found[name] = found.get(name, 0) + fact.get(fact["unit"], 0)
            epochs[name] = fact["epochs"] or 0.0
    return [
        f"{name} {found[name] / budget:.0%}" + (f", read {epochs[name]:.1f} times an epoch" if epochs[name] > 1 else "")
        for name, budget in budgets.items()
        if found[name] < 0.98 * budget or epochs[name] > 1
    ]


def write_plan(study: Path, rows: list[PlanRow]) -> Path:
    """`plan.csv` of a study: these rows, after those of earlier launches that are not among them."""
    path = study / "plan.csv"
    new = {row.run_id: _cells(row) for row in rows}
    columns = [field.name for field in fields(PlanRow)]
    old: list[dict[str, Any]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            # Rows of runs that were only ever planned are dropped: another plan has taken their place.
            old = [row for row in csv.DictReader(file) if row["run_id"] not in new and (study / row["run_id"]).is_dir()]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*old, *new.values()])
    write_text(path, text.getvalue())
    return path


def _cells(row: PlanRow) -> dict[str, Any]:
    cells = {name: "" if value is None else value for name, value in asdict(row).items()}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in cells.items()}


def print_plan(
    rows: list[PlanRow], bases: list[Run], slots: int, console: Console, disk: estimate.Room | None = None
) -> None:
    """The plan for people: a line a run, and what it adds up to. `disk` is the study's peak; without it the runs' own
    are added up, as if all trained at once and shared no data."""
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
    """A line for all runs of a model on the same data, however many seeds or settings there are."""
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


def _print_sums(rows: list[PlanRow], slots: int, console: Console, disk: estimate.Room | None) -> None:
    todo = [row for row in rows if row.done != "evaluate"]
    disk = disk or sum((estimate.Room(row.disk_bytes, row.files) for row in rows), estimate.NOTHING)
    line = f"{len(rows) - len(todo)} finished, {len(todo)} to do"
    line += f"; at most {amount(disk.bytes, 'B')} in {disk.files:,} files"
    times = [0.0 if row.done == "train" else row.minutes for row in todo]
    known = [minutes for minutes in times if minutes is not None]
    if len(known) == len(times):
        together = max(sum(known) / slots, *known, 0.0)  # no run is faster for having others beside it
        line += f"; about {together:,.0f} minutes of training with {slots} at a time"
        sources = dict.fromkeys(row.speed_from for row in todo if row.done != "train")
        line += f" ({'; '.join(sources)})" if sources else ""
    console.print(line + ".")

"""What is known of a run before it trains: tokens, steps, time, devices, cost and disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cpt.config import StudyConfig
from cpt.files import read_json
from cpt.machine import gpus, processes_of
from cpt.study.plan.cost import billed, by_run, device_hours, partition_of, training_time, units_of
from cpt.study.plan.disk_size import BYTES_PER_TOKEN, FILES_PER_SHARD, DiskSize, results_size, run_size
from cpt.study.plan.plan_row import PlanRow
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.throughput import Throughput, measured_throughput
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, TRAIN
from cpt.tokens.recipe import Ingredient

STEPS_RATIO = (0.7, 1.4)
"""Planned over published steps outside this range is flagged."""


@cache
def _published() -> dict[tuple[str, str, str], int]:
    """Steps of the study's evaluated checkpoints (arXiv 2504.04152), multiples of 500."""
    with Path(__file__).with_name("published_steps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    arms = ("mono", "mono+code", "bi", "bi+code")
    return {(row["model"], row["langcat"], arm): int(row[arm]) for row in rows for arm in arms}


def published_steps(config: StudyConfig) -> int | None:
    """Steps of the study's own run at this point, where there is one and the budgets are the study's."""
    if config.mixing.budget_factor != 1.0:
        return None
    arm = config.data_mix.name + ("+code" if config.code else "")
    return _published().get((config.model.name, config.lang_category.name, arm))


def steps_flag(ratio: float | None) -> str:
    """`low` or `high` when a plan is far from the published steps."""
    if ratio is None:
        return ""
    return "low" if ratio < STEPS_RATIO[0] else "high" if ratio > STEPS_RATIO[1] else ""


def tokens_of(amounts: dict[str, int], unit: str, tokens_per_word: dict[str, float]) -> int:
    """The model's tokens in an amount of text by language, under stated assumptions."""
    default = tokens_per_word["default"]
    if unit == "tokens":  # of a named tokenizer, assumed to be as many as the model's own
        return sum(amounts.values())
    return round(sum(words * tokens_per_word.get(code, default) for code, words in amounts.items()))


def steps_of(epoch_tokens: int, epochs: float, global_batch: int, length: int) -> int:
    return math.ceil(epoch_tokens * epochs / (global_batch * length))


def estimate_runs(
    runs: Sequence[Run], jobs: Sequence[StageJob] = (), throughput: Throughput | None = None
) -> list[PlanRow]:
    """A row for each run, priced by its training job; without jobs, by the processes of this machine."""
    if throughput is None:
        throughput = measured_throughput(Path(runs[0].config.paths.runs))
    train_jobs, evaluate_jobs = by_run(jobs, TRAIN), by_run(jobs, EVALUATE)
    return [estimate_run(run, throughput, train_jobs.get(run.run_id), evaluate_jobs.get(run.run_id)) for run in runs]


def estimate_run(
    run: Run,
    throughput: Throughput | None = None,
    train_job: StageJob | None = None,
    evaluate_job: StageJob | None = None,
) -> PlanRow:
    """A run's row: counted where its data is prepared, computed from stated assumptions elsewhere."""
    config, train = run.config, run.config.train
    data = _counted(run) if run.state.done("prepare") else _assumed(run)
    steps = steps_of(data["tokens"], train.epochs, train.global_batch, train.sequence_length)
    published = published_steps(config)
    ratio = steps / published if published else None
    processes = train_job.tasks if train_job else processes_of(config.hardware)
    results = results_size(config.scale, steps, units_of(run), evaluate_job.tasks if evaluate_job else processes)
    peak = run_size(config, steps, results, processes).peak
    peak += DiskSize(data["tokens"] * BYTES_PER_TOKEN, FILES_PER_SHARD * len(run.recipe))
    return PlanRow(
        run=run.name,
        run_id=run.run_id,
        model=config.model.name,
        data=config.data_mix.name,
        code=config.code,
        langcat=config.lang_category.name,
        seed=config.seed,
        done=run.state.last_stage,
        sources=len(run.recipe),
        planned_steps=steps,
        published_steps=published,
        steps_ratio=round(ratio, 3) if ratio else None,
        steps_flag=steps_flag(ratio),
        disk_bytes=peak.bytes,
        files=peak.files,
        **data,
        **_price(run, steps, throughput or Throughput(), processes, train_job),
    )


def _counted(run: Run) -> dict[str, Any]:
    """Words and tokens of an epoch as preparing counted them."""
    facts, mixing = read_json(run.files.marker("prepare")), run.config.mixing
    words = sum(fact["words"] for fact in facts["sources"] if fact["role"] == "language")
    short = shortages(facts["sources"])
    total = mixing.total or sum(item.budget for item in run.recipe if item.role == "language")
    if mixing.kind != "explicit" and mixing.unit == "words" and words < 0.98 * total:
        short.append(f"{mixing.kind} reaches {words / total:.1%} of its total of {total:,.0f} words")
    tokens = facts["epoch_tokens"]
    return {"words": words, "tokens": tokens, "tokens_from": "counted", "short": "; ".join(short), "assumption": ""}


def _assumed(run: Run) -> dict[str, Any]:
    """Words of an epoch by its budgets, and tokens by the assumed tokens per word."""
    config, planned = run.config, planned_amounts(run)
    per_word, code = config.model.tokens_per_word, config.mixing.code
    words = sum(sum(amounts.values()) for item, amounts in planned if item.role == "language")
    tokens = sum(tokens_of(amounts, item.unit, per_word) for item, amounts in planned)
    code_share = (config.code and code.share) or 0
    tokens = round(tokens / (1 - config.mixing.replay.share) / (1 - code_share))
    languages = sorted({language for item, amounts in planned for language in amounts if item.unit == "words"})
    shown = (f"{language} {per_word.get(language, per_word['default'])}" for language in languages)
    assumption = "tokens per word: " + ", ".join(shown)
    if config.code and code.inferred and code.share is None:
        assumption += f"; code {code.amount:,} {code.unit} an epoch (inferred)"
    return {"words": words, "tokens": tokens, "tokens_from": "assumed", "short": "", "assumption": assumption}


def _price(run: Run, steps: int, throughput: Throughput, processes: int, job: StageJob | None) -> dict[str, Any]:
    """Time, devices and cost of a run's training, as far as they are known."""
    minutes, speed_from = training_time(run, steps, throughput, processes)
    devices = job.devices if job else processes if gpus() else 0
    if not job and run.state.done("train"):
        ledger = run.files.read_ledger()
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
    """Budgets by language before anything is counted; a total is divided in their proportions."""
    mixing = run.config.mixing
    budgets = [(item, item.budget_by_language) for item in run.recipe]
    if mixing.kind == "explicit" or not mixing.total or mixing.unit != "words":
        return budgets
    scale = mixing.total / sum(item.budget for item in run.recipe if item.role == "language")
    return [
        (item, {code: round(words * scale) for code, words in amounts.items()} if item.role == "language" else amounts)
        for item, amounts in budgets
    ]


def shortages(facts: list[dict[str, Any]]) -> list[str]:
    """Sources that cannot fill their budget, with the share that is taken and how often they are repeated for it."""
    budgets: dict[str, float] = {}
    taken: dict[str, float] = {}
    epochs: dict[str, float] = {}
    for fact in facts:
        if fact["budget"]:
            name = fact["source"]
            budgets[name] = budgets.get(name, 0) + fact["budget"]
            taken[name] = taken.get(name, 0) + fact.get(fact["unit"], 0)
            epochs[name] = fact["epochs"] or 0.0
    return [
        f"{name} {taken[name] / budget:.0%}" + (f", read {epochs[name]:.1f} times an epoch" if epochs[name] > 1 else "")
        for name, budget in budgets.items()
        if taken[name] < 0.98 * budget or epochs[name] > 1
    ]

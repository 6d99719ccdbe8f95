"""What a study costs: the device-hours of its jobs, what they are billed as, and how often a job has to go on.

Hours come from speeds that were measured, else from the stated one of `hardware.sustained_tflops`; what neither tells
is unknown, and only bounded by the jobs' time limits. They are hours of steps, without reading, saving and waiting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cpt.config import BillingConfig, PartitionConfig
from cpt.errors import UserError, config_error, some
from cpt.study.plan import tokens_and_disk as estimate
from cpt.study.plan.stage_jobs import COMPARE, StageJob
from cpt.study.plan.throughput import Asking, Earlier, Setting, earlier_runs
from cpt.study.state.run import EVALUATE, PREPARE, TRAIN, Run

if TYPE_CHECKING:
    from cpt.study.plan.plan_rows import PlanRow

DEFAULT_MINUTES = 60
"""A job's time limit where `hydra.launcher.timeout_min` is not given, as submitit has it."""
CALLED = {PREPARE: "preparing", TRAIN: "training", EVALUATE: "evaluation", COMPARE: "comparing"}


def device_hours(job: StageJob, hours: float) -> float:
    """Of one element of a job, which has all its devices for so long."""
    return job.devices * hours


def billed(job: StageJob, partition: PartitionConfig, billing: BillingConfig, hours: float) -> float:
    """What one element of a job is charged; where nodes are given whole, for all devices of its nodes."""
    devices = job.devices
    if partition.whole_nodes and partition.devices:
        devices = int(job.params.get("nodes") or 1) * partition.devices
    return devices * hours * billing.per_device_hour


def by_run(jobs: Sequence[StageJob], stage: str) -> dict[str, StageJob]:
    """The job of a stage by the id of each of its runs."""
    return {run.run_id: job for job in jobs if job.stage == stage for run in job.runs}


def partition_of(job: StageJob) -> PartitionConfig:
    """What is known of the partition a job goes to."""
    known = job.runs[0].config.hardware.partitions
    return known.get(str(job.params.get("partition")), PartitionConfig())


def limit_hours(job: StageJob) -> float:
    return float(job.params.get("timeout_min") or DEFAULT_MINUTES) / 60


def jobs_in_a_row(job: StageJob, hours: float) -> int:
    """How many times a job's time limit it takes; before each limit it is told to save, and stops."""
    at_work = limit_hours(job) - float(job.params.get("signal_delay_s") or 0) / 3600
    if at_work <= 0:
        reason = f"a job of {limit_hours(job):g} h would be told to stop as soon as it starts"
        raise config_error("hydra.launcher.signal_delay_s", job.params.get("signal_delay_s"), reason)
    return max(math.ceil(hours / at_work), 1)


def training_time(run: Run, steps: int, earlier: Earlier, processes: int) -> tuple[float | None, str]:
    """Minutes of a run's training, and where they are from; nothing where they are not known."""
    config = run.config
    if (run.folder / "ledger.json").exists() and run.done("train"):
        return run.ledger()["seconds"] / 60, "measured (this run)"
    if speed := earlier.training(Setting.of(config, processes)):
        tokens = steps * config.train.global_batch * config.train.sequence_length
        return tokens / speed.value / 60, f"measured ({speed.runs} {'run' if speed.runs == 1 else 'runs'})"
    minutes = estimate.minutes_of(config, steps)
    return minutes, "" if minutes is None else f"assumed: {config.hardware.sustained_tflops:g} TFLOP/s sustained"


@dataclass(frozen=True)
class StageCost:
    """What the elements of one job come to, as far as that is known."""

    stage: str
    elements: int
    known: int
    """Elements whose time is known."""
    device_hours: float
    """Of those."""
    billed: float
    limit: float
    """A job's time limit in hours, 0 for none."""
    most_device_hours: float
    """Of the others, if each takes its whole time limit."""
    most_billed: float
    sources: tuple[str, ...]
    """What the known times rest on."""


@dataclass(frozen=True)
class Cost:
    unit: str
    """In which it is billed."""
    stages: tuple[StageCost, ...]
    notes: tuple[str, ...] = ()
    mistakes: tuple[UserError, ...] = ()
    """Trainings that could not end in as many jobs as they may be."""

    @property
    def device_hours(self) -> float:
        return sum(stage.device_hours for stage in self.stages)

    @property
    def billed(self) -> float:
        return sum(stage.billed for stage in self.stages)


def study_cost(jobs: Sequence[StageJob], rows: Sequence[PlanRow], earlier: Earlier | None = None) -> Cost:
    """What is still to be spent on a study: on its jobs, or without any on the runs that this machine has to train."""
    if not jobs:
        return Cost(BillingConfig().unit, _here(rows))
    config = jobs[0].runs[0].config
    if earlier is None:
        earlier = earlier_runs(Path(config.paths.runs))
    planned = {row.run_id: row for row in rows}
    stages, notes, mistakes = [], list[str](), list[UserError]()
    for job in jobs:
        hours, sources = _hours(job, planned, earlier)
        stages.append(_stage_cost(job, hours, sources))
        if job.stage == TRAIN:
            found, wrong = _requeues(job, hours)
            notes += found
            mistakes += wrong
    asked = sorted({job.devices for job in jobs if job.stage == TRAIN})
    if len(asked) > 1 and any("assumed" in source for stage in stages for source in stage.sources):
        some = ", ".join(map(str, asked))
        notes.append(f"hardware.sustained_tflops is taken for every run alike, though they ask for {some} devices")
    return Cost(config.hardware.billing.unit, tuple(stages), tuple(notes), tuple(mistakes))


def _here(rows: Sequence[PlanRow]) -> tuple[StageCost, ...]:
    todo = [row for row in rows if row.done in ("", "prepare") and row.devices]
    known = [row for row in todo if row.device_hours is not None]
    spent = sum(row.device_hours or 0.0 for row in known)
    sources = tuple(dict.fromkeys(row.speed_from for row in known))
    return (StageCost(TRAIN, len(todo), len(known), spent, spent, 0, 0, 0, sources),) if todo else ()


def _hours(job: StageJob, planned: dict[str, PlanRow], earlier: Earlier) -> tuple[list[float | None], list[str]]:
    """Of every element, as far as they are known, and what they rest on."""
    if job.stage == TRAIN:
        rows = [(run, planned[run.run_id]) for run in job.runs]
        hours = [None if row.minutes is None else row.minutes / 60 * _left(run, row) for run, row in rows]
        return hours, [row.speed_from for _, row in rows if row.speed_from]
    if job.stage != EVALUATE:
        return [None] * job.elements, []
    found: list[float | None] = []
    sources: list[str] = []
    for run in job.runs:
        speed = earlier.evaluation(Asking.of(run.config, job.tasks))
        found.append(speed.value * units_of(run) / 3600 if speed else None)
        sources += [f"evaluation measured ({speed.runs} {'run' if speed.runs == 1 else 'runs'})"] if speed else []
    return found, sources


def _left(run: Run, row: PlanRow) -> float:
    """The share of a training that its newest checkpoint has not yet."""
    done = max((int(path.name[5:]) for path in (run.folder / "checkpoints").glob("step-*")), default=0)
    return max(1 - done / max(row.planned_steps, 1), 0.0)


def units_of(run: Run) -> int:
    """Languages, directions and protocols a run is asked in, whether or not the files of all are there."""
    key = (repr(run.config.evals.benchmarks), *run.languages)
    if key not in _units:
        _units[key] = sum(len(benchmark.units(run.languages)) for benchmark in run.suite.benchmarks.values())
    return _units[key]


_units: dict[tuple[str, ...], int] = {}
"""By benchmarks and languages, of which a study of thousands of runs has few."""


def _stage_cost(job: StageJob, hours: list[float | None], sources: Iterable[str]) -> StageCost:
    partition, billing = partition_of(job), job.runs[0].config.hardware.billing
    if not billed(job, partition, BillingConfig(), 1) and not job.devices:
        hours = [0.0] * len(hours)  # it has no devices: however long it takes, it costs none of their hours
    known = [each for each in hours if each is not None]
    limit, others = limit_hours(job), len(hours) - len(known)
    return StageCost(
        job.stage,
        len(hours),
        len(known),
        device_hours(job, sum(known)),
        billed(job, partition, billing, sum(known)),
        limit,
        device_hours(job, limit * others),
        billed(job, partition, billing, limit * others),
        tuple(dict.fromkeys(sources)),
    )


def _requeues(job: StageJob, hours: list[float | None]) -> tuple[list[str], list[UserError]]:
    """Which runs take more than one job, and whether they may have so many."""
    times = [(run, each, jobs_in_a_row(job, each)) for run, each in zip(job.runs, hours, strict=True) if each]
    notes, allowed = [], int(job.params.get("max_num_timeout") or 0)
    for count, group in groupby(sorted(times, key=lambda entry: entry[2]), key=lambda entry: entry[2]):
        found = list(group)
        if count > 1:
            told = (
                f"{some([run.run_id for run, _, _ in found], most=2)}: up to {max(each for _, each, _ in found):,.1f} h"
            )
            notes.append(f"{told}, {count} jobs of {limit_hours(job):g} h one after the other")
    most = max((count for _, _, count in times), default=1)
    if most <= allowed + 1:
        return notes, []
    run, longest, _ = max(times, key=lambda entry: entry[2])
    reason = (
        f"{run.run_id} is expected to train for {longest:,.1f} h, {most} jobs of {limit_hours(job):g} h one after the "
        f"other, and may go on {allowed} times; give at least {most - 1}, or a longer hydra.launcher.timeout_min"
    )
    return notes, [config_error("hydra.launcher.max_num_timeout", allowed, reason)]


def print_cost(cost: Cost, console: Console) -> None:
    """What is to be spent, in a line; what is not known beforehand, and jobs that go on, in lines of their own."""
    trained = [stage for stage in cost.stages if stage.stage == TRAIN]
    runs = sum(stage.elements for stage in trained)
    known = [stage for stage in cost.stages if stage.known and stage.device_hours + stage.billed]
    if known:
        sources = list(dict.fromkeys(source for stage in known for source in stage.sources))
        line = f"{runs} {'run' if runs == 1 else 'runs'}: " if runs else ""
        line += told(cost.device_hours, cost.billed, cost.unit) + (f" ({'; '.join(sources)})" if sources else "")
        console.print(f"{line}.", highlight=False, soft_wrap=True)
    for name in dict.fromkeys(stage.stage for stage in cost.stages):
        stages = [stage for stage in cost.stages if stage.stage == name]
        if others := sum(stage.elements - stage.known for stage in stages):
            line = f"Not known beforehand, and not counted: {CALLED.get(name, name)} of {others}"
            if most := sum(stage.most_device_hours for stage in stages):
                limits = " or ".join(sorted({f"{stage.limit:g} h" for stage in stages if stage.most_device_hours}))
                all_of = told(most, sum(stage.most_billed for stage in stages), cost.unit)
                line += f"; {all_of} if each takes its job's whole {limits}"
            console.print(f"{line}.", highlight=False, soft_wrap=True)
    for note in cost.notes:
        console.print(f"{note}.", highlight=False, soft_wrap=True)


def told(hours: float, charged: float, unit: str) -> str:
    """Device-hours, and what they are billed as where that is something else."""
    line = f"{_number(hours)} device-hours"
    return line if unit == BillingConfig().unit and hours == charged else f"{line}, billed {_number(charged)} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

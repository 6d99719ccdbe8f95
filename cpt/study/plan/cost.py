"""What a study costs: the device-hours of its jobs, what they are billed as, and how often a job must resume.

Hours come from measured throughput, else from `hardware.sustained_tflops`. Where both are missing, hours are unknown
and only bounded by the time limits of the jobs. They are hours of steps, without reading, saving and waiting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console

from cpt.config import BillingConfig, PartitionConfig, StudyConfig
from cpt.errors import UserError, config_error, some
from cpt.study.plan.plan_row import PlanRow
from cpt.study.plan.stage_jobs import COMPARE, StageJob
from cpt.study.plan.throughput import EvaluationSetting, Throughput, TrainingSetting, measured_throughput
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, PREPARE, TRAIN
from cpt.train.ledger import training_flops

DEFAULT_MINUTES = 60
"""submitit's time limit of a job, where `hydra.launcher.timeout_min` is not set."""
STAGE_NAMES = {PREPARE: "preparing", TRAIN: "training", EVALUATE: "evaluation", COMPARE: "comparing"}


def device_hours(job: StageJob, hours: float) -> float:
    """Of one element of a job, which holds all its devices for these hours."""
    return job.devices * hours


def billed(job: StageJob, partition: PartitionConfig, billing: BillingConfig, hours: float) -> float:
    """The charge for one element of a job; on whole nodes, for all devices of its nodes."""
    devices = job.devices
    if partition.whole_nodes and partition.devices:
        devices = int(job.params.get("nodes") or 1) * partition.devices
    return devices * hours * billing.per_device_hour


def by_run(jobs: Sequence[StageJob], stage: str) -> dict[str, StageJob]:
    """The job of a stage by the id of each of its runs."""
    return {run.run_id: job for job in jobs if job.stage == stage for run in job.runs}


def partition_of(job: StageJob) -> PartitionConfig:
    """The configured limits of a job's partition."""
    known = job.runs[0].config.hardware.partitions
    return known.get(str(job.params.get("partition")), PartitionConfig())


def limit_hours(job: StageJob) -> float:
    return float(job.params.get("timeout_min") or DEFAULT_MINUTES) / 60


def jobs_in_a_row(job: StageJob, hours: float) -> int:
    """How many jobs in a row these hours take: each saves and stops before its time limit."""
    usable = limit_hours(job) - float(job.params.get("signal_delay_s") or 0) / 3600
    if usable <= 0:
        reason = f"a job of {limit_hours(job):g} h would have to stop as soon as it starts"
        raise config_error("hydra.launcher.signal_delay_s", job.params.get("signal_delay_s"), reason)
    return max(math.ceil(hours / usable), 1)


def training_time(run: Run, steps: int, throughput: Throughput, processes: int) -> tuple[float | None, str]:
    """Minutes of a run's training and their source; None and empty if they are unknown."""
    config = run.config
    if (run.folder / "ledger.json").exists() and run.state.done("train"):
        return run.files.read_ledger()["seconds"] / 60, "measured (this run)"
    if speed := throughput.training(TrainingSetting.of(config, processes)):
        tokens = steps * config.train.global_batch * config.train.sequence_length
        return tokens / speed.value / 60, speed.source
    minutes = assumed_minutes(config, steps)
    return minutes, "" if minutes is None else f"assumed: {config.hardware.sustained_tflops:g} TFLOP/s sustained"


def assumed_minutes(config: StudyConfig, steps: int) -> float | None:
    """Minutes of a training at `hardware.sustained_tflops`; None where that is not stated."""
    speed = config.hardware.sustained_tflops
    if not speed:
        return None
    tokens = steps * config.train.global_batch * config.train.sequence_length
    return training_flops(round(config.model.parameters), tokens) / (speed * 1e12) / 60


@dataclass(frozen=True)
class StageCost:
    """The cost of the elements of one job, as far as it is known."""

    stage: str
    elements: int
    known: int
    """Elements whose time is known."""
    device_hours: float
    """Of those elements."""
    billed: float
    limit: float
    """A job's time limit in hours, 0 for none."""
    most_device_hours: float
    """Of the other elements, if each uses its whole time limit."""
    most_billed: float
    sources: tuple[str, ...]
    """The sources of the known times."""


@dataclass(frozen=True)
class Cost:
    unit: str
    """The unit of billing."""
    stages: tuple[StageCost, ...]
    notes: tuple[str, ...] = ()
    mistakes: tuple[UserError, ...] = ()
    """Trainings that need more jobs in a row than they may have."""

    @property
    def device_hours(self) -> float:
        return sum(stage.device_hours for stage in self.stages)

    @property
    def billed(self) -> float:
        return sum(stage.billed for stage in self.stages)


def study_cost(jobs: Sequence[StageJob], rows: Sequence[PlanRow], throughput: Throughput | None = None) -> Cost:
    """The remaining cost of a study: of its jobs, or without jobs of the runs that this machine has to train."""
    if not jobs:
        return Cost(BillingConfig().unit, _local_cost(rows))
    config = jobs[0].runs[0].config
    if throughput is None:
        throughput = measured_throughput(Path(config.paths.runs))
    planned = {row.run_id: row for row in rows}
    stages, notes, mistakes = [], list[str](), list[UserError]()
    for job in jobs:
        hours, sources = _hours(job, planned, throughput)
        stages.append(_stage_cost(job, hours, sources))
        if job.stage == TRAIN:
            resumed, errors = _requeues(job, hours)
            notes += resumed
            mistakes += errors
    devices = sorted({job.devices for job in jobs if job.stage == TRAIN})
    if len(devices) > 1 and any("assumed" in source for stage in stages for source in stage.sources):
        counts = ", ".join(map(str, devices))
        notes.append(f"hardware.sustained_tflops is taken for every run alike, though they ask for {counts} devices")
    return Cost(config.hardware.billing.unit, tuple(stages), tuple(notes), tuple(mistakes))


def _local_cost(rows: Sequence[PlanRow]) -> tuple[StageCost, ...]:
    todo = [row for row in rows if row.done in ("", "prepare") and row.devices]
    known = [row for row in todo if row.device_hours is not None]
    spent = sum(row.device_hours or 0.0 for row in known)
    sources = tuple(dict.fromkeys(row.speed_from for row in known))
    return (StageCost(TRAIN, len(todo), len(known), spent, spent, 0, 0, 0, sources),) if todo else ()


def _hours(job: StageJob, planned: dict[str, PlanRow], throughput: Throughput) -> tuple[list[float | None], list[str]]:
    """The hours of every element, as far as they are known, and their sources."""
    if job.stage == TRAIN:
        rows = [(run, planned[run.run_id]) for run in job.runs]
        hours = [None if row.minutes is None else row.minutes / 60 * _left(run, row) for run, row in rows]
        return hours, [row.speed_from for _, row in rows if row.speed_from]
    if job.stage != EVALUATE:
        return [None] * job.elements, []
    speeds = [throughput.evaluation(EvaluationSetting.of(run.config, job.tasks)) for run in job.runs]
    evaluated = [
        speed.value * units_of(run) / 3600 if speed else None for run, speed in zip(job.runs, speeds, strict=True)
    ]
    return evaluated, [f"evaluation {speed.source}" for speed in speeds if speed]


def _left(run: Run, row: PlanRow) -> float:
    """The share of a training after its newest checkpoint."""
    done = max((int(path.name[5:]) for path in (run.folder / "checkpoints").glob("step-*")), default=0)
    return max(1 - done / max(row.planned_steps, 1), 0.0)


def units_of(run: Run) -> int:
    """How many units a run is evaluated on, whether or not the files of all exist."""
    key = (repr(run.config.evals.benchmarks), *run.languages)
    if key not in _units:
        _units[key] = sum(len(benchmark.units(run.languages)) for benchmark in run.suite.benchmarks.values())
    return _units[key]


_units: dict[tuple[str, ...], int] = {}
"""A cache by benchmarks and languages: a study of thousands of runs has few combinations."""


def _stage_cost(job: StageJob, hours: list[float | None], sources: Iterable[str]) -> StageCost:
    partition, billing = partition_of(job), job.runs[0].config.hardware.billing
    if not billed(job, partition, BillingConfig(), 1) and not job.devices:
        hours = [0.0] * len(hours)  # without devices it costs no device-hours, however long it takes
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
    """Runs that take more than one job, and an error if they may not have so many."""
    times = [(run, each, jobs_in_a_row(job, each)) for run, each in zip(job.runs, hours, strict=True) if each]
    notes, allowed = [], int(job.params.get("max_num_timeout") or 0)
    for count, group in groupby(sorted(times, key=lambda entry: entry[2]), key=lambda entry: entry[2]):
        members = list(group)
        if count > 1:
            names, longest = some([run.run_id for run, _, _ in members], most=2), max(each for _, each, _ in members)
            notes.append(f"{names}: up to {longest:,.1f} h, {count} jobs of {limit_hours(job):g} h one after the other")
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
    """Print the known cost in one line; unknown costs and jobs that must resume follow in lines of their own."""
    trained = [stage for stage in cost.stages if stage.stage == TRAIN]
    runs = sum(stage.elements for stage in trained)
    known = [stage for stage in cost.stages if stage.known and stage.device_hours + stage.billed]
    if known:
        sources = list(dict.fromkeys(source for stage in known for source in stage.sources))
        line = f"{runs} {'run' if runs == 1 else 'runs'}: " if runs else ""
        line += priced(cost.device_hours, cost.billed, cost.unit) + (f" ({'; '.join(sources)})" if sources else "")
        console.print(f"{line}.", highlight=False, soft_wrap=True)
    for name in dict.fromkeys(stage.stage for stage in cost.stages):
        stages = [stage for stage in cost.stages if stage.stage == name]
        if others := sum(stage.elements - stage.known for stage in stages):
            line = f"Not known beforehand, and not counted: {STAGE_NAMES.get(name, name)} of {others}"
            if most := sum(stage.most_device_hours for stage in stages):
                limits = " or ".join(sorted({f"{stage.limit:g} h" for stage in stages if stage.most_device_hours}))
                all_of = priced(most, sum(stage.most_billed for stage in stages), cost.unit)
                line += f"; {all_of} if each takes its job's whole {limits}"
            console.print(f"{line}.", highlight=False, soft_wrap=True)
    for note in cost.notes:
        console.print(f"{note}.", highlight=False, soft_wrap=True)


def priced(hours: float, charged: float, unit: str) -> str:
    """Device-hours, and the charge where it is in another unit."""
    line = f"{_number(hours)} device-hours"
    return line if unit == BillingConfig().unit and hours == charged else f"{line}, billed {_number(charged)} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

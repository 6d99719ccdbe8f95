"""Whether a study fits `hardware.quota`: its peak on the disk, and what would fit instead.

The peak is not the sum over the runs. Checkpoints exist only while a run trains or waits to resume; models and results
stay; data exists once for all runs. What the folders hold already is counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path

from cpt.config import QuotaConfig
from cpt.console import amount
from cpt.corpora.collected_text import text_key
from cpt.errors import UserError, config_error
from cpt.machine import processes_of
from cpt.study.plan.cost import by_run, jobs_in_a_row, units_of
from cpt.study.plan.disk_size import (
    BYTES_PER_TOKEN,
    BYTES_PER_WORD,
    FILES_PER_RUN,
    FILES_PER_SHARD,
    FILES_PER_TEXT,
    NOTHING,
    TOKENIZER_BYTES,
    DiskSize,
    FolderSizes,
    RunSize,
    measure_folders,
    model_size,
    results_size,
    run_size,
)
from cpt.study.plan.plan_row import PlanRow
from cpt.study.plan.run_estimates import planned_amounts, tokens_of
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, TRAIN
from cpt.tokens.shards import shard_key


@dataclass(frozen=True)
class Array:
    """Runs of which `at_once` train at the same time."""

    runs: tuple[tuple[RunSize, DiskSize], ...]
    """The size of each, and what its folder holds already."""
    at_once: int
    waiting: bool = False
    """Whether a run may wait to resume while others train, so that its checkpoints stay."""


@dataclass(frozen=True)
class Peak:
    """The maximum of a study on the disk at any time."""

    parts: dict[str, DiskSize]

    @property
    def size(self) -> DiskSize:
        return sum(self.parts.values(), NOTHING)


def peak(arrays: Sequence[Array], shared: DiskSize = NOTHING, there: DiskSize = NOTHING) -> Peak:
    """The peak: all data is prepared, every model is saved, and the largest runs train last.

    `shared` is what data and base models still need, `there` what the folders hold already, of these runs or others.
    """
    stays, training = NOTHING, NOTHING
    for array in arrays:
        running: list[DiskSize] = []
        stopped: list[DiskSize] = []
        for size, present in array.runs:
            after = size.after.beyond(present)
            stays += after
            running.append(size.running.beyond(present).beyond(after))
            stopped.append(size.stopped.beyond(present).beyond(after) if array.waiting else NOTHING)
        # A run takes at least as much while it trains as while it waits, so the largest trainings are the worst case.
        training += DiskSize(
            _most([size.bytes for size in running], [size.bytes for size in stopped], array.at_once),
            _most([size.files for size in running], [size.files for size in stopped], array.at_once),
        )
    return Peak({"there already": there, "data": shared, "models and results": stays, "checkpoints": training})


def _most(running: list[int], stopped: list[int], at_once: int) -> int:
    return sum(stopped) + sum(nlargest(at_once, (more - less for more, less in zip(running, stopped, strict=True))))


@dataclass(frozen=True)
class DiskPlan:
    """The disk that a study needs as planned, and with fewer checkpoints, runs at once, or runs."""

    arrays: tuple[Array, ...]
    sparing: tuple[Array, ...]
    """The same with `train.keep_last=1`."""
    bases: Array
    """The base models, which leave only results here."""
    shared: DiskSize
    there: DiskSize
    counted: bool
    """Whether `there` was measured completely."""
    key: str
    """The configuration key that sets how many runs train at once."""

    @property
    def peak(self) -> Peak:
        return peak([*self.arrays, self.bases], self.shared, self.there)

    def with_at_once(self, count: int) -> DiskPlan:
        def fewer(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
            return tuple(replace(array, at_once=min(array.at_once, count)) for array in arrays)

        return replace(self, arrays=fewer(self.arrays), sparing=fewer(self.sparing))

    def with_one_checkpoint(self) -> DiskPlan:
        return replace(self, arrays=self.sparing)

    def with_runs(self, count: int) -> DiskPlan:
        """With the first runs alone, in their order."""
        arrays: list[Array] = []
        for array in self.arrays:
            arrays.append(replace(array, runs=array.runs[:count]))
            count -= len(arrays[-1].runs)
        return replace(self, arrays=tuple(arrays))

    @property
    def runs(self) -> int:
        return sum(len(array.runs) for array in self.arrays)


def disk_plan(
    runs: Sequence[Run], bases: Sequence[Run], rows: Sequence[PlanRow], slots: int, jobs: Sequence[StageJob] = ()
) -> DiskPlan:
    """The disk that a study needs: by its jobs on a cluster, else with `slots` runs at a time.

    Without a quota the disk is not measured, and the study is planned as if none of it existed.
    """
    config = runs[0].config
    quota, steps = config.hardware.quota, {row.run_id: row.planned_steps for row in rows}
    roots = [Path(config.paths.runs), Path(config.paths.cache)]
    limited = quota.gb is not None or quota.files is not None
    present = measure_folders(roots) if limited else FolderSizes(NOTHING, {}, True)
    minutes = {row.run_id: row.minutes for row in rows}
    stage_jobs = by_run(jobs, TRAIN), by_run(jobs, EVALUATE)

    def sizes(keep_last: int | None, members: Sequence[Run]) -> tuple[tuple[RunSize, DiskSize], ...]:
        return tuple(
            (
                _run_size(run, steps.get(run.run_id, 0), keep_last, *stage_jobs),
                present.folders.get(run.folder.resolve(), NOTHING) if present.folders else NOTHING,
            )
            for run in members
        )

    arrays: dict[str, list[Run]] = {}
    for run in runs:
        job = stage_jobs[0].get(run.run_id)
        arrays.setdefault(job.name if job else "", []).append(run)
    names = {job.name: job for job in jobs}

    def planned(keep_last: int | None) -> tuple[Array, ...]:
        return tuple(
            Array(sizes(keep_last, members), *_at_once(names.get(name), slots, minutes))
            for name, members in arrays.items()
        )

    shared = _data(runs, present.folders) + _base_models(bases, roots)
    key = "hydra.launcher.array_parallelism" if jobs else "hardware.slots"
    return DiskPlan(
        planned(None), planned(1), Array(sizes(None, bases), 0), shared, present.total, present.complete, key
    )


def _run_size(
    run: Run,
    steps: int,
    keep_last: int | None,
    train_jobs: Mapping[str, StageJob],
    evaluate_jobs: Mapping[str, StageJob],
) -> RunSize:
    config, local = run.config, processes_of(run.config.hardware)
    training, evaluating = train_jobs.get(run.run_id), evaluate_jobs.get(run.run_id)
    results = results_size(config.scale, steps, units_of(run), evaluating.tasks if evaluating else local)
    if not run.trains:
        return RunSize(results, results, results)
    if keep_last is not None:
        config = replace(config, train=replace(config.train, keep_last=keep_last))
    size = run_size(config, steps, results, training.tasks if training else local)
    return RunSize(size.after, size.after, size.after) if run.state.done("train") else size


def _at_once(job: StageJob | None, slots: int, minutes: Mapping[str, float | None]) -> tuple[int, bool]:
    """How many runs train at once, and whether some must resume in a second job: others may start before it."""
    if job is None:
        return slots, False
    expected = [known / 60 for run in job.runs if (known := minutes.get(run.run_id)) is not None]
    resumes = any(jobs_in_a_row(job, hours) > 1 for hours in expected)
    return min(int(job.params.get("array_parallelism") or job.elements), job.elements), resumes


def _data(runs: Sequence[Run], folders: Mapping[Path, DiskSize]) -> DiskSize:
    """Shards and stored texts that are still to be made, each once for all runs."""
    planned: dict[Path, DiskSize] = {}
    seen: set[tuple[str, bool]] = set()
    for run in runs:
        ready = run.state.done("prepare")
        if run.state.done("train") or (run.prepare_key, ready) in seen:
            continue
        seen.add((run.prepare_key, ready))
        for item, amounts in planned_amounts(run):
            tokens = tokens_of(amounts, item.unit, run.config.model.tokens_per_word)
            models = [run.model, *([item.counter] if item.counter else [])]
            for model in {model.tokenizer_fingerprint: model for model in models}.values():
                folder = run.cache / "shards" / shard_key(item.source, model.tokenizer_fingerprint)
                size = DiskSize(tokens * BYTES_PER_TOKEN, FILES_PER_SHARD)
                _add(planned, folder, _measured(folder) if ready and folder.is_dir() else size)
            if item.source.collected:
                folder = run.cache / "texts" / text_key(item.source)
                size = DiskSize(sum(amounts.values()) * BYTES_PER_WORD, FILES_PER_TEXT)
                _add(planned, folder, _measured(folder) if ready and folder.is_dir() else size)
    missing = [size.beyond(folders.get(folder.resolve(), NOTHING)) for folder, size in planned.items()]
    return sum(missing, NOTHING)


def _add(planned: dict[Path, DiskSize], folder: Path, size: DiskSize) -> None:
    planned[folder] = planned.get(folder, NOTHING).most(size)


def _measured(folder: Path) -> DiskSize:
    return measure_folders([folder]).total


def _base_models(bases: Sequence[Run], roots: Sequence[Path]) -> DiskSize:
    """Weights still to be downloaded, if the hub's cache is in a folder of the quota."""
    needed = {
        run.model.path: run.config.model.parameters
        for run in bases
        if run.model.toy is None and not run.model.local and run.model.weights != "random"
    }
    if not needed:
        return NOTHING
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).expanduser().resolve()
    if not any(cache.is_relative_to(root.expanduser().resolve()) for root in roots):
        return NOTHING
    total = NOTHING
    for path, parameters in needed.items():
        size = model_size(parameters)
        # The cache of a hub has a link and a folder for each file.
        size = DiskSize(size.bytes + TOKENIZER_BYTES, 2 * size.files + FILES_PER_RUN)
        folder = cache / f"models--{path.replace('/', '--')}"
        total += size.beyond(_measured(folder) if folder.is_dir() else NOTHING)
    return total


@dataclass(frozen=True)
class Limit:
    """One of the two limits of a quota."""

    key: str
    most: float
    unit: str

    def of(self, size: DiskSize) -> int:
        return size.bytes if self.unit == "B" else size.files

    def fits(self, plan: DiskPlan) -> bool:
        return self.of(plan.peak.size) <= self.most

    def shown(self, size: float) -> str:
        return amount(size, "B") if self.unit == "B" else f"{size:,.0f} files"


def quota_mistakes(disk: DiskPlan, quota: QuotaConfig) -> list[UserError]:
    """One error for each exceeded limit: the peak by part, and settings that would fit."""
    mistakes = []
    for key, value, limit in (
        ("gb", quota.gb, Limit("gb", (quota.gb or 0) * 1e9, "B")),
        ("files", quota.files, Limit("files", quota.files or 0, "files")),
    ):
        if value is None or limit.fits(disk):
            continue
        parts = [f"{limit.shown(limit.of(size))} {name}" for name, size in disk.peak.parts.items() if limit.of(size)]
        if not disk.counted:
            parts.append("and more that is there, for it was not counted to the end")
        needed = f"at its peak the study takes {limit.shown(limit.of(disk.peak.size))} ({', '.join(parts)})"
        reason = f"{needed}; {_instead(disk, limit)}"
        mistakes.append(config_error(f"hardware.quota.{key}", f"{value:g}", reason))
    return mistakes


def _instead(disk: DiskPlan, limit: Limit) -> str:
    """Settings that would fit: fewer runs at once or fewer checkpoints, else both, else fewer runs."""
    widest = max((min(array.at_once, len(array.runs)) for array in disk.arrays), default=1)

    def sentence(plan: DiskPlan, setting: str) -> str:
        return f"with {setting} it would need {limit.shown(limit.of(plan.peak.size))}"

    def fewer(plan: DiskPlan) -> int:
        return _largest(lambda count: limit.fits(plan.with_at_once(count)), widest - 1)

    options, sparing = [], disk.with_one_checkpoint()
    if count := fewer(disk):
        options.append(sentence(disk.with_at_once(count), f"{disk.key}={count}"))
    if limit.fits(sparing):
        options.append(sentence(sparing, "train.keep_last=1"))
    elif not options and (count := fewer(sparing)):
        options.append(sentence(sparing.with_at_once(count), f"{disk.key}={count} and train.keep_last=1"))
    if options:
        return "; ".join(options)
    least = sparing.with_at_once(1)
    if count := _largest(lambda count: limit.fits(least.with_runs(count)), least.runs):
        return f"with {disk.key}=1 and train.keep_last=1 the first {count} runs would fit; launch the others later"
    return "not even one run would fit; make room there (`cpt data` lists and removes shards) or name other paths"


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, by bisection; 0 if none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low

"""Whether a study fits its disk: what it takes at its peak, against `hardware.quota`, and what would fit.

A peak is not the sum of the runs' own. Checkpoints are there only while a run trains, or waits to go on; models and
results stay; data is there once for all runs. What the folders hold already counts, and is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.config import QuotaConfig
from cpt.console import amount
from cpt.corpora.collected_text import text_key
from cpt.errors import UserError, config_error
from cpt.machine import processes_of
from cpt.study.plan import tokens_and_disk as estimate
from cpt.study.plan.cost import by_run, jobs_in_a_row, units_of
from cpt.study.plan.disk_usage import Held, held
from cpt.study.plan.plan_rows import planned_amounts
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.tokens_and_disk import NOTHING, Room, RunRoom
from cpt.study.state.run import EVALUATE, TRAIN, Run
from cpt.tokens.shards import shard_key

if TYPE_CHECKING:
    from cpt.study.plan.plan_rows import PlanRow


@dataclass(frozen=True)
class Array:
    """Runs of which so many train at once."""

    runs: tuple[tuple[RunRoom, Room], ...]
    """What each takes, and what of it is in its folder already."""
    at_once: int
    waiting: bool = False
    """Whether a run that has trained for a while may wait to go on while others train: its checkpoints stay."""


@dataclass(frozen=True)
class Peak:
    """The most a study takes of the disk at any time."""

    parts: dict[str, Room]

    @property
    def room(self) -> Room:
        return sum(self.parts.values(), NOTHING)


def peak(arrays: Sequence[Array], shared: Room = NOTHING, there: Room = NOTHING) -> Peak:
    """When all is prepared, every model is there, and the largest runs are training at last.

    `shared` is what data and base models still take, `there` what the folders hold already, of these runs or others.
    """
    stays, training = NOTHING, NOTHING
    for array in arrays:
        running: list[Room] = []
        stopped: list[Room] = []
        for room, found in array.runs:
            after = room.after.beyond(found)
            stays += after
            running.append(room.running.beyond(found).beyond(after))
            stopped.append(room.stopped.beyond(found).beyond(after) if array.waiting else NOTHING)
        # Whoever trains takes at least as much as when it waits, so the largest trainings are the worst case.
        training += Room(
            _most([room.bytes for room in running], [room.bytes for room in stopped], array.at_once),
            _most([room.files for room in running], [room.files for room in stopped], array.at_once),
        )
    return Peak({"there already": there, "data": shared, "models and results": stays, "checkpoints": training})


def _most(running: list[int], stopped: list[int], at_once: int) -> int:
    return sum(stopped) + sum(nlargest(at_once, (more - less for more, less in zip(running, stopped, strict=True))))


@dataclass(frozen=True)
class DiskPlan:
    """A study's disk, as it is planned and as it could be."""

    arrays: tuple[Array, ...]
    sparing: tuple[Array, ...]
    """With `train.keep_last=1`."""
    bases: Array
    """The untouched models, of which only results stay here."""
    shared: Room
    there: Room
    counted: bool
    """Whether `there` is all there is."""
    key: str
    """What says how many runs train at once."""

    @property
    def peak(self) -> Peak:
        return peak([*self.arrays, self.bases], self.shared, self.there)

    def with_at_once(self, count: int) -> DiskPlan:
        def fewer(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
            return tuple(replace(array, at_once=min(array.at_once, count)) for array in arrays)

        return replace(self, arrays=fewer(self.arrays), sparing=fewer(self.sparing))

    def with_one_kept(self) -> DiskPlan:
        return replace(self, arrays=self.sparing)

    def with_runs(self, count: int) -> DiskPlan:
        """The first runs alone, in their order."""
        kept: list[Array] = []
        for array in self.arrays:
            kept.append(replace(array, runs=array.runs[:count]))
            count -= len(kept[-1].runs)
        return replace(self, arrays=tuple(kept))

    @property
    def runs(self) -> int:
        return sum(len(array.runs) for array in self.arrays)


def disk_plan(
    runs: Sequence[Run], bases: Sequence[Run], rows: Sequence[PlanRow], slots: int, jobs: Sequence[StageJob] = ()
) -> DiskPlan:
    """What a study takes of the disk: on a cluster by its jobs, else with `slots` runs at a time.

    Without a quota nothing on disk is looked at, and the study is planned as if nothing of it were there.
    """
    config = runs[0].config
    quota, steps = config.hardware.quota, {row.run_id: row.planned_steps for row in rows}
    roots = [Path(config.paths.runs), Path(config.paths.cache)]
    limited = quota.gb is not None or quota.files is not None
    found = held(roots) if limited else Held(NOTHING, {}, True)
    minutes = {row.run_id: row.minutes for row in rows}
    trained_by, asked_by = by_run(jobs, TRAIN), by_run(jobs, EVALUATE)

    def rooms(keep_last: int | None, members: Sequence[Run]) -> tuple[tuple[RunRoom, Room], ...]:
        return tuple(
            (
                _room(run, steps.get(run.run_id, 0), keep_last, trained_by, asked_by),
                found.folders.get(run.folder.resolve(), NOTHING) if found.folders else NOTHING,
            )
            for run in members
        )

    arrays: dict[str, list[Run]] = {}
    for run in runs:
        job = trained_by.get(run.run_id)
        arrays.setdefault(job.name if job else "", []).append(run)
    names = {job.name: job for job in jobs}

    def made(keep_last: int | None) -> tuple[Array, ...]:
        return tuple(
            Array(rooms(keep_last, members), *_at_once(names.get(name), slots, minutes))
            for name, members in arrays.items()
        )

    shared = _data(runs, found.folders) + _base_models(bases, roots)
    key = "hydra.launcher.array_parallelism" if jobs else "hardware.slots"
    return DiskPlan(made(None), made(1), Array(rooms(None, bases), 0), shared, found.room, found.whole, key)


def _room(
    run: Run,
    steps: int,
    keep_last: int | None,
    trained_by: Mapping[str, StageJob],
    asked_by: Mapping[str, StageJob],
) -> RunRoom:
    config, here = run.config, processes_of(run.config.hardware)
    training, asking = trained_by.get(run.run_id), asked_by.get(run.run_id)
    results = estimate.results_room(config.scale, steps, units_of(run), asking.tasks if asking else here)
    if not run.trains:
        return RunRoom(results, results, results)
    if keep_last is not None:
        config = replace(config, train=replace(config.train, keep_last=keep_last))
    room = estimate.run_room(config, steps, results, training.tasks if training else here)
    return RunRoom(room.after, room.after, room.after) if run.done("train") else room


def _at_once(job: StageJob | None, slots: int, minutes: Mapping[str, float | None]) -> tuple[int, bool]:
    """How many runs train at once, and whether some of them have to go on in a second job: the queue may then let
    others begin before."""
    if job is None:
        return slots, False
    expected = [found / 60 for run in job.runs if (found := minutes.get(run.run_id)) is not None]
    again = any(jobs_in_a_row(job, hours) > 1 for hours in expected)
    return min(int(job.params.get("array_parallelism") or job.elements), job.elements), again


def _data(runs: Sequence[Run], folders: Mapping[Path, Room]) -> Room:
    """Shards and kept texts that are still to be made, each once for all runs."""
    planned: dict[Path, Room] = {}
    seen: set[tuple[str, bool]] = set()
    for run in runs:
        ready = run.done("prepare")
        if run.done("train") or (run.prepare_key, ready) in seen:
            continue
        seen.add((run.prepare_key, ready))
        for item, amounts in planned_amounts(run):
            tokens = estimate.tokens_of(amounts, item.unit, run.config.model.tokens_per_word)
            models = [run.model, *([item.counter] if item.counter else [])]
            for model in {model.tokenizer_fingerprint: model for model in models}.values():
                place = run.cache / "shards" / shard_key(item.source, model.tokenizer_fingerprint)
                size = Room(tokens * estimate.BYTES_A_TOKEN, estimate.FILES_PER_SHARD)
                _add(planned, place, _made(place) if ready and place.is_dir() else size)
            if item.source.collected:
                place = run.cache / "texts" / text_key(item.source)
                size = Room(sum(amounts.values()) * estimate.BYTES_A_WORD, estimate.FILES_PER_TEXT)
                _add(planned, place, _made(place) if ready and place.is_dir() else size)
    rooms = [room.beyond(folders.get(place.resolve(), NOTHING)) for place, room in planned.items()]
    return sum(rooms, NOTHING)


def _add(planned: dict[Path, Room], place: Path, room: Room) -> None:
    planned[place] = planned.get(place, NOTHING).most(room)


def _made(folder: Path) -> Room:
    return held([folder]).room


def _base_models(bases: Sequence[Run], roots: Sequence[Path]) -> Room:
    """Weights a hub has still to send, where its cache lies in folders that the quota is about."""
    wanted = {
        run.model.path: run.config.model.parameters
        for run in bases
        if run.model.toy is None and not run.model.local and run.model.weights != "random"
    }
    if not wanted:
        return NOTHING
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).expanduser().resolve()
    if not any(cache.is_relative_to(root.expanduser().resolve()) for root in roots):
        return NOTHING
    total = NOTHING
    for path, parameters in wanted.items():
        room = estimate.model_room(parameters)
        # A hub's cache has a link and a folder for each file.
        room = Room(room.bytes + estimate.TOKENIZER_BYTES, 2 * room.files + estimate.FILES_PER_RUN)
        folder = cache / f"models--{path.replace('/', '--')}"
        total += room.beyond(_made(folder) if folder.is_dir() else NOTHING)
    return total


@dataclass(frozen=True)
class Limit:
    """One of a quota's two numbers."""

    key: str
    most: float
    unit: str

    def of(self, found: Room) -> int:
        return found.bytes if self.unit == "B" else found.files

    def fits(self, plan: DiskPlan) -> bool:
        return self.of(plan.peak.room) <= self.most

    def shown(self, size: float) -> str:
        return amount(size, "B") if self.unit == "B" else f"{size:,.0f} files"


def quota_mistakes(disk: DiskPlan, quota: QuotaConfig) -> list[UserError]:
    """Where a study does not fit: how much it takes, of what, and what would fit instead, each of them computed."""
    mistakes = []
    for key, given, limit in (
        ("gb", quota.gb, Limit("gb", (quota.gb or 0) * 1e9, "B")),
        ("files", quota.files, Limit("files", quota.files or 0, "files")),
    ):
        if given is None or limit.fits(disk):
            continue
        parts = [f"{limit.shown(limit.of(room))} {name}" for name, room in disk.peak.parts.items() if limit.of(room)]
        if not disk.counted:
            parts.append("and more that is there, for it was not counted to the end")
        needed = f"at its peak the study takes {limit.shown(limit.of(disk.peak.room))} ({', '.join(parts)})"
        reason = f"{needed}; {_instead(disk, limit)}"
        mistakes.append(config_error(f"hardware.quota.{key}", f"{given:g}", reason))
    return mistakes


def _instead(disk: DiskPlan, limit: Limit) -> str:
    """What would fit: fewer runs at a time, fewer checkpoints, or if neither suffices both, or fewer runs."""
    widest = max((min(array.at_once, len(array.runs)) for array in disk.arrays), default=1)

    def told(plan: DiskPlan, setting: str) -> str:
        return f"with {setting} it would need {limit.shown(limit.of(plan.peak.room))}"

    def fewer(plan: DiskPlan) -> int:
        return _largest(lambda count: limit.fits(plan.with_at_once(count)), widest - 1)

    found, sparing = [], disk.with_one_kept()
    if count := fewer(disk):
        found.append(told(disk.with_at_once(count), f"{disk.key}={count}"))
    if limit.fits(sparing):
        found.append(told(sparing, "train.keep_last=1"))
    elif not found and (count := fewer(sparing)):
        found.append(told(sparing.with_at_once(count), f"{disk.key}={count} and train.keep_last=1"))
    if found:
        return "; ".join(found)
    least = sparing.with_at_once(1)
    if count := _largest(lambda count: limit.fits(least.with_runs(count)), least.runs):
        return f"with {disk.key}=1 and train.keep_last=1 the first {count} runs would fit; launch the others later"
    return "not even one run would fit; make room there (`cpt data` lists and removes shards) or name other paths"


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, 0 for none; what fits for a number fits for every smaller one."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low

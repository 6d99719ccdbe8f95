"""What a study takes of the disk at its peak, and what would fit where it does not: sums on known values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpt.config import QuotaConfig, StudyConfig
from cpt.study.plan.disk_size import (
    NOTHING,
    DiskSize,
    RunSize,
    checkpoint_size,
    measure_folders,
    model_size,
    results_size,
    run_size,
)
from cpt.study.plan.quota import Array, DiskPlan, disk_plan, peak, quota_mistakes
from cpt.study.plan.run_estimates import estimate_runs
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.state.run import Run

GB = 10**9
RUN = RunSize(running=DiskSize(30 * GB, 30), stopped=DiskSize(20 * GB, 20), after=DiskSize(2 * GB, 12))
"""A run of 10 GB a checkpoint, of which it keeps two."""
SPARING = RunSize(running=DiskSize(20 * GB, 20), stopped=DiskSize(10 * GB, 15), after=DiskSize(2 * GB, 12))
COMPOSED: list[StudyConfig] = []


@pytest.fixture
def run(compose: Callable[..., list[StudyConfig]], tmp_path: Path) -> Run:
    if not COMPOSED:
        COMPOSED.extend(compose("scale=paper", "langcat=alt", "data=bi", "dry_run=true"))
    paths = replace(COMPOSED[0].paths, runs=str(tmp_path / "runs"), cache=str(tmp_path / "cache"))
    hardware = replace(COMPOSED[0].hardware, processes=8)
    return Run(replace(COMPOSED[0], hardware=hardware, paths=paths))


def limited(run: Run, gb: float | None = None, files: int | None = None) -> Run:
    return Run(replace(run.config, hardware=replace(run.config.hardware, quota=QuotaConfig(gb, files))))


def seed(run: Run, number: int) -> Run:
    return Run(replace(run.config, seed=number))


def array(count: int, at_once: int, room: RunSize = RUN, waiting: bool = False, found: DiskSize = NOTHING) -> Array:
    return Array(((room, found),) * count, at_once, waiting)


def plan_of(count: int, at_once: int, there: DiskSize = NOTHING, counted: bool = True) -> DiskPlan:
    sparing = (array(count, at_once, SPARING),)
    key = "hydra.launcher.array_parallelism"
    return DiskPlan((array(count, at_once),), sparing, Array((), 0), DiskSize(5 * GB, 9), there, counted, key)


def test_a_checkpoint_of_eight_billion_parameters_is_96_gb() -> None:
    """Weights and two moments in fp32; of 8 processes each writes 4 GB and 8 GB, no more than 2 GiB a file."""
    assert checkpoint_size(8e9, 8) == DiskSize(96 * GB, 8 * (2 + 4 + 1) + 2)
    assert checkpoint_size(8e9, 8, moments=False) == DiskSize(32 * GB, 8 * 2 + 2)
    assert model_size(8e9) == DiskSize(16 * GB, 4 + 2)


@pytest.mark.parametrize(
    ("steps", "keep_last", "keep_every", "running", "stopped", "after"),
    [
        (5_000, 2, None, 3, 2, 0),
        (5_000, 1, None, 2, 1, 0),
        (1_000, 2, None, 2, 2, 0),
        (5_000, 2, 1_000, 5 + 3, 5 + 2, 5),
        (5_200, 2, 2_600, 3 + 1, 2 + 1, 1),
    ],
    ids=["two of ten", "one of ten", "all there ever are", "each second for good", "the last for good"],
)
def test_the_checkpoints_of_a_run_follow_the_rule_by_which_they_are_kept(
    run: Run, steps: int, keep_last: int, keep_every: int | None, running: int, stopped: int, after: int
) -> None:
    train = replace(run.config.train, save_every=500, keep_last=keep_last, keep_every=keep_every)
    config = replace(run.config, train=train, model=replace(run.config.model, parameters=8e9))
    room = run_size(config, steps, NOTHING, 8)
    assert room.running.bytes == max(running * 96, stopped * 96 + 16) * GB, "or the model beside those that stay"
    assert room.stopped.bytes == stopped * 96 * GB
    assert room.after.bytes == (16 + after * 32) * GB


def test_a_peak_has_the_checkpoints_of_those_that_train_and_the_models_of_all() -> None:
    found = peak([array(36, at_once=4)], shared=DiskSize(5 * GB, 9), there=DiskSize(100 * GB, 50))
    assert found.parts == {
        "there already": DiskSize(100 * GB, 50),
        "data": DiskSize(5 * GB, 9),
        "models and results": DiskSize(36 * 2 * GB, 36 * 12),
        "checkpoints": DiskSize(4 * 28 * GB, 4 * 18),
    }
    assert found.size == DiskSize((100 + 5 + 72 + 112) * GB, 50 + 9 + 432 + 72)
    assert peak([array(2, at_once=4)]).size.bytes == 2 * 30 * GB, "no more than there are"


def test_the_largest_trainings_are_the_worst_case() -> None:
    small = RunSize(DiskSize(3 * GB, 3), DiskSize(2 * GB, 2), DiskSize(1 * GB, 1))
    mixed = Array(((small, NOTHING), (RUN, NOTHING), (small, NOTHING)), 1)
    assert peak([mixed]).parts["checkpoints"] == DiskSize(28 * GB, 18)
    assert peak([array(1, 1), array(1, 1, small)]).parts["checkpoints"].bytes == (28 + 2) * GB, (
        "arrays run side by side"
    )


def test_runs_that_wait_to_go_on_keep_their_checkpoints() -> None:
    found = peak([array(10, at_once=2, waiting=True)])
    assert found.parts["checkpoints"].bytes == (2 * 28 + 8 * 18) * GB


def test_what_a_run_has_already_is_not_counted_twice() -> None:
    begun = array(1, at_once=1, found=DiskSize(20 * GB, 20))
    assert peak([begun], there=DiskSize(20 * GB, 20)).size.bytes == 30 * GB
    finished = array(1, 1, RunSize(RUN.after, RUN.after, RUN.after), found=DiskSize(2 * GB, 12))
    assert peak([finished], there=DiskSize(2 * GB, 12)).size == DiskSize(2 * GB, 12)


def test_folders_are_counted_with_what_is_in_them_and_nested_ones_once(tmp_path: Path) -> None:
    runs, cache = tmp_path / "runs", tmp_path / "runs" / "cache"
    (runs / "study" / "run" / "model").mkdir(parents=True)
    (runs / "study" / "run" / "model" / "weights").write_bytes(b"x" * 1000)
    (runs / "study" / "run" / "log.txt").write_bytes(b"x" * 10)
    (cache / "shards" / "key").mkdir(parents=True)
    (cache / "shards" / "key" / "tokens.bin").write_bytes(b"x" * 500)
    (cache / "shards" / "link").symlink_to(runs / "study")
    link = (cache / "shards" / "link").lstat().st_size
    found = measure_folders([runs, cache, tmp_path / "nowhere"])
    assert found.complete
    assert found.total == DiskSize(1510 + link, 4 + 7)
    assert found.folders[(runs / "study" / "run").resolve()] == DiskSize(1010, 4)
    assert found.folders[(cache / "shards" / "key").resolve()] == DiskSize(500, 2)
    assert not measure_folders([runs], seconds=-1).complete


def told(disk: DiskPlan, **quota: Any) -> list[str]:
    return [str(mistake) for mistake in quota_mistakes(disk, QuotaConfig(**quota))]


def test_a_study_that_fits_is_no_mistake_and_neither_is_an_unknown_quota() -> None:
    assert told(plan_of(36, 4), gb=189, files=513) == []
    assert told(plan_of(36, 4)) == []


def test_over_the_quota_it_is_said_what_would_fit() -> None:
    [mistake] = told(plan_of(36, 8, DiskSize(100 * GB, 50)), gb=300)
    assert mistake == (
        "hardware.quota.gb=300: at its peak the study takes 401.0 GB (100.0 GB there already, 5.0 GB data, 72.0 GB "
        "models and results, 224.0 GB checkpoints); with hydra.launcher.array_parallelism=4 it would need 289.0 GB"
    )
    [mistake] = told(plan_of(36, 4), gb=150)
    assert "array_parallelism=2 it would need 133.0 GB; with train.keep_last=1 it would need 149.0 GB" in mistake


def test_when_neither_suffices_both_together_do_or_fewer_runs() -> None:
    [mistake] = told(plan_of(36, 4), gb=100)
    assert mistake.endswith("with hydra.launcher.array_parallelism=1 and train.keep_last=1 it would need 95.0 GB")
    [mistake] = told(plan_of(36, 4), gb=60)
    assert "array_parallelism=1 and train.keep_last=1 the first 18 runs would fit" in mistake
    assert peak([array(18, 1, SPARING)], DiskSize(5 * GB)).size.bytes <= 60 * GB
    assert peak([array(19, 1, SPARING)], DiskSize(5 * GB)).size.bytes > 60 * GB
    [mistake] = told(plan_of(36, 4, DiskSize(100 * GB)), gb=110)
    assert "not even one run would fit; make room" in mistake


def test_files_are_held_against_their_own_limit() -> None:
    [mistake] = told(plan_of(36, 4), gb=1000, files=500)
    assert mistake.startswith(
        "hardware.quota.files=500: at its peak the study takes 513 files (9 files data, 432 files"
    )
    assert "array_parallelism=3 it would need 495 files" in mistake


def test_a_folder_that_was_not_counted_to_the_end_is_said() -> None:
    [mistake] = told(plan_of(36, 8, counted=False), gb=100)
    assert "and more that is there, for it was not counted to the end" in mistake


def planned(runs: Sequence[Run], slots: int = 1, jobs: Sequence[StageJob] = ()) -> DiskPlan:
    return disk_plan(runs, [Run.base_of(runs[0].config)], estimate_runs(runs, jobs), slots, jobs)


def test_data_is_counted_once_for_all_runs(run: Run) -> None:
    one, two = planned([run]), planned([run, seed(run, 2)])
    assert one.shared.bytes > 1 * GB
    assert one.shared == two.shared
    assert len(two.arrays[0].runs) == 2


def test_the_parts_of_a_plan(run: Run) -> None:
    """Four models of the study's, two trained at a time."""
    runs = [seed(run, number) for number in range(1, 5)]
    parts = planned(runs, slots=2).peak.parts
    assert parts["there already"] == NOTHING, "without a quota nothing is looked at"
    assert parts["checkpoints"].bytes == pytest.approx(2 * (3 * 12 - 2) * 8.03e9, rel=0.01)
    assert parts["models and results"].bytes == pytest.approx(4 * 2 * 8.03e9, rel=0.02)


def test_what_is_on_the_disk_counts_and_what_of_it_is_the_studys_only_once(run: Run, tmp_path: Path) -> None:
    alone = planned([limited(run, gb=1e6)]).peak.size.bytes
    (run.folder / "model").mkdir(parents=True)
    (run.folder / "model" / "weights").write_bytes(b"x" * 10_000_000)
    assert planned([limited(run, gb=1e6)]).peak.size.bytes == alone
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "weights").write_bytes(b"x" * 10_000_000)
    assert planned([limited(run, gb=1e6)]).peak.size.bytes == alone + 10_000_000


def test_jobs_say_how_many_train_at_once_and_which_may_have_to_wait(run: Run) -> None:
    some = Run(replace(run.config, hardware=replace(run.config.hardware, sustained_tflops=400)))
    runs = tuple(seed(some, number) for number in range(1, 7))
    params = {"nodes": 1, "tasks_per_node": 8, "gpus_per_node": 8, "array_parallelism": 2, "timeout_min": 2880}
    [found] = planned(runs, 1, [StageJob("train", "train", runs, params)]).arrays
    assert (found.at_once, found.waiting, len(found.runs)) == (2, False, 6)
    [found] = planned(runs, 1, [StageJob("train", "train", runs, {**params, "timeout_min": 60})]).arrays
    assert (found.at_once, found.waiting) == (2, True), "others may begin before a run goes on"


def test_every_process_that_evaluates_has_a_file_of_its_own_for_a_unit() -> None:
    one = results_size("paper", 5_000, units=100, processes=1)
    eight = results_size("paper", 5_000, units=100, processes=8)
    assert eight.files - one.files == 700
    assert eight.bytes == one.bytes

"""A study against partitions' limits, on jobs whose verdicts are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cpt.config import PartitionConfig, StudyConfig
from cpt.study.cluster.limits import limit_mistakes
from cpt.study.plan.stage_jobs import COMPARE, StageJob, job_plan
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, PREPARE, TRAIN

PARTITIONS = {
    "standard-g": PartitionConfig(2880, 1024, 210, 200, devices=8, cores=56, memory_gb=480, whole_nodes=True),
    "small-g": PartitionConfig(4320, 4, 210, 200, devices=8, cores=56, memory_gb=480),
    "dev-g": PartitionConfig(180, 32, 2, 1, devices=8, cores=56, memory_gb=480),
    "small": PartitionConfig(4320, 4, 220, 200, cores=128),
}
NODE = {"nodes": 1, "tasks_per_node": 8, "gpus_per_node": 8, "cpus_per_task": 7, "mem_gb": 480, "timeout_min": 180}
KEPT: list[Run] = []


@pytest.fixture
def runs(compose: Callable[..., list[StudyConfig]]) -> list[Run]:
    """The 36 runs of the study and the 3 base models, the latter at the end."""
    if not KEPT:
        lumi = ("hardware=lumi", "hardware.account=project_465000000")
        found = [Run(config) for config in compose("sweeps=paper36", *lumi, "dry_run=true")]
        KEPT.extend(found)
        KEPT.extend(Run.base_of(run.config) for run in found[::12])
    return KEPT


def told(jobs: list[StageJob]) -> list[str]:
    return [str(error) for error in limit_mistakes(jobs, PARTITIONS)]


def told_of_one(partition: str, **params: Any) -> list[str]:
    """What is said of one training, alone."""
    return told([StageJob("train", TRAIN, (), {**NODE, "partition": partition, **params})])


@pytest.mark.parametrize(
    ("partition", "params", "message"),
    [
        ("small-g", {"nodes": 5}, "hydra.launcher.nodes=5: small-g allows a job at most 4; it would fit "
         "hydra.launcher.partition=standard-g or dev-g"),
        ("dev-g", {"timeout_min": 181}, "hydra.launcher.timeout_min=181: dev-g allows a job at most 180; an "
         "unfinished run is saved and resumes in another job; it would fit "
         "hydra.launcher.partition=standard-g or small-g"),
        ("standard-g", {"gpus_per_node": 9}, "hydra.launcher.gpus_per_node=9: a node of standard-g has 8"),
        ("small", {"tasks_per_node": 1, "gpus_per_node": None, "gpus_per_task": 1}, "hydra.launcher.gpus_per_task=1: a "
         "node of small has none; it would fit hydra.launcher.partition=small-g or dev-g"),
        ("standard-g", {"gpus_per_node": 4, "tasks_per_node": 4}, "hydra.launcher.gpus_per_node=4: standard-g charges "
         "for whole nodes of 8; request all of them; it would fit hydra.launcher.partition=small-g or dev-g"),
        ("standard-g", {"cpus_per_task": 8}, "hydra.launcher.cpus_per_task=8: with tasks_per_node=8 that is 64 "
         "cores, but a node of standard-g has 56 usable ones; cpus_per_task=7 would fit"),
        ("standard-g", {"mem_gb": 512}, "hydra.launcher.mem_gb=512: a node of standard-g has 480 usable GB"),
    ],
)  # fmt: skip
def test_one_job_that_asks_for_too_much(partition: str, params: dict[str, Any], message: str) -> None:
    assert told_of_one(partition, **params) == [message]


def test_what_fits_and_what_is_not_known() -> None:
    for partition in ("standard-g", "small-g", "dev-g"):
        assert told_of_one(partition) == []
    assert told_of_one("standard-g", nodes=1024, timeout_min=2880) == []
    assert told_of_one("another", nodes=10**6, timeout_min=10**6, gpus_per_node=100) == []
    assert told_of_one("small", gpus_per_node=None, cpus_per_task=16, mem_gb=2000) == []
    assert limit_mistakes([StageJob("train", TRAIN, (), {})], PARTITIONS) == []


def test_a_job_that_would_be_told_to_stop_as_it_starts() -> None:
    message = "the job saves 1200 s before its time limit (signal_delay_s), so it would do nothing else"
    for partition in ("standard-g", "another"):
        assert told_of_one(partition, timeout_min=21, signal_delay_s=1200) == [
            f"hydra.launcher.timeout_min=21: {message}"
        ]
    assert told_of_one("standard-g", timeout_min=22, signal_delay_s=1200) == []


def test_a_stages_key_is_where_it_is_set(runs: list[Run]) -> None:
    job = StageJob("evaluate", EVALUATE, tuple(runs[:2]), {**NODE, "partition": "small-g", "mem_gb": 500})
    assert told([job]) == ["hardware.jobs.evaluate.mem_gb=500: a node of small-g has 480 usable GB"]


def test_elements_of_an_array_are_jobs(runs: list[Run]) -> None:
    """210 jobs of a user in standard-g: 36 trainings fit, with 175 more of them one does not."""
    array = StageJob("train", TRAIN, tuple(runs[:36]), {**NODE, "partition": "standard-g"})
    assert told([array]) == []
    many = StageJob("train-2", TRAIN, tuple(runs[:35]) * 5, {**NODE, "partition": "standard-g"})
    assert told([many]) == []
    [message] = told([array, many])
    key = "hydra.launcher.partition=standard-g"
    assert message.startswith(
        f"{key}: 211 jobs would be submitted to it (36 of train, 175 of train-2), but it allows a user 210"
    )


def test_jobs_of_all_stages_count_together(runs: list[Run]) -> None:
    """In dev-g a run's training and evaluation are two jobs of two, and a base model's evaluation is a third."""
    dev = {**NODE, "partition": "dev-g", "array_parallelism": 1}
    trained, bases = tuple(runs[:2]), tuple(runs[36:])
    jobs = [
        StageJob("prepare", PREPARE, trained, {"partition": "small"}),
        StageJob("train", TRAIN, trained, dev),
        StageJob("evaluate", EVALUATE, trained, dev),
        StageJob("compare", COMPARE, trained, {"partition": "small"}),
    ]
    assert told(jobs) == [
        "hydra.launcher.partition=dev-g: 4 jobs would be submitted to it (2 of train, 2 of evaluate), but it allows a "
        "user 2, including waiting ones; 1 of the runs would fit; it would fit hydra.launcher.partition=standard-g "
        "or small-g"
    ]
    [with_base] = told([*jobs, StageJob("evaluate-2", EVALUATE, bases[:1], dev)])
    assert "; 0 of the runs would fit;" in with_base


def test_more_at_once_than_a_partition_runs(runs: list[Run]) -> None:
    array = StageJob("train", TRAIN, tuple(runs[:2]), {**NODE, "partition": "dev-g", "array_parallelism": 40})
    assert told([array]) == [
        "hydra.launcher.array_parallelism=40: dev-g runs 1 of a user's jobs at a time; set 1; "
        "it would fit hydra.launcher.partition=standard-g or small-g"
    ]
    many = StageJob("train", TRAIN, tuple(runs[:36]), {**NODE, "partition": "small-g", "array_parallelism": 10**6})
    assert told([many]) == [], "36 elements never run 200 at a time"


def test_the_studys_36_runs_on_lumi(runs: list[Run]) -> None:
    """With the hardware file's own limits and jobs: standard-g takes the study, dev-g two runs of it."""
    trained = runs[:36]
    assert runs[0].config.hardware.partitions == PARTITIONS
    launcher = {**NODE, "timeout_min": 180, "array_parallelism": 1, "partition": "standard-g"}
    assert told(job_plan(launcher, trained, trained, runs)) == []
    [message] = told(job_plan({**launcher, "partition": "dev-g"}, trained, trained, runs))
    assert message.startswith("hydra.launcher.partition=dev-g: 36 jobs would be submitted to it (36 of train)")
    assert "; 2 of the runs would fit; it would fit hydra.launcher.partition=standard-g or small-g" in message

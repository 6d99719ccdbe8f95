"""Which jobs a study is, what they wait for, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study.cluster.executor import ClusterExecutor
from cpt.study.cluster.submission import dependency
from cpt.study.launch.run_set import base_runs
from cpt.study.plan.stage_jobs import StageJob, job_plan, refuse_unknown
from cpt.study.state.run import Run

LAUNCHER = {"nodes": 1, "tasks_per_node": 2, "gpus_per_node": 2, "timeout_min": 60}


def waits(jobs: list[StageJob]) -> dict[str, str]:
    """What each job waits for, by name, in SLURM's words."""
    ids = {job.name: job.name for job in jobs}
    return {job.name: dependency(job, ids, {job.name: job.elements > 1 for job in jobs}) for job in jobs}


@pytest.fixture
def runs(compose: Callable[..., list[StudyConfig]]) -> Callable[..., list[Run]]:
    return lambda *arguments: [Run(config) for config in compose(*arguments)]


def test_a_study_is_prepared_once_and_compared_when_all_has_ended(runs: Callable[..., list[Run]]) -> None:
    trained = runs("-m", "model=l3,v7", "data=mono,bi")
    bases = base_runs(trained)
    jobs = job_plan(LAUNCHER, [*bases, *trained], trained, [*bases, *trained])
    assert [(job.name, job.elements) for job in jobs] == [
        ("prepare", 1),
        ("evaluate", 2),
        ("train", 4),
        ("evaluate-2", 4),
        ("compare", 1),
    ]
    assert waits(jobs) == {
        "prepare": "",
        "evaluate": "afterok:prepare",
        "train": "afterok:prepare",
        "evaluate-2": "aftercorr:train",
        "compare": "afterany:prepare:evaluate:train:evaluate-2",
    }
    assert [run.name for run in jobs[3].runs] == [run.name for run in jobs[2].runs], "element for element"


def test_an_evaluation_of_one_run_waits_for_its_training(runs: Callable[..., list[Run]]) -> None:
    [run] = runs("data=mono")
    jobs = job_plan(LAUNCHER, [], [run], [run])
    assert waits(jobs)["evaluate"] == "afterok:train"
    assert [job.name for job in job_plan(LAUNCHER, [], [], [run])] == ["evaluate", "compare"]
    other, *_ = runs("data=bi")
    jobs = job_plan(LAUNCHER, [other], [other], [run, other])
    assert waits(jobs)["evaluate"] == "", "what is trained already needs nothing that is prepared for others"
    assert waits(jobs)["train"] == "afterok:prepare"
    assert job_plan(LAUNCHER, [], [], []) == []


def test_stages_and_runs_may_ask_for_something_else(runs: Callable[..., list[Run]]) -> None:
    found = runs("-m", "model=l3,v7", "data=mono,bi", "+hardware.jobs.evaluate={tasks_per_node:1,gpus_per_node:1}")
    for run in found:  # in a file: a pattern is no key that Hydra's command line takes
        run.config.hardware.exceptions = {
            "V7-*": {"train": {"nodes": 4}},
            "*-Bi-*": {"evaluate": {"timeout_min": 600}},
        }
    jobs = job_plan(LAUNCHER, [], found, found)
    asked = {job.name: ([run.name for run in job.runs], job.params) for job in jobs if job.stage != "compare"}

    def of(name: str, stage: str) -> dict[str, Any]:
        [params] = [params for job, (names, params) in asked.items() if name in names and job.startswith(stage)]
        return params

    assert of("L3-Mono-Alt", "train") == LAUNCHER
    assert of("V7-Bi-Alt", "train") == {**LAUNCHER, "nodes": 4}
    assert of("V7-Mono-Alt", "evaluate") == {**LAUNCHER, "tasks_per_node": 1, "gpus_per_node": 1}
    assert of("L3-Bi-Alt", "evaluate") == {**LAUNCHER, "tasks_per_node": 1, "gpus_per_node": 1, "timeout_min": 600}
    sizes = {job.name: (job.tasks, job.devices) for job in jobs}
    assert {sizes[name] for name in sizes if name.startswith("train")} == {(2, 2), (8, 8)}
    configs = ClusterExecutor(LAUNCHER).configure([run.config for run in found_under_zero(found)])
    assert [config.hardware.processes for config in configs] == [2, 2, 8, 8]


def found_under_zero(runs: list[Run]) -> list[Run]:
    for run in runs:
        run.config.hardware.engine = "zero3"
    return sorted(runs, key=lambda run: run.config.model.name)


def test_a_misspelt_stage_or_run_is_refused(runs: Callable[..., list[Run]]) -> None:
    [run] = runs("data=mono")
    for jobs, exceptions, told in (
        ({"evalute": {"nodes": 1}}, {}, r"hardware.jobs.evalute=.*did you mean 'evaluate'"),
        ({}, {"L3-*": {"trian": {"nodes": 1}}}, r"hardware.exceptions.L3-\*.trian=.*did you mean 'train'"),
        ({}, {"V7-*": {"train": {"nodes": 1}}}, r"V7-\*: it is the name of no run; they are like L3-Mono-Alt"),
    ):
        run.config.hardware.jobs, run.config.hardware.exceptions = jobs, exceptions
        with pytest.raises(UserError, match=told):
            refuse_unknown(run.config.hardware, [run])
    [run] = runs("data=mono", "+hardware.jobs.train={nodez:3}", "dry_run=true")
    with pytest.raises(UserError, match=r"hardware.jobs.train.nodez=3: no such key of a job; did you mean 'nodes'"):
        ClusterExecutor({**LAUNCHER, "submitit_folder": "x"}).check([run])


def test_processes_are_what_the_job_has(runs: Callable[..., list[Run]]) -> None:
    [run] = runs("data=mono", "hardware.engine=zero3", "hardware.processes=3")
    with pytest.raises(UserError, match=r"hardware\.processes=3: a training job has nodes × tasks_per_node = 2"):
        ClusterExecutor(LAUNCHER).configure([run.config])
    [run] = runs("data=mono")
    with pytest.raises(UserError, match=r"hardware\.engine=plain: it is one process, a training job has 2"):
        ClusterExecutor(LAUNCHER).configure([run.config])

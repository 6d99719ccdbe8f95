"""Which jobs a study is on a cluster, what each asks for, and which wait for which. Pure: nothing is submitted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from cpt.config import HardwareConfig
from cpt.errors import config_error, nearest
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE, PREPARE, TRAIN

COMPARE, DOCTOR = "compare", "doctor"
OF_A_STUDY = (PREPARE, COMPARE, DOCTOR)
"""Stages that are one job for the whole study; the others are one for each run."""
Params = dict[str, Any]
"""What a job asks for, in the words of hydra-submitit-launcher."""


@dataclass(frozen=True)
class StageJob:
    """One job of a study, or an array of them with the same resources: an element for each run."""

    name: str
    """Unique among the jobs of a launch: train, or train-2 where runs differ in what they ask for."""
    stage: str
    runs: tuple[Run, ...]
    """Of an array one an element, in order; of a study's own stage all that it is for."""
    params: Params
    after: tuple[str, ...] = ()
    """Names of jobs that must have ended well, for an array's element the element of the same number."""
    after_any: tuple[str, ...] = ()
    """Names of jobs that must have ended, however."""

    @property
    def elements(self) -> int:
        return 1 if self.stage in OF_A_STUDY else len(self.runs)

    @property
    def tasks(self) -> int:
        """Processes of one element."""
        return int(self.params.get("nodes") or 1) * int(self.params.get("tasks_per_node") or 1)

    @property
    def devices(self) -> int:
        """GPUs of one element, on all its nodes."""
        params = self.params
        a_node = params.get("gpus_per_node")
        if a_node is None:
            a_node = int(params.get("gpus_per_task") or 0) * int(params.get("tasks_per_node") or 1)
        return int(params.get("nodes") or 1) * int(a_node)


def params_of(launcher: Mapping[str, Any], hardware: HardwareConfig, stage: str, name: str = "") -> Params:
    """What the job of a stage asks for: the launcher's keys, the stage's over them, the run's exceptions over those."""
    params = {**launcher, **(hardware.jobs.get(stage) or {})}
    for pattern, stages in hardware.exceptions.items():
        if name and fnmatch(name, pattern):
            params |= stages.get(stage) or {}
    return params


def job_plan(
    launcher: Mapping[str, Any], prepared: Sequence[Run], trained: Sequence[Run], evaluated: Sequence[Run]
) -> list[StageJob]:
    """The jobs for runs that are to be prepared, trained and evaluated; evaluated are all that are trained, and more.

    Runs that ask for the same are elements of one array, so that SLURM can limit how many run at once.
    """
    everyone = [*prepared, *evaluated]
    if not everyone:
        return []
    hardware = everyone[0].config.hardware
    jobs: list[StageJob] = []
    if prepared:
        jobs.append(StageJob(PREPARE, PREPARE, tuple(prepared), params_of(launcher, hardware, PREPARE)))
    first = tuple(job.name for job in jobs)
    training, needing = ({run.run_id for run in some} for some in (trained, prepared))
    groups: dict[str, list[Run]] = {}
    for run in evaluated:
        asked = [params_of(launcher, hardware, stage, run.name) for stage in (TRAIN, EVALUATE)]
        groups.setdefault(repr((run.run_id in training, run.run_id in needing, asked)), []).append(run)
    for runs in groups.values():
        params = {stage: params_of(launcher, hardware, stage, runs[0].name) for stage in (TRAIN, EVALUATE)}
        before = first if runs[0].run_id in needing else ()
        if runs[0].run_id in training:
            name = _free(TRAIN, jobs)
            jobs.append(StageJob(name, TRAIN, tuple(runs), params[TRAIN], before))
            before = (name,)
        jobs.append(StageJob(_free(EVALUATE, jobs), EVALUATE, tuple(runs), params[EVALUATE], before))
    last = tuple(job.name for job in jobs)
    params = params_of(launcher, hardware, COMPARE)
    return [*jobs, StageJob(COMPARE, COMPARE, tuple(evaluated), params, after_any=last)]


def refuse_unknown(hardware: HardwareConfig, runs: Sequence[Run]) -> None:
    """A stage or a run that is misspelt would be a job with other resources than were meant."""
    stages = (PREPARE, TRAIN, EVALUATE, COMPARE, DOCTOR)
    for key, found in (("jobs", hardware.jobs), *((f"exceptions.{p}", s) for p, s in hardware.exceptions.items())):
        for stage in found or {}:
            if stage not in stages:
                reason = f"no such stage; known: {', '.join(stages)}{nearest(stage, stages)}"
                raise config_error(f"hardware.{key}.{stage}", found[stage], reason)
    for pattern in hardware.exceptions:
        if not any(fnmatch(run.name, pattern) for run in runs):
            names = ", ".join(dict.fromkeys(run.name for run in runs[:3]))
            raise config_error("hardware.exceptions", pattern, f"it is the name of no run; they are like {names}")


def _free(stage: str, jobs: list[StageJob]) -> str:
    taken = sum(job.stage == stage for job in jobs)
    return f"{stage}-{taken + 1}" if taken else stage


def processes_of_job(launcher: Mapping[str, Any], hardware: HardwareConfig, stage: str, name: str) -> int:
    """Processes that work on one run together in a stage."""
    params = params_of(launcher, hardware, stage, name)
    tasks = int(params.get("nodes") or 1) * int(params.get("tasks_per_node") or 1)
    if tasks > 1 and stage == TRAIN and hardware.engine == "plain":
        raise config_error("hardware.engine", "plain", f"it is one process, a training job has {tasks}; choose zero3")
    return tasks

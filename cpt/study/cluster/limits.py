"""Checks the jobs of a study against the limits of the cluster's partitions before anything is submitted.

SLURM refuses some such jobs at submission and leaves others in the queue for ever. By then half of a study may be
submitted, and SLURM does not say what would fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cpt.config import PartitionConfig
from cpt.errors import UserError, config_error
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob
from cpt.study.state.run_files import TRAIN

Partitions = Mapping[str, PartitionConfig]

EARLY_SECONDS = 60
"""SLURM may send a signal up to this much earlier than requested (sbatch's manual, --signal)."""


def limit_mistakes(jobs: Sequence[StageJob], partitions: Partitions) -> list[UserError]:
    """Errors for jobs that their partitions do not allow. In an unknown partition only too short times are errors."""
    errors = {str(error): error for job in jobs for error in _too_short(job)}
    for name, limits in partitions.items():
        its_jobs = [job for job in jobs if job.params.get("partition") == name]
        for job in its_jobs:
            for key, value, reason in _job_mistakes(job, name, limits):
                error = config_error(_key(job, key), value, reason + _alternatives([job], jobs, partitions))
                errors.setdefault(str(error), error)
        if (count := _element_count(its_jobs)) > _job_limit(limits):
            stages = ", ".join(f"{job.elements} of {job.name}" for job in its_jobs)
            reason = (
                f"{count} jobs would be submitted to it ({stages}), but it allows a user {limits.jobs}, including "
                "waiting ones; "
            )
            reason += (
                f"{_runs_that_fit(its_jobs, limits)} of the runs would fit{_alternatives(its_jobs, jobs, partitions)}"
            )
            error = config_error(_key(_largest(its_jobs), "partition"), name, reason)
            errors.setdefault(str(error), error)
    return list(errors.values())


def _job_mistakes(job: StageJob, name: str, limits: PartitionConfig) -> Iterator[tuple[str, object, str]]:
    """Mistakes of a single job: key of its launcher, value, reason."""
    params, nodes, tasks = job.params, _number(job, "nodes"), _number(job, "tasks_per_node")
    if limits.nodes is not None and nodes > limits.nodes:
        yield "nodes", nodes, f"{name} allows a job at most {limits.nodes}"
    if limits.minutes is not None and (minutes := _number(job, "timeout_min")) > limits.minutes:
        resumes = "; an unfinished run is saved and resumes in another job" if job.stage == TRAIN else ""
        yield "timeout_min", minutes, f"{name} allows a job at most {limits.minutes}{resumes}"
    key = "gpus_per_task" if params.get("gpus_per_node") is None and params.get("gpus_per_task") else "gpus_per_node"
    devices = job.devices // nodes
    if devices > limits.devices:
        yield key, params.get(key), f"a node of {name} has {limits.devices or 'none'}"
    elif limits.whole_nodes and devices < limits.devices:
        yield key, params.get(key) or 0, f"{name} charges for whole nodes of {limits.devices}; request all of them"
    if limits.cores is not None and (cores := _number(job, "cpus_per_task")) * tasks > limits.cores:
        fits = f"cpus_per_task={limits.cores // tasks}" if tasks <= limits.cores else f"tasks_per_node={limits.cores}"
        reason = f"with tasks_per_node={tasks} that is {cores * tasks} cores, but a node of {name} has {limits.cores} "
        yield "cpus_per_task", cores, f"{reason}usable ones; {fits} would fit"
    memory = params.get("mem_gb")
    if limits.memory_gb is not None and memory is not None and memory > limits.memory_gb:
        yield "mem_gb", memory, f"a node of {name} has {limits.memory_gb} usable GB"
    # SLURM would only delay the excess jobs, but a user who requested them should not wait for them in vain.
    at_once = min(job.elements, _number(job, "array_parallelism", job.elements))
    if limits.running is not None and at_once > limits.running:
        reason = f"{name} runs {limits.running} of a user's jobs at a time; set {limits.running}"
        yield "array_parallelism", params.get("array_parallelism"), reason


def _too_short(job: StageJob) -> Iterator[UserError]:
    """A time limit so short that SLURM sends the stop signal at the start; the job would be requeued repeatedly."""
    minutes, seconds = job.params.get("timeout_min"), _number(job, "signal_delay_s", 0)
    if minutes is not None and minutes * 60 <= seconds + EARLY_SECONDS:
        reason = f"the job saves {seconds} s before its time limit (signal_delay_s), so it would do nothing else"
        yield config_error(_key(job, "timeout_min"), minutes, reason)


def _alternatives(moved: Sequence[StageJob], jobs: Sequence[StageJob], partitions: Partitions) -> str:
    """Hint with the partitions that would allow these jobs, in addition to the study's jobs already in them."""
    alternatives = []
    for name, limits in partitions.items():
        others = [job for job in jobs if job.params.get("partition") == name and job not in moved]
        wrong = any(True for job in moved for _ in _job_mistakes(job, name, limits))
        if not wrong and _element_count([*others, *moved]) <= _job_limit(limits):
            alternatives.append(name)
    return f"; it would fit {_key(_largest(moved), 'partition')}={' or '.join(alternatives)}" if alternatives else ""


def _runs_that_fit(jobs: Sequence[StageJob], limits: PartitionConfig) -> int:
    """How many trained runs could be launched at once, after the base models and the study's own stages."""
    of_runs = [job for job in jobs if job.stage not in OF_A_STUDY]
    left = int(_job_limit(limits)) - sum(job.elements for job in jobs if job not in of_runs)
    needs: dict[str, int] = {}
    for job in of_runs:
        for run in job.runs:
            needs[run.run_id] = needs.get(run.run_id, 0) + 1
    trained = {run.run_id for job in of_runs for run in job.runs if run.trains}
    left -= sum(number for run_id, number in needs.items() if run_id not in trained)
    fitting = 0
    for number in sorted(needs[run_id] for run_id in trained):
        left -= number
        fitting += left >= 0
    return fitting


def _key(job: StageJob, name: str) -> str:
    """The configuration key that sets a job's parameter: the launcher's for training, `hardware.jobs` for others."""
    return f"hydra.launcher.{name}" if job.stage == TRAIN else f"hardware.jobs.{job.stage}.{name}"


def _largest(jobs: Sequence[StageJob]) -> StageJob:
    return max(jobs, key=lambda job: job.elements)


def _element_count(jobs: Sequence[StageJob]) -> int:
    return sum(job.elements for job in jobs)


def _job_limit(limits: PartitionConfig) -> float:
    return float("inf") if limits.jobs is None else limits.jobs


def _number(job: StageJob, name: str, default: int = 1) -> int:
    value = job.params.get(name)
    return default if value is None else int(value)

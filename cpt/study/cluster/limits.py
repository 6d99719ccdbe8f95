"""A study against what its cluster's partitions allow, before anything is submitted.

SLURM refuses some of these jobs at submission, others it leaves in the queue for ever; by then half a study may be
submitted, and it never says what would have fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cpt.config import PartitionConfig
from cpt.errors import UserError, config_error
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob
from cpt.study.state.run_files import TRAIN

Partitions = Mapping[str, PartitionConfig]


EARLY_SECONDS = 60
"""SLURM may send a signal so much earlier than it was asked to (sbatch's manual, --signal)."""


def limit_mistakes(jobs: Sequence[StageJob], partitions: Partitions) -> list[UserError]:
    """What of these jobs their partitions do not allow. Of a partition that is not known nothing is said,
    but that a job has no time to do anything."""
    told = {str(error): error for job in jobs for error in _told_at_once(job)}
    for name, limits in partitions.items():
        there = [job for job in jobs if job.params.get("partition") == name]
        for job in there:
            for key, value, reason in _of_one(job, name, limits):
                error = config_error(_key(job, key), value, reason + _elsewhere([job], jobs, partitions))
                told.setdefault(str(error), error)
        if (asked := _elements(there)) > _most(limits):
            stages = ", ".join(f"{job.elements} of {job.name}" for job in there)
            reason = (
                f"{asked} jobs are for it ({stages}), and of a user it takes {limits.jobs}, waiting ones included; "
            )
            reason += f"{_runs_that_fit(there, limits)} of the runs would fit{_elsewhere(there, jobs, partitions)}"
            error = config_error(_key(_widest(there), "partition"), name, reason)
            told.setdefault(str(error), error)
    return list(told.values())


def _of_one(job: StageJob, name: str, limits: PartitionConfig) -> Iterator[tuple[str, object, str]]:
    """What is wrong with a job by itself: key of its launcher, value, reason."""
    params, nodes, tasks = job.params, _number(job, "nodes"), _number(job, "tasks_per_node")
    if limits.nodes is not None and nodes > limits.nodes:
        yield "nodes", nodes, f"{name} gives a job {limits.nodes} at most"
    if limits.minutes is not None and (minutes := _number(job, "timeout_min")) > limits.minutes:
        goes_on = "; a run that is not done by then is saved and goes on" if job.stage == TRAIN else ""
        yield "timeout_min", minutes, f"{name} gives a job {limits.minutes} at most{goes_on}"
    asked = "gpus_per_task" if params.get("gpus_per_node") is None and params.get("gpus_per_task") else "gpus_per_node"
    devices = job.devices // nodes
    if devices > limits.devices:
        yield asked, params.get(asked), f"a node of {name} has {limits.devices or 'none'}"
    elif limits.whole_nodes and devices < limits.devices:
        yield asked, params.get(asked) or 0, f"{name} charges for whole nodes of {limits.devices}; ask for all of them"
    if limits.cores is not None and (cores := _number(job, "cpus_per_task")) * tasks > limits.cores:
        fits = f"cpus_per_task={limits.cores // tasks}" if tasks <= limits.cores else f"tasks_per_node={limits.cores}"
        reason = f"with tasks_per_node={tasks} these are {cores * tasks} cores, of a node of {name} {limits.cores} can "
        yield "cpus_per_task", cores, f"{reason}be used; {fits} would fit"
    memory = params.get("mem_gb")
    if limits.memory_gb is not None and memory is not None and memory > limits.memory_gb:
        yield "mem_gb", memory, f"of a node of {name} {limits.memory_gb} can be used"
    # SLURM would hold back what is more, so nothing breaks; but who asked for it is not to wait for it in vain.
    at_once = min(job.elements, _number(job, "array_parallelism", job.elements))
    if limits.running is not None and at_once > limits.running:
        reason = f"{name} runs {limits.running} of a user's jobs at a time; set {limits.running}"
        yield "array_parallelism", params.get("array_parallelism"), reason


def _told_at_once(job: StageJob) -> Iterator[UserError]:
    """A time so short that SLURM tells the job to stop as it starts; it would be put back again and again."""
    minutes, seconds = job.params.get("timeout_min"), _number(job, "signal_delay_s", 0)
    if minutes is not None and minutes * 60 <= seconds + EARLY_SECONDS:
        reason = f"the job is told to save {seconds} s before its end (signal_delay_s), so it would do nothing else"
        yield config_error(_key(job, "timeout_min"), minutes, reason)


def _elsewhere(these: Sequence[StageJob], jobs: Sequence[StageJob], partitions: Partitions) -> str:
    """Partitions that would take these jobs as they are, beside those of the study that are there already."""
    found = []
    for name, limits in partitions.items():
        others = [job for job in jobs if job.params.get("partition") == name and job not in these]
        wrong = any(True for job in these for _ in _of_one(job, name, limits))
        if not wrong and _elements([*others, *these]) <= _most(limits):
            found.append(name)
    return f"; as it is it fits {_key(_widest(these), 'partition')}={' or '.join(found)}" if found else ""


def _runs_that_fit(jobs: Sequence[StageJob], limits: PartitionConfig) -> int:
    """How many of the runs to train could be launched at once: base models and the study's own stages come first."""
    of_runs = [job for job in jobs if job.stage not in OF_A_STUDY]
    left = int(_most(limits)) - sum(job.elements for job in jobs if job not in of_runs)
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
    """Where a job's key is set: a training's in the launcher, another stage's among what is different there."""
    return f"hydra.launcher.{name}" if job.stage == TRAIN else f"hardware.jobs.{job.stage}.{name}"


def _widest(jobs: Sequence[StageJob]) -> StageJob:
    return max(jobs, key=lambda job: job.elements)


def _elements(jobs: Sequence[StageJob]) -> int:
    return sum(job.elements for job in jobs)


def _most(limits: PartitionConfig) -> float:
    return float("inf") if limits.jobs is None else limits.jobs


def _number(job: StageJob, name: str, otherwise: int = 1) -> int:
    value = job.params.get(name)
    return otherwise if value is None else int(value)

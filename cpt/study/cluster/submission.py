"""Submits the jobs of a study to SLURM by submitit, all at once, each with a dependency on those before it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths
from submitit.slurm.slurm import SlurmExecutor

from cpt.errors import UserError, config_error, nearest
from cpt.processes import ALLOCATOR
from cpt.study.cluster.task import REQUEUE_FILE, RunTask, StudyTask
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob

OURS = ("_target_", "submitit_folder", "cluster", "python", "max_num_timeout")
"""Keys of the launcher that are not parameters of sbatch."""


class Sbatch(SlurmExecutor):
    """submitit's executor for SLURM, which can also be created without SLURM to preview job scripts."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def submission(
    job: StageJob, launcher: Mapping[str, Any], code: Path | None, ids: Mapping[str, str], arrays: Mapping[str, bool]
) -> Sbatch:
    """submitit's executor with the parameters of a job; `ids` are the job ids of its dependencies."""
    params = {**launcher, **job.params}
    folder, python = params.get("submitit_folder"), params.get("python")
    executor = Sbatch(str(folder), int(params.get("max_num_timeout") or 0), python=python)
    requested = {key: value for key, value in params.items() if key not in OURS and value is not None}
    requested["name"] = f"{requested.get('name') or 'cpt'}-{job.name}"
    again = JobPaths.get_first_id_independent_folder(str(folder)) / "again"
    requested["setup"] = [
        *setup_lines(code),
        f"export {REQUEUE_FILE}={shlex.quote(str(again))}-$SLURM_JOB_ID",
        *(requested.get("setup") or []),
    ]
    requested["teardown"] = REQUEUE_LINES
    more = dict(requested.get("additional_parameters") or {})
    if depends_on := dependency(job, ids, arrays):
        requested["dependency"] = depends_on
        more["kill-on-invalid-dep"] = "yes"  # else a job stays in the queue for ever when its dependency fails
    # After a node failure SLURM restarts the job elsewhere, whatever the cluster's default is.
    requested["additional_parameters"] = {"requeue": True, **more}
    try:
        executor.update_parameters(**executor._convert_parameters(requested))
    except ValueError as error:
        unknown = next(iter(re.findall(r"'(\w+)'", str(error))), "")
        known = [str(key) for key in launcher]
        reason = f"no such key of a job{nearest(unknown, known)}"
        raise config_error(f"hardware.jobs.{job.stage}.{unknown}", params.get(unknown), reason) from error
    return executor


ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # until a process has read how many threads it may use
    "GLIBC_TUNABLES": ALLOCATOR,
    "PYTHONSAFEPATH": "1",  # else `python -m` looks into the working directory first, mostly the checkout
}
"""Environment variables of every process of a job."""


REQUEUE_LINES = [
    "code=$?",
    f'if [ -e "${REQUEUE_FILE}" ]; then',
    f'    rm -f "${REQUEUE_FILE}"',
    "    # Not what was cancelled meanwhile. An array's last element has its number, by which all of it is shown.",
    '    case "$(scontrol show job --oneliner "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID ")" in',
    '        *JobState=RUNNING* | *JobState=SIGNALING*) scontrol requeue "$SLURM_JOB_ID" && sleep 600 ;;',
    "    esac",
    "fi",
    "exit $code",
]
"""Shell lines after a job's command, which requeue the job if its processes have requested that."""


def setup_lines(code: Path | None) -> list[str]:
    """Shell lines before a job's command: its environment, with the snapshot of the code first on the path."""
    lines = [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    if code is not None:
        lines.append(f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines


def dependency(job: StageJob, ids: Mapping[str, str], arrays: Mapping[str, bool]) -> str:
    """The job's dependency in SLURM's syntax; elements of paired arrays depend on the element of the same index."""
    parts = []
    for name in job.after:
        paired = arrays.get(name) and job.elements > 1
        parts.append(f"{'aftercorr' if paired else 'afterok'}:{ids[name]}")
    if job.after_any:
        parts.append("afterany:" + ":".join(ids[name] for name in job.after_any))
    return ",".join(parts)


def sbatch_texts(jobs: Sequence[StageJob], launcher: Mapping[str, Any], code: Path | None = None) -> dict[str, str]:
    """The job scripts that SLURM would get, with names instead of job ids."""
    ids = {job.name: f"<{job.name}>" for job in jobs}
    arrays = {job.name: job.elements > 1 for job in jobs}
    texts = {}
    for job in jobs:
        executor = submission(job, launcher, code, ids, arrays)
        if job.elements > 1:
            executor.parameters["map_count"] = job.elements
        texts[job.name] = executor._make_submission_file_text(executor._submitit_command_str, "")
    return texts


def tasks_of(job: StageJob, tracking: str) -> list[RunTask | StudyTask]:
    """The task of each element of a job."""
    if job.stage in OF_A_STUDY:
        study = job.runs[0].folder.parent.resolve()
        return [StudyTask(str(study), job.stage, tuple(str(run.folder.resolve()) for run in job.runs))]
    return [RunTask(str(run.folder.resolve()), run.name, run.run_id, tracking, job.stage) for run in job.runs]


def submit(
    job: StageJob,
    launcher: Mapping[str, Any],
    code: Path,
    tracking: str,
    ids: Mapping[str, str],
    arrays: Mapping[str, bool],
) -> str:
    """Submit one job to SLURM; returns its id, of an array the id of the whole array."""
    executor = submission(job, launcher, code, ids, arrays)
    try:
        with executor.batch():
            submitted_jobs = [executor.submit(task) for task in tasks_of(job, tracking)]
    except (FailedJobError, FailedSubmissionError) as error:
        messages = [line.split("error:")[-1].strip() for line in str(error).splitlines() if "error:" in line]
        why = "; ".join(dict.fromkeys(messages)) or str(error)
        keys = f"hydra.launcher.*, or hardware.jobs.{job.stage}"
        raise UserError(f"SLURM refused the job {job.name} ({keys}): {why}. Nothing was submitted.") from error
    return str(submitted_jobs[0].job_id).partition("_")[0]

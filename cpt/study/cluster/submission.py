"""Turns the jobs of a study into what submitit submits: to SLURM, all at once, each waiting for those before it."""

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
from cpt.study.cluster.task import AGAIN, RunTask, StudyTask
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob

OURS = ("_target_", "submitit_folder", "cluster", "python", "max_num_timeout")
"""Keys of the launcher that are no parameters of a submission."""


class Sbatch(SlurmExecutor):
    """submitit's executor for SLURM, which can also say what it would submit where there is no SLURM."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def submission(
    job: StageJob, launcher: Mapping[str, Any], code: Path | None, ids: Mapping[str, str], arrays: Mapping[str, bool]
) -> Sbatch:
    """submitit's executor with all that the job asks for; `ids` are the numbers of the jobs it waits for."""
    params = {**launcher, **job.params}
    folder, python = params.get("submitit_folder"), params.get("python")
    executor = Sbatch(str(folder), int(params.get("max_num_timeout") or 0), python=python)
    asked = {key: value for key, value in params.items() if key not in OURS and value is not None}
    asked["name"] = f"{asked.get('name') or 'cpt'}-{job.name}"
    again = JobPaths.get_first_id_independent_folder(str(folder)) / "again"
    asked["setup"] = [
        *setup_lines(code),
        f"export {AGAIN}={shlex.quote(str(again))}-$SLURM_JOB_ID",
        *(asked.get("setup") or []),
    ]
    asked["teardown"] = PUT_BACK
    more = dict(asked.get("additional_parameters") or {})
    if waits := dependency(job, ids, arrays):
        asked["dependency"] = waits
        more["kill-on-invalid-dep"] = "yes"  # else what waits for a failed job stays in the queue for ever
    # After a node's failure SLURM itself starts the job elsewhere, whatever the cluster's default is.
    asked["additional_parameters"] = {"requeue": True, **more}
    try:
        executor.update_parameters(**executor._convert_parameters(asked))
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
"""What every process of a job finds set."""


PUT_BACK = [
    "code=$?",
    f'if [ -e "${AGAIN}" ]; then',
    f'    rm -f "${AGAIN}"',
    "    # Not what was cancelled meanwhile. An array's last element has its number, by which all of it is shown.",
    '    case "$(scontrol show job --oneliner "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID ")" in',
    '        *JobState=RUNNING* | *JobState=SIGNALING*) scontrol requeue "$SLURM_JOB_ID" && sleep 600 ;;',
    "    esac",
    "fi",
    "exit $code",
]
"""Shell lines after a job's command: the job goes back into the queue if its processes have asked for that."""


def setup_lines(code: Path | None) -> list[str]:
    """Shell lines before a job's command: the code as it was submitted comes first."""
    lines = [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    if code is not None:
        lines.append(f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines


def dependency(job: StageJob, ids: Mapping[str, str], arrays: Mapping[str, bool]) -> str:
    """In SLURM's words what a job waits for; of an array each element for the one of its own number."""
    parts = []
    for name in job.after:
        paired = arrays.get(name) and job.elements > 1
        parts.append(f"{'aftercorr' if paired else 'afterok'}:{ids[name]}")
    if job.after_any:
        parts.append("afterany:" + ":".join(ids[name] for name in job.after_any))
    return ",".join(parts)


def sbatch_texts(jobs: Sequence[StageJob], launcher: Mapping[str, Any], code: Path | None = None) -> dict[str, str]:
    """What SLURM would be given for each job, numbers of jobs replaced by their names."""
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
    """What each element of a job carries out."""
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
    """Submit one job to SLURM; returns its number, of an array that of the whole."""
    executor = submission(job, launcher, code, ids, arrays)
    try:
        with executor.batch():
            made = [executor.submit(task) for task in tasks_of(job, tracking)]
    except (FailedJobError, FailedSubmissionError) as error:
        told = [line.split("error:")[-1].strip() for line in str(error).splitlines() if "error:" in line]
        why = "; ".join(dict.fromkeys(told)) or str(error)
        keys = f"hydra.launcher.*, or hardware.jobs.{job.stage}"
        raise UserError(f"SLURM refused the job {job.name} ({keys}): {why}. Nothing was submitted.") from error
    return str(made[0].job_id).partition("_")[0]

"""Reads SLURM's queue and cancels jobs. The state of a run is in its folder: the queue forgets ended jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from cpt.errors import UserError

SECONDS = 60
"""How long SLURM may take to answer; a controller under load is slow."""
GONE = "GONE"
"""State of a job that is not in the queue, or has ended."""
_ENDED = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")


def slurm_present() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def states(jobs: Iterable[str]) -> dict[str, str]:
    """The state of each job (`123`, or `123_4` of an array): SLURM's state, with the reason if pending, or `GONE`."""
    wanted = list(dict.fromkeys(jobs))
    if not wanted:
        return {}
    numbers = sorted({job.partition("_")[0] for job in wanted})
    # All of a user's jobs: squeue fails if given the id of a job that it no longer knows.
    listed = _output("squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--user={os.getuid()}")
    listed_states: dict[str, str] = {}
    for line in listed.splitlines():
        job, state, *reason = line.strip().split("|")
        if job.partition("_")[0] in numbers:
            listed_states[job] = f"{state} ({reason[0]})" if state == "PENDING" and reason else state
    return {job: GONE if (state := listed_states.get(job, GONE)).startswith(_ENDED) else state for job in wanted}


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs, running or waiting; jobs that have left the queue are ignored."""
    wanted = list(dict.fromkeys(jobs))
    if wanted:
        _output("scancel", "--quiet", *wanted)


def _output(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise UserError(f"{command[0]} is not on this machine: SLURM's commands are on the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{command[0]} did not answer within {SECONDS} s; SLURM's controller may be down") from error
    if result.returncode:
        errors = result.stderr.strip().splitlines()
        raise UserError(f"{' '.join(command[:3])}: {errors[-1] if errors else f'ended with code {result.returncode}'}")
    return result.stdout

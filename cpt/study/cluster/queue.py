"""What SLURM's queue says and is told. Never the truth about a run, which is its folder's: the queue forgets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from cpt.errors import UserError

SECONDS = 60
"""How long SLURM may take to answer; a controller under load takes many."""
GONE = "GONE"
"""State of a job that the queue does not have, or has only as one that ended."""
_ENDED = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")


def slurm_present() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def states(jobs: Iterable[str]) -> dict[str, str]:
    """The state of each of these jobs (`123`, or `123_4` of an array): SLURM's word, why it waits, or `GONE`."""
    wanted = list(dict.fromkeys(jobs))
    if not wanted:
        return {}
    numbers = sorted({job.partition("_")[0] for job in wanted})
    # All of a user's jobs: asked for one by number that it has forgotten, squeue answers nothing but an error.
    listed = _asked("squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--user={os.getuid()}")
    found: dict[str, str] = {}
    for line in listed.splitlines():
        job, state, *reason = line.strip().split("|")
        if job.partition("_")[0] in numbers:
            found[job] = f"{state} ({reason[0]})" if state == "PENDING" and reason else state
    return {job: GONE if (state := found.get(job, GONE)).startswith(_ENDED) else state for job in wanted}


def cancel(jobs: Iterable[str]) -> None:
    """Take jobs out of the queue, running or not; those that are gone already are passed over."""
    wanted = list(dict.fromkeys(jobs))
    if wanted:
        _asked("scancel", "--quiet", *wanted)


def _asked(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise UserError(f"{command[0]} is not on this machine: SLURM's commands are on the cluster's") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{command[0]} did not answer within {SECONDS} s; SLURM's controller may be down") from error
    if done.returncode:
        told = done.stderr.strip().splitlines()
        raise UserError(f"{' '.join(command[:3])}: {told[-1] if told else f'ended with code {done.returncode}'}")
    return done.stdout

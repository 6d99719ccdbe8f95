"""What a machine is besides its GPUs and disks: SLURM, limits of a process, text, time."""

from __future__ import annotations

import locale
import os
import resource
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from rich.filesize import decimal

from cpt.doctor.findings import Finding, in_a_line, without_secrets
from cpt.processes import usable_cores
from cpt.study.cluster.queue import slurm_present

SLURM_SECONDS = 10.0
FILES_OPEN = 1024
SHARED_MEMORY = 1e9
EARLIEST = 2025
"""A clock before this year is wrong, and no server's certificate is valid for it."""


def slurm_findings() -> list[Finding]:
    """SLURM's commands, and whether its controller answers them."""
    if not slurm_present():
        return [Finding("SLURM", "ok", "not on this machine: studies run here (hardware=local)")]
    try:
        version = _said("sbatch", "--version")
        partitions = _said("sinfo", "--noheader", "--format=%P").split()
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or in_a_line(error)
        found = f"sbatch is here and gives no answer: {without_secrets(str(detail).strip().splitlines()[0])}"
        return [Finding("SLURM", "warn", found, "ask whether the cluster is under maintenance (sinfo)")]
    default = next((name.rstrip("*") for name in partitions if name.endswith("*")), None)
    found = f"{version}, {len(set(partitions))} partitions, default {default or 'none'}"
    return [Finding("SLURM", "ok", found)]


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_SECONDS, check=True)  # noqa: S603
    return done.stdout.strip()


def limit_findings(shared: Path = Path("/dev/shm")) -> list[Finding]:  # noqa: S108
    """Open files and shared memory: what processes of one node talk through."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft < FILES_OPEN
    advice = f"ulimit -n {min(hard, 65536)}, in the job's setup too" if few else ""
    findings = [Finding("open files", "warn" if few else "ok", f"{soft:,} at a time, of {hard:,}", advice)]
    if not shared.exists():
        return findings
    size = shutil.disk_usage(shared).total
    small = size < SHARED_MEMORY
    advice = "processes of a node share data there: start the container with --shm-size=8g or --ipc=host"
    found = f"{decimal(size)} at {shared}"
    return [*findings, Finding("shared memory", "warn" if small else "ok", found, advice if small else "")]


def text_findings() -> list[Finding]:
    encoding = locale.getencoding() if not sys.flags.utf8_mode else "utf-8"
    plain = encoding.lower().replace("-", "") == "utf8"
    found = f"{encoding} (LC_ALL={os.environ.get('LC_ALL', '')} LANG={os.environ.get('LANG', '')})"
    advice = "" if plain else "export LC_ALL=C.UTF-8 or PYTHONUTF8=1: languages are written in many scripts"
    return [Finding("text", "ok" if plain else "warn", found, advice)]


def time_findings() -> list[Finding]:
    now = datetime.now().astimezone()
    late = now.year >= EARLIEST
    return [Finding("time", "ok" if late else "fail", f"{now:%Y-%m-%d %H:%M:%S %Z}", "" if late else "set the clock")]


def processor_findings() -> list[Finding]:
    return [Finding("cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")]

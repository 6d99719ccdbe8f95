"""What a measurement says of the machine it was taken on, and of the memory that processes hold there."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.05


def machine() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def load() -> float:
    """Of the last minute: with a measurement going on, anything well above its processes is other work."""
    return round(os.getloadavg()[0], 2)


def shown(given: list[str]) -> list[str]:
    """The command line as it can be repeated elsewhere, without where things lie on this machine."""
    return [f"<path>/{Path(word).name}" if word.startswith("/") else word for word in given]


def peak_anonymous(process: subprocess.Popen[bytes]) -> int:
    """The most anonymous bytes a process and all it has started hold together, watched until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_anonymous, _family(process.pid))))
        time.sleep(SAMPLE_SECONDS)
    return peak


def _family(pid: int) -> list[int]:
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended while we looked
        return []
    return [pid, *(member for line in threads for child in line.split() for member in _family(int(child)))]


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))

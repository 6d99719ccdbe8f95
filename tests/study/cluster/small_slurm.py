"""A real SLURM of three nodes on this machine, and what tests do to a cluster."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(__file__).with_name("slurm")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")


def lacking() -> str | None:
    """Why there can be no SLURM here."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found; install slurmctld, slurmd, slurm-client and munge"
    return None if os.getuid() == 0 else "SLURM's daemons need root"


class Slurm:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.conf = str(root / "slurm.conf")

    def call(self, *command: str) -> str:
        environment = {**os.environ, "SLURM_CONF": self.conf}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def jobs(self, states: str = "all") -> dict[str, str]:
        """Every job so far, of an array every element, and SLURM's word for its state."""
        asked = ["--noheader", "--array", f"--states={states}", "--format=%i %T"]
        return dict(line.split() for line in self.call("squeue", *asked).splitlines())

    def queue(self) -> dict[str, str]:
        """Jobs that have not ended."""
        ended = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL")
        return {job: state for job, state in self.jobs().items() if state not in ended}

    def nodes_of(self, job: str) -> list[str]:
        nodes = self.call("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        return self.call("scontrol", "show", "hostnames", nodes).split() if nodes else []

    def starting(self, allowed: bool) -> None:
        """Let jobs start, or have them wait as on a cluster that is full."""
        self.call("scontrol", "update", "PartitionName=main", f"State={'UP' if allowed else 'DOWN'}")

    def preempt(self, node: str) -> str:
        """Submit a short job that is more urgent than whatever runs on a node."""
        asked = ["--partition=urgent", f"--nodelist={node}", "--exclusive", "--mem=0", "--output=/dev/null"]
        return self.call("sbatch", "--parsable", "--chdir=/", *asked, "--wrap=sleep 1").strip()

    def starts(self, job: str) -> int:
        [found] = re.findall(r"Restarts=(\d+)", self.call("scontrol", "show", "job", "--oneliner", job))
        return 1 + int(found)

    def freeze(self, node: str) -> None:
        """Have tasks of jobs on a node stand still, until signals of SLURM's wake them."""
        for pid in self._processes(node, b"SLURM_STEP_ID"):
            os.kill(pid, signal.SIGSTOP)

    def kill(self, node: str) -> None:
        """As by a power cut: the node's daemon, the steps on it before they could report, and their processes."""
        daemon = int((self.root / "run" / f"{node}.pid").read_text())
        processes = self._processes(node)
        steps = {parent for parent in processes.values() if _name(parent).startswith("slurmstepd")}
        for pid in [daemon, *steps, *processes]:
            os.kill(pid, signal.SIGKILL)

    def start(self, node: str) -> None:
        self.call("slurmd", "-N", node)

    def _processes(self, node: str, variable: bytes = b"SLURM_JOB_ID") -> dict[int, int]:
        """Processes of jobs on a node that have a variable in their environment, and their parents."""
        wanted = {b"SLURM_CONF": self.conf.encode(), b"SLURMD_NODENAME": node.encode()}
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                lines = (path / "environ").read_bytes().split(b"\0")
                environment = dict(line.split(b"=", 1) for line in lines if b"=" in line)
                if variable in environment and wanted.items() <= environment.items():
                    found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
        return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@contextmanager
def small_slurm(root: Path) -> Iterator[Slurm]:
    """Three nodes; however this process ends, a pipe closes then, and the daemons go."""
    down = ["bash", "-c", 'cat; exec "$0" "$1"', str(SCRIPTS / "down"), str(root)]
    guard = subprocess.Popen(down, stdin=subprocess.PIPE, start_new_session=True)
    try:
        subprocess.run([SCRIPTS / "up", root], check=True)
        yield Slurm(root)
    finally:
        guard.communicate()
    assert guard.returncode == 0, "SLURM's processes are still there"

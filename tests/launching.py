"""Launches of whole studies: in an interpreter of their own, as a user starts them, or forked from a warm server."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from waiting import PATIENCE

from cpt.processes import ALLOCATOR

ROOT = Path(__file__).resolve().parents[1]
SERVER_IMPORTS = [
    *("cpt.study.compose.command_line", "cpt.study.launch.launch_study", "cpt.study.data.prepare_study"),
    *("cpt.study.compare.conclude", "cpt.study.execute.preload"),
]
"""What the server of forks imports: all that a launcher and its workers need. `preload` is last: it freezes all."""
LEAST = [
    "mixing.budget_factor=6e-5",
    "train.save_every=5",
    "evals.bootstrap=100",
    "evals.benchmarks.bpb.items=3",
    "tracking=none",
]


class Fork:
    """A launch forked from the server of this test session, with the part of the interface of Popen that tests use."""

    def __init__(self, folder: Path, script: str, arguments: list[str]) -> None:
        handle, name = tempfile.mkstemp(prefix="launch-", suffix=".txt")
        os.close(handle)
        self.output = Path(name)
        os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)  # where the server is still to be started
        target = (folder, script, arguments, dict(os.environ), self.output)
        self.process = multiprocessing.get_context("forkserver").Process(target=run_script, args=target)
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, None]:
        self.process.join(timeout)
        assert self.returncode is not None, f"not within {timeout} s"
        return self.output.read_text(encoding="utf-8"), None


Launch = subprocess.Popen[str] | Fork


def run_script(folder: Path, script: str, arguments: list[str], environment: dict[str, str], output: Path) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` would, with the workers forked from the server that forked this."""
    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = forkserver._forkserver  # type: ignore[attr-defined]
    # This process knows the server's address, but would start another server because it did not start this one.
    server.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
    forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
    sys.argv = [str(ROOT / script), *arguments]
    sys.path.insert(0, str(ROOT))
    runpy.run_path(sys.argv[0], run_name="__main__")


def start(folder: Path, cache: Path, *arguments: str, script: str = "launch.py") -> subprocess.Popen[str]:
    """Start a launch as a user does."""
    command = [sys.executable, str(ROOT / script), *arguments, f"paths.cache={cache}"]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}
    )


def fork(folder: Path, cache: Path, *arguments: str, script: str = "launch.py") -> Fork:
    """Start a launch that need not import anything: the same code, in half of the processor's time."""
    return Fork(folder, script, [*arguments, f"paths.cache={cache}"])


def finish(process: Launch, code: int = 0) -> str:
    """The output of a launch that must end with this exit code."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, output
    return output

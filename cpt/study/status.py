"""Where a run is now: `status.json`, written by its process, read by everybody else."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.train.hooks import Hook, Session, StepRecord

HEARTBEAT_SECONDS = 1.0
"""A running process writes at most this often; a status much older than that belongs to a dead one."""
STALE_SECONDS = 120.0


@dataclass
class Status:
    run: str
    run_id: str
    state: str = "planned"
    """planned, running, stopped (asked to, and saved), finished or failed."""
    stage: str = ""
    step: int = 0
    steps: int = 0
    started: str = ""
    updated: str = ""
    host: str = ""
    pid: int = 0
    attempt: str = ""
    """Which start of the run's processes this is of (`Seat.attempt`)."""
    error: str | None = None

    @property
    def age(self) -> float:
        """Seconds since the process last wrote."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.updated)).total_seconds() if self.updated else 0.0


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_status(folder: Path) -> Status | None:
    """The status of a run's folder; nothing where there is none, or one that cannot be read."""
    path = folder / "status.json"
    try:
        return Status(**read_json(path)) if path.exists() else None
    except (UserError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> None:
    status.updated = now()
    write_json(folder / "status.json", asdict(status))


class Reporter(Hook):
    """Keeps a run's status up to date; also a hook of the training loop."""

    def __init__(self, folder: Path, run: str, run_id: str, attempt: str = "") -> None:
        self.folder = folder
        self.status = Status(
            run, run_id, "running", started=now(), host=socket.gethostname(), pid=os.getpid(), attempt=attempt
        )
        self._written = 0.0

    def stage(self, stage: str, steps: int = 0) -> None:
        self.status.stage, self.status.step, self.status.steps = stage, 0, steps
        self._write()

    def progress(self, step: int, steps: int) -> None:
        self.status.step, self.status.steps = step, steps
        if time.monotonic() - self._written > HEARTBEAT_SECONDS:
            self._write()

    def on_start(self, session: Session) -> None:
        self.progress(session.step, session.steps)

    def after_step(self, record: StepRecord) -> None:
        self.progress(record.step, record.steps)

    def end(self, state: str, error: str | None = None) -> None:
        self.status.state, self.status.error = state, error
        self._write()

    def _write(self) -> None:
        write_status(self.folder, self.status)
        self._written = time.monotonic()

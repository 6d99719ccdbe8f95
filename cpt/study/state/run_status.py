"""The status of a run, `status.json`: written by its process, read by all others."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.train.hooks import Hook, Session, StepRecord

PROGRESS_SECONDS = 1.0
"""Progress is written at most this often."""
HEARTBEAT_SECONDS = 20.0
"""A process writes its status at least this often, however long a step takes."""

BACK = "stopped by the cluster, in the queue again"
"""Message of a run whose job was requeued."""


@dataclass
class Status:
    run: str
    run_id: str
    state: str = "planned"
    """planned, submitted (its job is in the queue), running, stopped (saved on request), finished or failed."""
    stage: str = ""
    step: int = 0
    steps: int = 0
    started: str = ""
    updated: str = ""
    host: str = ""
    pid: int = 0
    attempt: str = ""
    """The attempt that wrote this status (`ProcessRank.attempt`)."""
    error: str | None = None
    job: str = ""
    """Id of the cluster's job that the run is part of."""

    @property
    def age(self) -> float:
        """Seconds since the process last wrote."""
        try:
            return (datetime.now(UTC) - datetime.fromisoformat(self.updated)).total_seconds()
        except ValueError:
            return 0.0


_FIELDS = {entry.name for entry in fields(Status)}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_status(folder: Path) -> Status | None:
    """The status of a run's folder; None if it is missing or cannot be read.

    A status written by another version may have other fields; unknown ones are ignored.
    """
    try:
        values = read_json(folder / "status.json")
        return Status(**{key: value for key, value in values.items() if key in _FIELDS})
    except (UserError, OSError, AttributeError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> None:
    status.updated = now()
    write_json(folder / "status.json", asdict(status))


class Reporter(Hook):
    """Updates a run's status; also a hook of the training loop.

    From the first stage to the end a thread writes heartbeats, because one step may take long: reading 16 GB, or
    compiling.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        run_id: str,
        attempt: str = "",
        job: str = "",
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.folder = folder
        host, pid = socket.gethostname(), os.getpid()
        self.status = Status(run, run_id, "running", started=now(), host=host, pid=pid, attempt=attempt, job=job)
        self.heartbeat = heartbeat
        self._written = 0.0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._heartbeat_thread: threading.Thread | None = None

    def stage(self, stage: str, steps: int = 0) -> None:
        with self._lock:
            self.status.stage, self.status.step, self.status.steps = stage, 0, steps
            self._write()
        if self._heartbeat_thread is None:
            self._heartbeat_thread = threading.Thread(target=self._write_heartbeats, name="status", daemon=True)
            self._heartbeat_thread.start()

    def progress(self, step: int, steps: int) -> None:
        with self._lock:
            self.status.step, self.status.steps = step, steps
            if time.monotonic() - self._written > PROGRESS_SECONDS:
                self._write()

    def on_start(self, session: Session) -> None:
        self.progress(session.step, session.steps)

    def after_step(self, record: StepRecord) -> None:
        self.progress(record.step, record.steps)

    def end(self, state: str, error: str | None = None) -> None:
        self._ended.set()
        with self._lock:
            self.status.state, self.status.error = state, error
            self._write()

    def _write_heartbeats(self) -> None:
        while not self._ended.wait(self.heartbeat):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    self._write()
                except OSError as error:  # a full disk also fails where results are saved, with a clear error
                    logging.getLogger(__name__).warning("%s: status cannot be written (%s)", self.folder, error)

    def _write(self) -> None:
        write_status(self.folder, self.status)
        self._written = time.monotonic()

"""A lease with a heartbeat: one process at a time works on a folder, on any machine that shares the file system.

The system releases a file lock (flock) when its process ends, but on many clusters' file systems flock works on one
node only, or not at all. A lease only needs files that can be created exclusively and renamed:

    lease.json             the holder of the folder, who touches the file every RENEW_SECONDS
    .lease-<token>.next    a claim: its creator may replace the file that has this token

Each of these files has its own token. Only the creator of a claim changes `lease.json`, after reading that it still has
the token of the claim. So exactly one of many processes takes over an abandoned lease, and no process removes its
successor's lease. A claim whose owner died is taken over in the same way.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from cpt.errors import UserError, config_error
from cpt.files import locked

log = logging.getLogger(__name__)

NAME = "lease.json"
LAUNCH = "a launch"
"""Owner of a study's folder while the study is planned, or run on this machine."""
RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A lease that was not renewed for this long is abandoned, unless its process is known to be alive."""
TAKEN = 75
"""Exit code of a process whose run is held by another process."""
PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
"""Longest time between two reads of another's lease: a job may wait for hours on a shared file system."""


@dataclass(frozen=True)
class Holder:
    """The content of a lease, and the time since it was renewed."""

    owner: str = "a process that did not say who it is"
    host: str = "an unknown machine"
    pid: int = 0
    attempt: str = ""
    since: str = ""
    token: str = ""
    place: str = ""
    """The machine, its boot and its process namespace: process ids can only be compared within them."""
    born: str = ""
    """Start time of the process: distinguishes it from a later process with the same id."""
    age: float = field(default=0.0, compare=False)
    """Seconds since the last renewal, by the file system's clock."""
    stale: float = field(default=STALE_SECONDS, compare=False)

    @property
    def seen(self) -> bool | None:
        """Whether the process is alive; None if that cannot be checked from here."""
        if not self.place or self.place != _pid_namespace():
            return None
        born = _born(self.pid)
        return None if born is None else born == self.born

    @property
    def alive(self) -> bool:
        """A process that is known to be alive may still write, however long ago it renewed the lease."""
        seen = self.seen
        return self.age < self.stale if seen is None else seen


class LeaseTakenError(UserError):
    """Another process works on the folder."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        since = f" since {holder.since}" if holder.since else ""
        super().__init__(
            f"{folder}: {holder.owner} works on it, on {holder.host} (process {holder.pid}){since}, last renewed "
            f"{holder.age:.0f} s ago; wait for it, or stop it (cpt cancel) and launch again"
        )
        self.holder = holder


def holder(folder: Path, stale: float = STALE_SECONDS, now: float | None = None) -> Holder | None:
    """The holder of a folder, or the last one if it did not release it; `now` saves a call of `file_system_now`."""
    return _read(folder / NAME, stale, now)


def file_system_now(folder: Path) -> float:
    """The time that the file system gives new files of this folder; the clocks of machines may differ."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a folder that can only be read
        return time.time()


class Lease:
    """Holds a folder for the duration of the block.

    `owner` describes the holder to users. An owner that begins with `job ` is a cluster's job: a job that starts again
    takes the lease from its earlier start, which has ended. `wait` is how long to try while another process holds it.
    """

    def __init__(
        self,
        folder: Path,
        owner: str,
        attempt: str = "",
        *,
        wait: float = 0.0,
        renew: float = RENEW_SECONDS,
        stale: float = STALE_SECONDS,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        self.folder, self.path = folder, folder / NAME
        self.wait, self.renew, self.stale, self.lost = wait, renew, stale, lost or end_at_once
        me, born = os.getpid(), _born(os.getpid()) or ""
        self.facts = Holder(owner, socket.gethostname(), me, attempt, place=_pid_namespace(), born=born)
        self.token = ""
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_released, name="lease", daemon=True)

    def __enter__(self) -> Self:
        before = self._acquire()
        self._thread.start()
        if before and before.alive and before.seen is None:
            # Its process may still run on a node that SLURM has lost: give it time to notice and end.
            time.sleep(1.5 * self.renew)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()
        try:
            if self._claim(self.path, self.token):
                self.path.unlink(missing_ok=True)
                _claim_path(self.path, self.token).unlink(missing_ok=True)
        except OSError as error:  # a full disk or a removed folder: the lease ends with this process anyway
            log.warning("%s: could not be released (%s)", self.path, error)

    def _acquire(self) -> Holder | None:
        """Take the lease; returns its previous holder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        end, pause = time.monotonic() + self.wait, PAUSE_SECONDS
        while True:
            current = holder(self.folder, self.stale)
            if current is None:
                if token := _create(self.path, self.facts):
                    self.token = token
                    return None
            elif current.alive and not self._is_mine(current):
                if time.monotonic() >= end:
                    raise LeaseTakenError(self.folder, current)
            elif self._replace(current):
                return current
            time.sleep(pause * (0.5 + secrets.randbelow(100) / 100))
            pause = min(1.1 * pause, LONGEST_PAUSE_SECONDS)

    def _is_mine(self, current: Holder) -> bool:
        """Whether the holder is an earlier start of the same job that is not known to be alive."""
        return current.owner == self.facts.owner and current.owner.startswith("job ") and not current.seen

    def _replace(self, current: Holder) -> bool:
        """Replace this lease with one of this process; false if another process was faster."""
        token = self._claim(self.path, current.token)
        if token is None:
            return False
        with suppress(FileNotFoundError):  # another process took over this claim: the lease that exists now decides
            _claim_path(self.path, current.token).replace(self.path)  # the claim becomes the lease
        self.token = token
        new = holder(self.folder)
        return new is not None and new.token == token

    def _claim(self, path: Path, token: str) -> str | None:
        """Claim the file that has this token: the new claim's own token, or None if another process may change it."""
        claim = _claim_path(path, token)
        mine = _create(claim, self.facts)
        if mine is None:
            other = _read(claim, self.stale)
            if other and not other.alive and self._claim(claim, other.token):
                claim.unlink(missing_ok=True)
                _claim_path(claim, other.token).unlink(missing_ok=True)
            return None
        current = _read(path, self.stale)
        if current is None or current.token != token:
            claim.unlink(missing_ok=True)
            return None
        return mine

    def _renew_until_released(self) -> None:
        """Renew the lease; call `lost` when another process has taken it."""
        last = _clock()
        # Checked more often than renewed, to notice within a second that the machine was suspended.
        while not self._released.wait(min(self.renew, 1.0)):
            if _clock() - last < self.renew:
                continue
            last = _clock()
            try:
                mine = self._touch()
            except OSError as error:  # the file system may be unavailable for a while
                log.warning("%s: cannot be renewed now (%s); will try again", self.path, error)
                continue
            if not mine and not self._released.is_set():
                current = holder(self.folder)
                by = f"{current.owner} on {current.host} has it since {current.since}" if current else "it was removed"
                self.lost(
                    f"{self.folder}: this process lost the lease ({by}), because it did not renew it in time or its "
                    "job was started elsewhere; it ends without saving, as two processes must not write to one folder"
                )
                return

    def _touch(self) -> bool:
        """Renew the lease if it is still this process's. The open file is touched, not what now has its name."""
        try:
            with self.path.open("rb") as file:
                if _facts(file.read()).get("token") != self.token:
                    return False
                os.utime(file.fileno())
                return True
        except FileNotFoundError:
            return False


@contextmanager
def study_lock(study: Path) -> Iterator[None]:
    """Exclude other launches from a study for the duration of the block."""
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(locked(study / ".lock", wait=False))
            if mine:  # the lock may not work across machines; the lease does
                stack.enter_context(Lease(study, LAUNCH))
        except LeaseTakenError:
            mine = False
        if not mine:
            reason = f"another launch is working on {study}; wait for it or name another study"
            raise config_error("study", study.name, reason)
        yield


def end_at_once(message: str) -> NoReturn:
    """End without saving: a signal would make a training save, and exit handlers would clean up."""
    log.error("%s", message)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(TAKEN)


def _claim_path(path: Path, token: str) -> Path:
    return path.parent / f".lease-{token}.next"


def _create(path: Path, facts: Holder) -> str | None:
    """Create a file with these facts and a new token, which is returned; None if the file exists."""
    mine = replace(facts, token=secrets.token_hex(8), since=datetime.now(UTC).isoformat(timespec="seconds"))
    record = {key: value for key, value in asdict(mine).items() if key in _FIELDS}
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return mine.token


def _read(path: Path, stale: float, now: float | None = None) -> Holder | None:
    """The content of a lease or claim. The file is opened because NFS only then asks its server for its age."""
    try:
        with path.open("rb") as file:
            text, status = file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    age = max((file_system_now(path.parent) if now is None else now) - status.st_mtime, 0.0)
    facts = {"token": f"damaged-{status.st_ino}"} | _facts(text)
    return Holder(**{key: value for key, value in facts.items() if key in _FIELDS}, age=age, stale=stale)


_FIELDS = {entry.name for entry in fields(Holder)} - {"age", "stale"}


def _facts(text: bytes) -> dict[str, Any]:
    """The values in a lease or claim; empty if it is damaged or being written."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _clock() -> float:
    """Seconds, including those during which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


@cache
def _pid_namespace() -> str:
    """Identifies this machine, its boot and its process namespace, within which a process id is unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str | None:
    """Start time of a process of this machine, empty if it has ended, None if that cannot be read."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if state in "ZX" else facts[18]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return None  # it exists, but is hidden from other users

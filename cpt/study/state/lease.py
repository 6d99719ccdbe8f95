"""Who works on a folder: a lease with a heartbeat, for machines that share its file system.

A lock of the system (flock) goes with its process, but on many a cluster's file system it holds on one node only, or
not at all. A lease needs nothing but files that can be created exclusively and renamed:

    lease.json             who holds the folder; its holder touches it every RENEW_SECONDS
    .lease-<token>.next    the right to put something in the place of the file that has this token

Every such file has a token of its own. Only whoever created the second changes the first, having read that it is still
the one meant; so of many who find a lease abandoned exactly one gets it, and nobody removes the lease of a successor.
A right whose owner died with it is taken over in the same way.
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
"""Owner of a study's folder while the study is planned, or carried out on this machine."""
RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A lease not renewed for so long is abandoned, unless its process can be seen to live."""
TAKEN = 75
"""Exit code of a process whose run is another's."""
PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
"""Between two looks at another's lease: a job may wait for hours, on a file system that many use."""


@dataclass(frozen=True)
class Holder:
    """What a lease says, and how long ago it was renewed."""

    owner: str = "a process that did not say who it is"
    host: str = "an unknown machine"
    pid: int = 0
    attempt: str = ""
    since: str = ""
    token: str = ""
    place: str = ""
    """The machine since its last start, and its numbering of processes."""
    born: str = ""
    """When the process started, as its machine counts: another that was given its number began at another time."""
    age: float = field(default=0.0, compare=False)
    """Seconds since the last renewal, by the clock of the file system."""
    stale: float = field(default=STALE_SECONDS, compare=False)

    @property
    def seen(self) -> bool | None:
        """Whether the process lives, where that can be told from here."""
        if not self.place or self.place != _place():
            return None
        born = _born(self.pid)
        return None if born is None else born == self.born

    @property
    def alive(self) -> bool:
        """A process that is seen to live may wake up and write, however long it has been silent."""
        seen = self.seen
        return self.age < self.stale if seen is None else seen


class LeaseTakenError(UserError):
    """Somebody else works on the folder."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        since = f" since {holder.since}" if holder.since else ""
        super().__init__(
            f"{folder}: {holder.owner} works on it, on {holder.host} (process {holder.pid}){since}, last sign "
            f"{holder.age:.0f} s ago; wait for it, or stop it (cpt cancel) and launch again"
        )
        self.holder = holder


def holder(folder: Path, stale: float = STALE_SECONDS, now: float | None = None) -> Holder | None:
    """Who holds a folder, or held it last and did not give it back; `now` where `file_system_now` is known."""
    return _read(folder / NAME, stale, now)


def file_system_now(folder: Path) -> float:
    """The time by which files of this folder are stamped; machines' own clocks may differ."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # only to be looked at
        return time.time()


class Lease:
    """Holds a folder for as long as the block lasts.

    `owner` says for people who holds it; one that begins with `job ` names a cluster's job, whose earlier start is over
    when it starts again, so it takes the lease from itself. `wait` is how long to try while another holds it.
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
        self.facts = Holder(owner, socket.gethostname(), me, attempt, place=_place(), born=born)
        self.token = ""
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        before = self._acquire()
        self._keeper.start()
        if before and before.alive and before.seen is None:
            # Its process may live yet, on a node that SLURM gave up for lost: time for it to notice, and end.
            time.sleep(1.5 * self.renew)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._keeper.join()
        try:
            if self._right_to(self.path, self.token):
                self.path.unlink(missing_ok=True)
                _right(self.path, self.token).unlink(missing_ok=True)
        except OSError as error:  # a full disk, a folder that was removed: the lease ends with this process anyway
            log.warning("%s: could not be given back (%s)", self.path, error)

    def _acquire(self) -> Holder | None:
        """Take the lease; returns from whom."""
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
        """Whether it is of an earlier start of the same job, and not of a process that is still to be seen."""
        return current.owner == self.facts.owner and current.owner.startswith("job ") and not current.seen

    def _replace(self, current: Holder) -> bool:
        """Put a lease of one's own in the place of this one; false where another was quicker."""
        token = self._right_to(self.path, current.token)
        if token is None:
            return False
        with suppress(FileNotFoundError):  # taken for abandoned meanwhile: what is there then decides
            _right(self.path, current.token).replace(self.path)  # the right becomes the lease
        self.token = token
        found = holder(self.folder)
        return found is not None and found.token == token

    def _right_to(self, path: Path, token: str) -> str | None:
        """The right to change a file while it has this token, as a file with a token of its own, or nothing."""
        right = _right(path, token)
        mine = _create(right, self.facts)
        if mine is None:
            other = _read(right, self.stale)
            if other and not other.alive and self._right_to(right, other.token):
                right.unlink(missing_ok=True)
                _right(right, other.token).unlink(missing_ok=True)
            return None
        found = _read(path, self.stale)
        if found is None or found.token != token:
            right.unlink(missing_ok=True)
            return None
        return mine

    def _keep(self) -> None:
        """Renew the lease; notice that it has been taken."""
        last = _clock()
        # Looked at more often than renewed: after a sleep of the whole machine one knows within a second.
        while not self._ended.wait(min(self.renew, 1.0)):
            if _clock() - last < self.renew:
                continue
            last = _clock()
            try:
                mine = self._touch()
            except OSError as error:  # a file system that is away for a while says nothing about the lease
                log.warning("%s: cannot be renewed now (%s); trying on", self.path, error)
                continue
            if not mine and not self._ended.is_set():
                found = holder(self.folder)
                by = f"{found.owner} on {found.host} has it since {found.since}" if found else "it is gone"
                self.lost(
                    f"{self.folder}: this process gave no sign for too long, or its job was started elsewhere, and "
                    f"lost the lease ({by}); it ends here, without saving, for two must not write to one folder"
                )
                return

    def _touch(self) -> bool:
        """Renew the lease if it is still this one: the file that was read, whatever has the name by now."""
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
    """Keep every other launch off a study for as long as the block lasts."""
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(locked(study / ".lock", wait=False))
            if mine:  # the lock may not reach other machines; the lease does
                stack.enter_context(Lease(study, LAUNCH))
        except LeaseTakenError:
            mine = False
        if not mine:
            reason = f"another launch is working on {study}; wait for it or name another study"
            raise config_error("study", study.name, reason)
        yield


def end_at_once(message: str) -> NoReturn:
    """A run that was lost must not save: no signal, which would ask it to, and no clearing up."""
    log.error("%s", message)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(TAKEN)


def _right(path: Path, token: str) -> Path:
    return path.parent / f".lease-{token}.next"


def _create(path: Path, facts: Holder) -> str | None:
    """Create a file with these facts and a token of its own; nothing where there is one already."""
    mine = replace(facts, token=secrets.token_hex(8), since=datetime.now(UTC).isoformat(timespec="seconds"))
    said = {key: value for key, value in asdict(mine).items() if key in _FIELDS}
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return mine.token


def _read(path: Path, stale: float, now: float | None = None) -> Holder | None:
    """What such a file says. It is opened, for only then does NFS ask its server how old it is."""
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
    """What is written in such a file; nothing where it is damaged, or this moment being written."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _clock() -> float:
    """Seconds that also count while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


@cache
def _place() -> str:
    """Where process numbers mean the same: this machine since it started, and not inside another container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str | None:
    """When a process of this machine started, empty where it has ended; nothing where that cannot be seen."""
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
    return None  # there, but hidden from other users

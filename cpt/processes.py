"""Processes of this machine that help one another: work handed out in order, and nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import connection, parent_process
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cpt.errors import UserError

# Large blocks are kept by the allocator instead of being given back and faulted in again at every step: 1.2 to 1.6
# times the speed on small models. It must be set before a process starts.
ALLOCATOR = ":".join(
    (
        "glibc.malloc.mmap_threshold=1073741824",
        "glibc.malloc.trim_threshold=4294967296",
        "glibc.malloc.top_pad=268435456",
    )
)

T = TypeVar("T")
R = TypeVar("R")
_NONE: Any = object()


def usable_cores() -> int:
    """Cores this process may use, which on a shared machine can be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """A parent that is killed takes this process along, so that the next one never meets a ghost."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _begin() -> None:
    """Ctrl-C is the launcher's to handle; it stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


class WorkshopStoppedError(Exception):
    """Said to whoever has work in hand when another's has failed, or the user stops."""


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """These signals are as good as Ctrl-C: what is whole is kept, and nothing is left lying about."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Workshop:
    """Some processes that work for this one; with none, this one works alone."""

    def __init__(self, processes: int = 0) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._lent = tempfile.TemporaryDirectory(prefix="cpt-workshop-")
        self._loans: dict[int, tuple[Any, Path]] = {}
        self._lock, self._stopped = threading.Lock(), False
        self._room = threading.Semaphore(3 * max(processes, 1))

    def __enter__(self) -> Self:
        if self.processes:
            # Two at a time use a core each; the library's own threads would only be in each other's way.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(self.processes, context, initializer=_begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)
        self._lent.cleanup()

    def lend(self, thing: Any) -> Path:
        """A file from which the processes read a large tool, once each, instead of being sent it with every task."""
        with self._lock:
            if id(thing) not in self._loans:
                handle, name = tempfile.mkstemp(dir=self._lent.name)
                with os.fdopen(handle, "wb") as file:
                    pickle.dump(thing, file)
                self._loans[id(thing)] = (thing, Path(name))  # the thing is held, so that no other takes its id
            return self._loans[id(thing)][1]

    def stop(self) -> None:
        """Take no more work: whoever waits for some is told so."""
        self._stopped = True

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """What a function gives for each item, in order; only a few items are ever on their way, whoever asks."""
        source, coming = iter(items), deque[Future[R]]()
        try:
            while True:
                if self._stopped:
                    raise WorkshopStoppedError
                if self._pool is None:
                    item = next(source, _NONE)
                    if item is _NONE:
                        return
                    yield function(item)
                    continue
                while len(coming) < 2 * self.processes and self._room.acquire(blocking=not coming):
                    item = next(source, _NONE)
                    if item is _NONE:
                        self._room.release()
                        break
                    coming.append(self._pool.submit(function, item))
                if not coming:
                    return
                result = coming.popleft().result()
                self._room.release()
                yield result
        except BrokenProcessPool as error:
            raise UserError(
                "a process that prepares data was killed (out of memory?); launch again, it goes on from there"
            ) from error
        finally:
            for future in coming:
                future.cancel()
                self._room.release()

    def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """One thing done by a process, where there is one."""
        return self._pool.submit(function, *arguments).result() if self._pool else function(*arguments)


@lru_cache(maxsize=2)
def borrowed(path: Path) -> Any:
    """A tool that a workshop lends."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # written by our own parent, in a folder of its own

"""Ordered, bounded process pool; workers exit with their parent."""

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
from typing import Any, Self, TypeVar

from cpt.errors import UserError

# glibc keeps large blocks instead of returning them to the system and faulting them in again at every step: small
# models train 1.2 to 1.6 times as fast. It must be set before a process starts.
ALLOCATOR = (
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=268435456"
)

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


def usable_cores() -> int:
    """Cores this process may use, which on a shared machine can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exit_with_parent() -> None:
    """Exit when the parent process dies, so that no orphan runs beside the next launch."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _init_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher handles Ctrl-C and stops its workers
    exit_with_parent()


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Treat these signals like Ctrl-C, so that cleanup runs."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class PoolStoppedError(Exception):
    """Raised in threads that still have work in the pool when another one failed or the user stops."""


class WorkerPool:
    """A pool of processes that several threads may use at once; without processes, work runs in this one."""

    def __init__(self, processes: int = 0) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="cpt-pool-")
        self._shared: dict[int, tuple[Any, Path]] = {}
        self._lock, self._stopped = threading.Lock(), False
        self._slots = threading.Semaphore(3 * max(processes, 1))

    def __enter__(self) -> Self:
        if self.processes:
            # Each worker uses one core; the tokenizers library's own threads would compete with the other workers.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(self.processes, context, initializer=_init_worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)
        self._folder.cleanup()

    def share(self, value: Any) -> Path:
        """Pickle a large object to a file that each worker reads once, instead of sending it with every task."""
        with self._lock:
            if id(value) not in self._shared:
                handle, name = tempfile.mkstemp(dir=self._folder.name)
                with os.fdopen(handle, "wb") as file:
                    pickle.dump(value, file)
                self._shared[id(value)] = (value, Path(name))  # the reference keeps the id from being reused
            return self._shared[id(value)][1]

    def stop(self) -> None:
        """Accept no more work; threads in `run` get a PoolStoppedError."""
        self._stopped = True

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """Results in the order of the items; the number of items in progress is bounded over all callers."""
        source, pending = iter(items), deque[Future[R]]()
        try:
            while True:
                if self._stopped:
                    raise PoolStoppedError
                if self._pool is None:
                    item = next(source, _END)
                    if item is _END:
                        return
                    yield function(item)
                    continue
                while len(pending) < 2 * self.processes and self._slots.acquire(blocking=not pending):
                    item = next(source, _END)
                    if item is _END:
                        self._slots.release()
                        break
                    pending.append(self._pool.submit(function, item))
                if not pending:
                    return
                result = pending.popleft().result()
                self._slots.release()
                yield result
        except BrokenProcessPool as error:
            raise UserError(
                "a process that prepares data was killed (out of memory?); launch again, it resumes from there"
            ) from error
        finally:
            for future in pending:
                future.cancel()
                self._slots.release()

    def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Run one function in a worker, or here without workers."""
        return self._pool.submit(function, *arguments).result() if self._pool else function(*arguments)


@lru_cache(maxsize=2)
def load_shared(path: Path) -> Any:
    """Load an object that `WorkerPool.share` wrote."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # written by our own parent, in a folder of its own

"""Mirrors a run while it trains and is evaluated.

The truth is on disk and `cpt sync` can fill a mirror from it, so no failure here may stop or change a run: it is
logged once, and the run continues without a mirror.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from cpt.results.tracking.base import Destination, Identity, Listener, describe
from cpt.results.tracking.destinations import destinations
from cpt.results.tracking.history import History, Values, summary_of
from cpt.results.tracking.sent_record import RecordedSink
from cpt.train.hooks import Hook, Session, StepRecord

_LOG = logging.getLogger(__name__)


class NullSink:
    """Ignores everything: no destination could be opened."""

    def log(self, values: Values, step: int) -> None:
        pass

    def summarise(self, values: Values) -> None:
        pass

    def close(self, failed: bool) -> None:
        pass


class ThreadedSink:
    """Runs a sink in a thread and opens it at its first use, because W&B takes seconds to start.

    An error in the thread is raised once, by the next call.
    """

    def __init__(self, open_sink: Callable[[], Listener]) -> None:
        self._open_sink = open_sink
        self._sink: Listener | None = None
        self._error: Exception | None = None
        self._pool = ThreadPoolExecutor(1, "tracking")

    def log(self, values: Values, step: int) -> None:
        self._submit(lambda sink: sink.log(values, step))

    def summarise(self, values: Values) -> None:
        self._submit(lambda sink: sink.summarise(values))

    def close(self, failed: bool) -> None:
        """Returns when everything has arrived."""
        self._submit(lambda sink: sink.close(failed)).result()
        self._pool.shutdown()
        self._raise()

    def _submit(self, action: Callable[[Listener], None]) -> Future[None]:
        self._raise()
        return self._pool.submit(self._perform, action)

    def _perform(self, action: Callable[[Listener], None]) -> None:
        try:
            self._sink = self._sink or self._open_sink()
            action(self._sink)
        except Exception as error:
            self._error = self._error or error

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error


class Tracker(Hook):
    """Sends a run's files to its mirror; a hook that runs after the hooks that write those files."""

    def __init__(self, folder: Path, identity: Identity, candidates: list[Destination]) -> None:
        self._folder, self._identity, self._destinations = folder, identity, candidates
        self._history = History(folder)
        self._sink: ThreadedSink | None = ThreadedSink(self._open) if candidates else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(lambda sink: sink.close(failed=kind is not None))

    def on_start(self, session: Session) -> None:
        """Sends the steps of earlier processes too; the sink skips those that have arrived."""
        self._attempt(self._send_steps)

    def after_step(self, record: StepRecord) -> None:
        self._attempt(self._send_steps)

    def scored(self) -> None:
        """Send the run's scores, which are on disk, and the steps of a training in another process."""
        self._attempt(self._send_steps)
        self._attempt(lambda sink: sink.summarise(summary_of(self._folder)))

    def _send_steps(self, sink: ThreadedSink) -> None:
        for step, values in self._history.new():
            sink.log(values, step)

    def _attempt(self, action: Callable[[ThreadedSink], None]) -> None:
        if self._sink is None:
            return
        try:
            action(self._sink)
        except Exception as error:
            remedy = "the run goes on without it, its results are on disk, and `cpt sync` sends them"
            _LOG.warning("%s failed (%s); %s", self._destinations[0].name, describe(error), remedy)
            broken, self._sink = self._sink, None
            with suppress(Exception):
                broken.close(failed=True)
            self._destinations[0].abandon()

    def _open(self) -> Listener:
        for destination in self._destinations:
            try:
                return RecordedSink(self._folder, self._identity, destination, self._folder)
            except Exception as error:
                _LOG.warning("%s cannot be opened (%s)", destination.name, describe(error))
                destination.abandon()
        return NullSink()


def open_tracker(mode: str, folder: Path, identity: Identity) -> Tracker:
    """A tracker of the run in `folder`."""
    return Tracker(folder, identity, destinations(mode, folder.parent.parent))

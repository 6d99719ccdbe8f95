"""The mirror of a run: what a training and an evaluation call, and what a place to mirror to must be able to do.

The truth is on disk and a mirror can be filled again from it (`cpt sync`), so nothing that happens here may stop or
change a run: what fails is said once and then done without.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from cpt.results.tracking.history import History, Values, summary_of
from cpt.results.tracking.sent_record import Recorded
from cpt.train.hooks import Hook, Session, StepRecord

if TYPE_CHECKING:
    from cpt.results.tracking.comparison_run import Exhibits

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What a run is called and known by in a mirror."""

    run_id: str
    name: str
    group: str
    """The study."""
    tags: list[str]
    config: dict[str, Any]
    """Without anything of this machine."""
    project: str
    entity: str | None
    job_type: str
    """train, base, or comparison."""
    notes: str = ""


class Listener(Protocol):
    """What a run is told to."""

    def log(self, values: Values, step: int) -> None:
        """Values of a step; steps come in order."""

    def summarise(self, values: Values) -> None:
        """Values of the run as a whole; a name that is there gets the new value."""

    def close(self, failed: bool) -> None:
        """Returns when everything has arrived."""


class Sink(Listener, Protocol):
    """One run, opened at a destination; it is told no step that is there already."""

    known_step: int
    """The last step that is there already, from this process or an earlier one; -1 where there is none."""

    def show(self, exhibits: Exhibits, step: int) -> None:
        """The tables and pages of a comparison, instead of those at earlier steps."""


class Destination(Protocol):
    """A place to mirror to."""

    name: str
    """For people: W&B, trackio."""

    @property
    def address(self) -> str:
        """Which one exactly, of several servers or folders: what was sent is remembered under it."""

    def obstacle(self) -> str | None:
        """Why nothing can be sent there from here, or None."""

    def open(self, folder: Path, identity: Identity) -> Sink:
        """The run of a folder, begun or gone on with."""

    def abandon(self) -> None:
        """After a failure: let go of whatever could disturb the next run of this process."""


def destinations(mode: str, runs: Path) -> list[Destination]:
    """Where runs are mirrored in a mode, by the folder of the studies: the first that can be opened is taken."""
    if mode == "none":
        return []
    if mode == "trackio":
        from cpt.results.tracking.trackio import FOLDER, Trackio

        return [Trackio(runs / FOLDER)]
    from cpt.results.tracking.wandb import Wandb

    return [Wandb("online"), Wandb("offline")] if mode == "online" else [Wandb("offline")]


def resolve_mode(mode: str, say: Callable[[str], None]) -> str:
    """The mode that will work from here: `online` becomes `offline`, and says so, without a key or a server.

    Asked once, where a study is launched, so that 36 runs do not each wait for a server that is not there.
    """
    if mode == "trackio":  # whether it is installed was checked with everything else
        say("tracking: curves and scores go to .trackio, beside the studies; `cpt dashboard` shows them, now and later")
    if mode != "online":
        return mode
    from cpt.results.tracking.wandb import Wandb

    if (obstacle := Wandb("online").obstacle()) is None:
        return mode
    say(
        f"tracking: offline instead of online, for {obstacle}. Curves and scores are kept in each run's folder; "
        "when that is mended, `cpt sync` sends them"
    )
    return "offline"


def describe(error: BaseException) -> str:
    """An error in one line that never shows the key."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    key = os.environ.get("WANDB_API_KEY")
    return line.replace(key, "…") if key else line


class Nowhere:
    """The listener of a run whose mirror could not be opened."""

    def log(self, values: Values, step: int) -> None:
        pass

    def summarise(self, values: Values) -> None:
        pass

    def close(self, failed: bool) -> None:
        pass


class Aside:
    """A sink in a thread of its own, opened at its first use: W&B takes seconds to start, which no step waits for."""

    def __init__(self, opening: Callable[[], Listener]) -> None:
        self._opening = opening
        self._sink: Listener | None = None
        self._error: Exception | None = None
        self._pool = ThreadPoolExecutor(1, "tracking")

    def log(self, values: Values, step: int) -> None:
        self._pass_on(lambda sink: sink.log(values, step))

    def summarise(self, values: Values) -> None:
        self._pass_on(lambda sink: sink.summarise(values))

    def close(self, failed: bool) -> None:
        """Returns when all that was passed on has arrived."""
        self._pass_on(lambda sink: sink.close(failed)).result()
        self._pool.shutdown()
        self._raise()

    def _pass_on(self, action: Callable[[Listener], None]) -> Future[None]:
        self._raise()
        return self._pool.submit(self._perform, action)

    def _perform(self, action: Callable[[Listener], None]) -> None:
        try:
            self._sink = self._sink or self._opening()
            action(self._sink)
        except Exception as error:
            self._error = self._error or error

    def _raise(self) -> None:
        """What went wrong aside is told at the next occasion, once."""
        error, self._error = self._error, None
        if error:
            raise error


class Tracker(Hook):
    """A run's mirror: a hook of the training loop, after those that write the run's files, which are what it tells."""

    def __init__(self, folder: Path, identity: Identity, places: list[Destination]) -> None:
        self._folder, self._identity, self._places = folder, identity, places
        self._history = History(folder)
        self._sink: Aside | None = Aside(self._open) if places else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(lambda sink: sink.close(failed=kind is not None))

    def on_start(self, session: Session) -> None:
        """What earlier processes left is told too: a mirror that knows it passes over it."""
        self._tell()

    def after_step(self, record: StepRecord) -> None:
        self._tell()

    def scored(self) -> None:
        """The run's scores are on disk."""
        self._tell()  # where training was another process's
        self._attempt(lambda sink: sink.summarise(summary_of(self._folder)))

    def _tell(self) -> None:
        def tell(sink: Aside) -> None:
            for step, values in self._history.new():
                sink.log(values, step)

        self._attempt(tell)

    def _attempt(self, action: Callable[[Aside], None]) -> None:
        if self._sink is None:
            return
        try:
            action(self._sink)
        except Exception as error:
            told = "; the run goes on without it, its results are on disk, and `cpt sync` sends them"
            _LOG.warning("%s failed (%s)%s", self._places[0].name, describe(error), told)
            broken, self._sink = self._sink, None
            with suppress(Exception):
                broken.close(failed=True)
            self._places[0].abandon()

    def _open(self) -> Listener:
        for place in self._places:
            try:
                return Recorded(self._folder, self._identity, place, self._folder)
            except Exception as error:
                _LOG.warning("%s cannot be opened (%s)", place.name, describe(error))
                place.abandon()
        return Nowhere()


def open_tracker(mode: str, folder: Path, identity: Identity) -> Tracker:
    """A tracker for the run in `folder`, as near to `mode` as its mirror lets us."""
    return Tracker(folder, identity, destinations(mode, folder.parent.parent))

"""What is known to have arrived at a destination, so that nothing is sent twice: from one process of a run to the next,
and between a mirror told live and what is sent later."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.results.tracking.history import Values, digest

if TYPE_CHECKING:
    from cpt.results.tracking.comparison_run import Exhibits
    from cpt.results.tracking.mirror import Destination, Identity, Sink

NAME = "mirrored.json"


@dataclass(frozen=True)
class Record:
    """What arrived of a run at one destination."""

    step: int = -1
    summary: str = ""
    """Digest of the run's summary."""
    failed: bool = False
    """What was told of the run's end."""
    open: bool = False
    """Whether a process is telling; one that was killed cannot take it back."""


class Owner(Protocol):
    """In whose project of a destination a run is."""

    @property
    def project(self) -> str: ...

    @property
    def entity(self) -> str | None: ...


def key_of(place: Destination, owner: Owner) -> str:
    return " ".join(filter(None, (place.name, place.address, owner.entity, owner.project)))


def read_record(folder: Path, key: str) -> Record:
    try:
        return Record(**_records(folder).get(key, {}))
    except TypeError:
        return Record()


def _records(folder: Path) -> dict[str, Any]:
    """By destination; nothing where the file is damaged: the destinations themselves know what they have."""
    try:
        found = read_json(folder / NAME)
    except (FileNotFoundError, UserError):
        return {}
    return found if isinstance(found, dict) else {}


class Recorded:
    """A sink that passes on what the destination does not have yet, and remembers on disk what has arrived.

    What the destination says it has counts, where that is more: of a process that was killed it knows best.
    """

    def __init__(self, folder: Path, identity: Identity, place: Destination, files: Path) -> None:
        """`files` is where the destination may keep files of its own."""
        self._folder, self._key = folder, key_of(place, identity)
        record = read_record(folder, self._key)
        self._sink: Sink = place.open(files, identity)
        self.known_step = max(record.step, self._sink.known_step)
        self._record = record
        self._broken = False
        """Whether something was not taken: then what has arrived is not known, even if it can be closed."""
        self._write(replace(record, open=True))

    def log(self, values: Values, step: int) -> None:
        if step <= self.known_step:
            return  # sent before, or trained again from an earlier checkpoint, to the same bits
        try:
            self._sink.log(values, step)
        except BaseException:
            self._broken = True
            raise
        self.known_step = step

    def summarise(self, values: Values) -> None:
        self._sink.summarise(values)
        self._record = replace(self._record, summary=digest(values))

    def show(self, exhibits: Exhibits) -> None:
        self.known_step += 1
        self._sink.show(exhibits, self.known_step)
        self._record = replace(self._record, summary=exhibits.digest)

    def close(self, failed: bool) -> None:
        try:
            self._sink.close(failed)
        except BaseException:
            self._write(replace(read_record(self._folder, self._key), open=False))
            raise
        known = Record(self.known_step, self._record.summary, failed)
        self._write(replace(read_record(self._folder, self._key), open=False) if self._broken else known)

    def give_up(self) -> None:
        """After a failure: what has arrived is not known, so nothing more than before is remembered."""
        with suppress(Exception):
            self._sink.close(failed=True)
        with suppress(Exception):
            self._write(replace(read_record(self._folder, self._key), open=False))

    def _write(self, record: Record) -> None:
        write_json(self._folder / NAME, _records(self._folder) | {self._key: asdict(record)})

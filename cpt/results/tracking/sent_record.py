"""Records what has arrived at a destination, so that nothing is sent twice: by a resumed run, or live and by a sync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.results.tracking.base import Destination, Identity, Sink
from cpt.results.tracking.history import Values, digest

if TYPE_CHECKING:
    from cpt.config import TrackingConfig
    from cpt.results.tracking.comparison_run import ComparisonArtifacts

NAME = "mirrored.json"


@dataclass(frozen=True)
class Record:
    """What has arrived of a run at one destination."""

    step: int = -1
    summary: str = ""
    """Digest of the run's summary."""
    failed: bool = False
    open: bool = False
    """Whether a process is sending; it stays true if that process was killed."""


def key_of(destination: Destination, owner: Identity | TrackingConfig) -> str:
    """The key of a destination's record; `owner` has the project."""
    return " ".join(filter(None, (destination.name, destination.address, owner.entity, owner.project)))


def read_record(folder: Path, key: str) -> Record:
    try:
        return Record(**_records(folder).get(key, {}))
    except TypeError:
        return Record()


def _records(folder: Path) -> dict[str, Any]:
    """Records by destination; empty if the file is damaged, for the destinations know what they have."""
    try:
        records = read_json(folder / NAME)
    except (FileNotFoundError, UserError):
        return {}
    return records if isinstance(records, dict) else {}


class RecordedSink:
    """Sends only what the destination does not have, and records on disk what has arrived.

    The destination's own answer counts if it has more than the record: the record of a killed process is too old.
    """

    def __init__(self, folder: Path, identity: Identity, destination: Destination, files: Path) -> None:
        """The record is in `folder`; the destination may store files of its own in `files`."""
        self._folder, self._key = folder, key_of(destination, identity)
        record = read_record(folder, self._key)
        self._sink: Sink = destination.open(files, identity)
        self.known_step = max(record.step, self._sink.known_step)
        self._summary = record.summary
        self._broken = False
        """Whether a call failed: then it is unknown what has arrived, even if closing succeeds."""
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
        self._summary = digest(values)

    def log_comparison(self, artifacts: ComparisonArtifacts) -> None:
        self.known_step += 1
        self._sink.log_comparison(artifacts, self.known_step)
        self._summary = artifacts.digest

    def close(self, failed: bool) -> None:
        try:
            self._sink.close(failed)
        except BaseException:
            self._broken = True
            raise
        finally:
            before = replace(read_record(self._folder, self._key), open=False)
            self._write(before if self._broken else Record(self.known_step, self._summary, failed))

    def _write(self, record: Record) -> None:
        write_json(self._folder / NAME, _records(self._folder) | {self._key: asdict(record)})


@contextmanager
def recorded_sink(
    folder: Path, identity: Identity, destination: Destination, files: Path, failed: bool = False
) -> Iterator[RecordedSink]:
    """A sink that is closed at the end; after an error the record stays as it was. `failed` is the run's own state."""
    sink = RecordedSink(folder, identity, destination, files)
    try:
        yield sink
    except BaseException:
        sink._broken = True
        with suppress(Exception):
            sink.close(failed=True)
        raise
    sink.close(failed)

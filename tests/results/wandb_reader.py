"""Reads back what wandb wrote offline, for tests: the releases since 0.30 have no reader of their own in Python.

A `.wandb` file is a LevelDB log (blocks of 32 KiB, a record in one or several chunks of 7 bytes of header and the data)
whose records are protocol buffers.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import PATIENCE
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER, PREAMBLE = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """All parts of a run, in the order they were written."""

    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    host: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    """Exit code of each part that was closed."""

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]


def read_offline(run_folder: Path) -> OfflineRun:
    """The W&B run whose parts lie under a run's folder; parts of different ids are an error."""
    run = OfflineRun()
    files = sorted((run_folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    for file in files:
        for data in _chunks(file.read_bytes()):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(data)
            _add(run, record)
    return run


def read_ended(run_folder: Path, parts: int = 1, seconds: float = PATIENCE) -> OfflineRun:
    """The run once all its parts were closed: wandb's own process writes, and may do so after `finish` returned."""
    deadline = time.monotonic() + seconds
    while len((run := read_offline(run_folder)).exits) < parts and time.monotonic() < deadline:
        time.sleep(0.05)
    return run


def _add(run: OfflineRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        assert run.id in ("", record.run.run_id), f"two ids in one folder: {run.id} and {record.run.run_id}"
        run.id, run.name, run.project = record.run.run_id, record.run.display_name, record.run.project
        run.group, run.job_type, run.host = record.run.run_group, record.run.job_type, record.run.host
        run.tags = list(record.run.tags)
        _put(run.config, record.run.config.update)
    elif kind == "config":
        _put(run.config, record.config.update)
    elif kind == "summary":
        _put(run.summary, record.summary.update)
    elif kind == "history":
        run.history.append({})
        _put(run.history[-1], record.history.item)
    elif kind == "exit":
        run.exits.append(record.exit.exit_code)


def _put(target: dict[str, Any], items: Any) -> None:
    for item in items:
        *path, last = list(item.nested_key) or [item.key]
        place = target
        for key in path:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)


def _chunks(data: bytes) -> Iterator[bytes]:
    """Whole records; the torn tail of a killed process is left out."""
    assert data[:4] == b":W&B", "not a .wandb file"
    offset, parts = PREAMBLE, b""
    while offset + HEADER <= len(data):
        rest = BLOCK - offset % BLOCK
        _, length, kind = struct.unpack_from("<IHB", data, offset) if rest >= HEADER else (0, 0, 0)
        if kind == 0:  # padding to the end of the block
            offset += rest
            continue
        start, offset = offset + HEADER, offset + HEADER + length
        if offset > len(data):
            return
        parts = (b"" if kind in (FULL, FIRST) else parts) + data[start:offset]
        if kind in (FULL, LAST):
            yield parts

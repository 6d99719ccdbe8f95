"""What every process of a probe leaves on disk while it goes on, so that a hang names the step it hung in."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cpt.files import read_json, write_json

TORCH, DEVICE, PRODUCT = "import torch", "GPU", "matrix product"
JOIN, DEFAULT = "init_process_group", "all-reduce on the default process group"
SECOND, LARGE = "all-reduce on a second process group", "large all-reduce"
LEAVE, FILES = "destroy_process_group", "files in "
TOGETHER = (JOIN, DEFAULT, SECOND, LARGE, LEAVE)
"""Steps in which a process waits for all others."""
_ORDER = (TORCH, DEVICE, PRODUCT, *TOGETHER)
StepState = Literal["running", "ok", "failed", "hung"]
OVERDUE_SECONDS = 30.0
"""Beyond a step's limit, after which a process that says nothing is not alive; clocks of nodes differ a little too."""


@dataclass
class Step:
    name: str
    begun: float
    limit: float
    """Seconds it may take."""
    state: StepState = "running"
    seconds: float | None = None
    error: str = ""
    where: str = ""
    """Of a step that hung: the code it hung in, innermost first."""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Record:
    """One process: where it runs, the steps it has begun, and whether it is through."""

    rank: int
    ranks: int
    local_rank: int
    host: str
    pid: int
    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    ended: bool = False

    @property
    def well(self) -> bool:
        return self.ended and all(step.state == "ok" for step in self.steps)

    @property
    def last(self) -> Step | None:
        return self.steps[-1] if self.steps else None

    @property
    def position(self) -> int:
        """How far it came: processes that wait for each other do so at one position, or for one further back."""
        name = self.last.name if self.last else ""
        return _ORDER.index(name) if name in _ORDER else len(_ORDER) if name else -1

    def settled(self, now: float) -> bool:
        """Whether nothing more is to be expected of it."""
        step = self.last
        overdue = step is not None and step.state == "running" and now > step.begun + step.limit + OVERDUE_SECONDS
        return self.ended or overdue

    def values(self, name: str) -> dict[str, Any]:
        """What a step measured; nothing where it did not come to it."""
        return next((step.values for step in self.steps if step.name == name), {})

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)

    def write(self, folder: Path) -> None:
        write_json(folder / f"probe-{self.rank}.json", asdict(self))


def read_records(folder: Path, ranks: int) -> list[Record | None]:
    """The record of every rank, none for one that has not begun."""
    files = [folder / f"probe-{rank}.json" for rank in range(ranks)]
    return [_read(file) if file.exists() else None for file in files]


def _read(file: Path) -> Record:
    told: dict[str, Any] = read_json(file)
    return Record(**told | {"steps": [Step(**step) for step in told["steps"]]})


def begun(name: str, limit: float) -> Step:
    return Step(name, time.time(), limit)


def named(records: Iterable[Record], most: int = 8) -> str:
    """`ranks 0, 1 on nid001; rank 8 on nid002`, not more of them than a person reads."""
    hosts: dict[str, list[str]] = {}
    for record in records:
        hosts.setdefault(record.host, []).append(str(record.rank))
    parts = [
        f"rank{'s' * (len(ranks) > 1)} {', '.join(ranks[:most])}{' …' * (len(ranks) > most)} on {host}"
        for host, ranks in hosts.items()
    ]
    return "; ".join(parts[:most]) + (f"; and {len(parts) - most} nodes more" if len(parts) > most else "")

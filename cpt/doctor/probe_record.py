"""The record that each process of a probe writes while it runs, and the watchdog that ends a step that hangs.

A Python thread watches the time limit. Where a library holds the interpreter lock while it hangs, a thread of
`faulthandler`, which needs no lock, ends the process a little later; the record still names the running step.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cpt.doctor.check_result import error_line
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
"""A silent process counts as dead this long after a step's limit; the clocks of nodes may differ a little."""


@dataclass
class ProbeStep:
    name: str
    begun: float
    limit: float
    """Time limit in seconds."""
    state: StepState = "running"
    seconds: float | None = None
    error: str = ""
    where: str = ""
    """The stack of a step that hung, innermost frame first."""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class ProcessRecord:
    """One process: its node, the steps it has started, and whether it has ended."""

    rank: int
    world_size: int
    local_rank: int
    host: str
    pid: int
    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[ProbeStep] = field(default_factory=list)
    ended: bool = False

    @property
    def well(self) -> bool:
        return self.ended and all(step.state == "ok" for step in self.steps)

    @property
    def last(self) -> ProbeStep | None:
        return self.steps[-1] if self.steps else None

    @property
    def position(self) -> int:
        """The index of its last step; a process waits for others at the same index or before."""
        name = self.last.name if self.last else ""
        return _ORDER.index(name) if name in _ORDER else len(_ORDER) if name else -1

    def settled(self, now: float) -> bool:
        """Whether no more records are expected from it."""
        step = self.last
        overdue = step is not None and step.state == "running" and now > step.begun + step.limit + OVERDUE_SECONDS
        return self.ended or overdue

    def values(self, name: str) -> dict[str, Any]:
        """The measurements of a step; empty if it was not reached."""
        return next((step.values for step in self.steps if step.name == name), {})

    def step(self, name: str) -> ProbeStep | None:
        return next((step for step in self.steps if step.name == name), None)

    def write(self, folder: Path) -> None:
        write_json(folder / f"probe-{self.rank}.json", asdict(self))


def read_records(folder: Path, world_size: int) -> list[ProcessRecord | None]:
    """The record of every rank, None for a rank that has not started."""
    files = [folder / f"probe-{rank}.json" for rank in range(world_size)]
    return [_read(file) if file.exists() else None for file in files]


def _read(file: Path) -> ProcessRecord:
    content: dict[str, Any] = read_json(file)
    return ProcessRecord(**content | {"steps": [ProbeStep(**step) for step in content["steps"]]})


def start_step(name: str, limit: float) -> ProbeStep:
    return ProbeStep(name, time.time(), limit)


def named(records: Iterable[ProcessRecord], most: int = 8) -> str:
    """`ranks 0, 1 on nid001; rank 8 on nid002`, shortened to a readable length."""
    hosts: dict[str, list[str]] = {}
    for record in records:
        hosts.setdefault(record.host, []).append(str(record.rank))
    parts = [
        f"rank{'s' * (len(ranks) > 1)} {', '.join(ranks[:most])}{' …' * (len(ranks) > most)} on {host}"
        for host, ranks in hosts.items()
    ]
    return "; ".join(parts[:most]) + (f"; and {len(parts) - most} nodes more" if len(parts) > most else "")


HUNG = 86
"""Exit code of a process with a step that hung."""
REPORT_SECONDS = 10.0
"""Time limit for writing the record of a hang: the file system itself may hang."""
_FRAMES = 5


class Watchdog:
    """Writes the record of one process and enforces the time limits of its steps."""

    def __init__(self, record: ProcessRecord, folder: Path) -> None:
        self.record, self.folder, self._watched = record, folder, threading.get_ident()

    @contextmanager
    def step(self, name: str, limit: float) -> Iterator[dict[str, Any]]:
        """One step, written to disk when it starts and ends; it stores its measurements in the yielded dictionary."""
        step = start_step(name, limit)
        self.record.steps.append(step)
        timer = threading.Timer(limit, self._hang, [step])
        timer.daemon = True
        timer.start()
        faulthandler.dump_traceback_later(limit + 2 * REPORT_SECONDS, exit=True)
        clock = time.perf_counter()
        try:
            self.record.write(self.folder)
            yield step.values
            step.state = "ok"
        except BaseException as error:
            step.state, step.error, self.record.ended = "failed", error_line(error), True
            raise
        finally:
            step.seconds = round(time.perf_counter() - clock, 3)
            self.record.write(self.folder)  # watched too
            timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def end(self) -> None:
        self.record.ended = True
        self.record.write(self.folder)

    def _hang(self, step: ProbeStep) -> None:
        step.state, step.seconds, self.record.ended = "hung", step.limit, True
        frame = sys._current_frames().get(self._watched)
        stack = traceback.extract_stack(frame)[-_FRAMES:] if frame else []
        step.where = " < ".join(f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in reversed(stack))
        report = threading.Thread(target=self._report, args=(step,), daemon=True)
        report.start()
        report.join(REPORT_SECONDS)
        os._exit(HUNG)  # any other way to exit would wait for the hanging call

    def _report(self, step: ProbeStep) -> None:
        self.record.write(self.folder)
        who = f"rank {self.record.rank} on {self.record.host}"
        print(f"{who} hung in '{step.name}', limit {step.limit:,.0f} s:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)

"""Steps with a time limit each: one that exceeds it is written down as hung, with its stack, and ends the process.

A thread of Python's watches. It cannot where a library holds the interpreter's lock while it hangs; there a thread of
`faulthandler`, which needs no lock, ends the process a little later, and the record still says which step was running.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpt.doctor.findings import in_a_line
from cpt.doctor.probe_records import Record, Step, begun

HUNG = 86
"""Exit code of a process that a step hung in."""
SAYING_SECONDS = 10.0
"""How long writing that down may take: the file system may be what hangs."""
_FRAMES = 5


class Watchdog:
    """Keeps the record of one process."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record, self.folder, self._watched = record, folder, threading.get_ident()

    @contextmanager
    def step(self, name: str, limit: float) -> Iterator[dict[str, Any]]:
        """One step, on disk when it begins and when it ends; what it measures goes into the dictionary it is given."""
        step = begun(name, limit)
        self.record.steps.append(step)
        timer = threading.Timer(limit, self._hang, [step])
        timer.daemon = True
        timer.start()
        faulthandler.dump_traceback_later(limit + 2 * SAYING_SECONDS, exit=True)
        clock = time.perf_counter()
        try:
            self.record.write(self.folder)
            yield step.values
            step.state = "ok"
        except BaseException as error:
            step.state, step.error, self.record.ended = "failed", in_a_line(error), True
            raise
        finally:
            step.seconds = round(time.perf_counter() - clock, 3)
            self.record.write(self.folder)  # watched too
            timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def end(self) -> None:
        self.record.ended = True
        self.record.write(self.folder)

    def _hang(self, step: Step) -> None:
        step.state, step.seconds, self.record.ended = "hung", step.limit, True
        frame = sys._current_frames().get(self._watched)
        stack = traceback.extract_stack(frame)[-_FRAMES:] if frame else []
        step.where = " < ".join(f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in reversed(stack))
        saying = threading.Thread(target=self._say, args=(step,), daemon=True)
        saying.start()
        saying.join(SAYING_SECONDS)
        os._exit(HUNG)  # whatever hangs would hold up any other end

    def _say(self, step: Step) -> None:
        self.record.write(self.folder)
        who = f"rank {self.record.rank} on {self.record.host}"
        print(f"{who} hung in '{step.name}', which may take {step.limit:,.0f} s:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)

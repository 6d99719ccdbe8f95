"""The training log `metrics.jsonl`, one line per step, and the detection of loss spikes."""

from __future__ import annotations

import json
import logging
import statistics
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpt.files import read_lines, write_lines
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.speed import Speedometer

log = logging.getLogger(__name__)

RECENT = 100
"""Number of previous steps that a loss is compared with."""
SPIKE_DEVIATIONS, SPIKE_SHARE = 6.0, 0.05


def is_spike(loss: float, recent: Sequence[float]) -> bool:
    """Whether a loss is 6 standard deviations, and 5 %, above the mean of the 20 or more steps before it."""
    if len(recent) < 20:
        return False
    mean = statistics.fmean(recent)
    return loss > mean + max(SPIKE_DEVIATIONS * statistics.pstdev(recent), SPIKE_SHARE * abs(mean))


class MetricsLog(Hook):
    """Writes and flushes one line per step; steps trained again after a kill appear once."""

    def __init__(self, path: Path, speed: Speedometer | None = None) -> None:
        self.path, self.speed = path, speed

    def on_start(self, session: Session) -> None:
        records = [record for record in read_lines(self.path) if record["step"] <= session.step]
        write_lines(self.path, records)
        self._recent = deque((record["loss"] for record in records[-RECENT:]), RECENT)
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        if session.step == session.steps:
            self._file.close()

    def after_step(self, record: StepRecord) -> None:
        rate = record.tokens / record.seconds
        line: dict[str, Any] = {
            "step": record.step,
            "loss": record.loss,
            "lr": record.lr,
            "gradient_norm": record.gradient_norm,
            "tokens": record.step * record.tokens,
            "tokens_per_second": round(rate, 1),
            "seconds": round(record.seconds, 4),
            "waited": round(record.waited, 4),
            "sources": {source: round(loss, 5) for source, loss in record.source_losses.items()},
        }
        if self.speed:
            line |= self.speed.reading(rate)
        if is_spike(record.loss, self._recent):
            line["spike"] = True
            worst = max(record.source_losses, key=lambda source: record.source_losses[source], default="unknown")
            log.warning("loss spike at step %d: %.4f; highest from %s", record.step, record.loss, worst)
        self._recent.append(record.loss)
        self._file.write(json.dumps(line) + "\n")
        if record.step == record.steps:
            self._file.close()


def total_seconds(path: Path) -> float:
    """Seconds of the steps that made the model, over all launches; steps lost to a kill do not count."""
    return float(sum(record["seconds"] for record in read_lines(path)))

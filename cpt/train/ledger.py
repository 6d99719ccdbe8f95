"""The ledger: what a run really consumed. It is what makes two runs comparable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpt.files import read_lines, write_lines
from cpt.tokens.mix import Mix
from cpt.train.hooks import StepRecord


def training_flops(parameters: int, tokens: int) -> float:
    """6 floating-point operations per parameter and token: forward and backward, attention's own not counted."""
    return 6.0 * parameters * tokens


def ledger(mix: Mix, *, steps: int, global_batch: int, parameters: int, seconds: float, seed: int) -> dict[str, Any]:
    """Tokens and words by source and language, epochs, operations and time of a finished training."""
    sources = [
        {"source": source, "language": language, **amounts}
        for (source, language), amounts in mix.seen(steps * global_batch).items()
    ]
    seen = steps * global_batch * mix.length
    return {
        "steps": steps,
        "epochs": seen / mix.epoch_tokens,
        "tokens_seen": seen,
        "tokens_unique": min(seen, mix.epoch_tokens),
        "flops": training_flops(parameters, seen),
        "trainable_parameters": parameters,
        "seconds": round(seconds, 3),
        "seed": seed,
        "sources": sources,
    }


class MetricsLog:
    """Writes `metrics.jsonl`, a flushed line for every step; steps that are trained again after a kill appear once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, step: int, steps: int) -> None:
        kept = [record for record in read_lines(self.path) if record["step"] <= step]
        write_lines(self.path, kept)
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def after_step(self, record: StepRecord) -> None:
        line = {
            "step": record.step,
            "loss": record.loss,
            "lr": record.lr,
            "gradient_norm": record.gradient_norm,
            "tokens": record.step * record.tokens,
            "tokens_per_second": round(record.tokens / record.seconds, 1),
            "seconds": round(record.seconds, 4),
        }
        self._file.write(json.dumps(line) + "\n")
        if record.step == record.steps:
            self._file.close()


def total_seconds(path: Path) -> float:
    """Seconds of the steps that made the model, whichever process trained them; not of steps lost to a kill."""
    return float(sum(record["seconds"] for record in read_lines(path)))

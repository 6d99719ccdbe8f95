"""The ledger: the tokens, words, operations and time that a run consumed, so that runs can be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpt.files import write_json
from cpt.tokens.sequences import Sequences
from cpt.train.hooks import Hook, Session, StepRecord


def training_flops(parameters: int, tokens: int) -> float:
    """6 floating-point operations per parameter and token (forward and backward), without those of attention."""
    return 6.0 * parameters * tokens


def ledger(
    mix: Sequences, *, steps: int, global_batch: int, parameters: int, seconds: float, seed: int
) -> dict[str, Any]:
    """Tokens and words by source and language, epochs, operations and time of a finished training."""
    amounts = mix.seen(steps * global_batch)
    sources = [{"source": source, "language": language, **amount} for (source, language), amount in amounts.items()]
    seen = steps * global_batch * mix.length
    return {
        "steps": steps,
        "epochs": seen / mix.epoch_tokens,
        "tokens_seen": seen,
        "tokens_unique": sum(amount["tokens_unique"] for amount in amounts.values()),
        "packing": mix.losses(),
        "flops": training_flops(parameters, seen),
        "trainable_parameters": parameters,
        "seconds": round(seconds, 3),
        "seed": seed,
        "sources": sources,
    }


class LedgerWriter(Hook):
    """Writes `ledger.json` after the last step: `consumed` and the facts of the hardware."""

    def __init__(self, path: Path, consumed: Callable[[Session], dict[str, Any]], hardware: dict[str, Any]) -> None:
        self.path, self.consumed, self.hardware = path, consumed, hardware

    def on_start(self, session: Session) -> None:
        self.session = session
        if session.step == session.steps:  # killed between the last step and the marker
            self._write()

    def after_step(self, record: StepRecord) -> None:
        if record.step == record.steps:
            self._write()

    def _write(self) -> None:
        write_json(self.path, {**self.consumed(self.session), **self.hardware})

"""What every measured process does alike: read its task, note when each step ends, say what it was.

It runs in the peers' own environments too, so it needs torch and nothing of ours.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "datasets", "numpy", "llamafactory")


def read_task() -> dict[str, Any]:
    """The task file this process was started with; threads are set as it says."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    return task


class Clock:
    """The times at which steps ended: what lies between two of them is a step with everything around it."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task, self.ends = task, list[float]()

    def tick(self) -> None:
        if self.task["device"] == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each step after the warm-up: gap i lies before step i + 2."""
        gaps = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return gaps[self.task["warm"] - 1 :]

    def rate(self, length: int) -> float:
        """Tokens a second over all these steps together."""
        batch: int = self.task["batch"]
        return batch * length * len(self.seconds) / sum(self.seconds)

    def report(self, model: Any, optimizer: Any, length: int, **more: Any) -> None:
        """Write the measurement down; `length` is that of the sequences this side really trained on."""
        task, settings = self.task, optimizer.param_groups[0]
        facts = {
            "dtype": str(model.dtype),
            "attention": model.config._attn_implementation,
            "checkpointing": bool(getattr(model, "is_gradient_checkpointing", False)),
            "parameters": model.num_parameters(),
            "optimizer": type(optimizer).__name__,
            "optimizer_settings": {k: settings.get(k) for k in ("betas", "eps", "weight_decay", "fused", "foreach")},
            "threads": torch.get_num_threads(),
            "environment": {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "GLIBC_TUNABLES")},
            "python": sys.version.split()[0],
            "versions": {name: found for name in PACKAGES if (found := _version(name))},
        }
        result = {
            "steps": len(self.ends),
            "tokens": task["batch"] * length * len(self.ends),
            "measured_steps": len(self.seconds),
            "tokens_per_second": round(self.rate(length), 1),
            "step_seconds": [round(value, 4) for value in self.seconds],
            "memory": _peak_memory(task["device"]),
            "facts": facts,
            **more,
        }
        Path(task["output"]).write_text(json.dumps(result), encoding="utf-8")


def trainer_callback(clock: Clock, more: Callable[[Any, float], dict[str, Any]] = lambda model, rate: {}) -> Any:
    """A callback for transformers' Trainer, whichever version of it this environment has."""
    from transformers import TrainerCallback

    class Ticks(TrainerCallback):
        def on_step_end(self, *given: Any, **known: Any) -> None:
            clock.tick()

        def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            optimizer = getattr(known["optimizer"], "optimizer", known["optimizer"])  # accelerate wraps it
            loader = known["train_dataloader"]
            lengths = {len(row) for batch in loader for row in batch["input_ids"]}
            assert len(lengths) == 1, f"not packed full: sequences of {sorted(lengths)} tokens"
            assert args.train_batch_size == clock.task["batch"]
            assert args.gradient_accumulation_steps == 1
            length, model = lengths.pop(), known["model"]
            losses = {entry["step"]: entry["loss"] for entry in state.log_history if "loss" in entry}
            clock.report(model, optimizer, length, losses=losses, **more(model, clock.rate(length)))

    return Ticks()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _peak_memory(device: str) -> int:
    """The most bytes this process has held."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

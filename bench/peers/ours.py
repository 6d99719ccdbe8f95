"""Our side: the project's own loop with its feed, its engine for one process, and the hooks that a run has on.

Documents are packed and masked, the loss is exact, and every step is logged and told to `status.json`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from clock import Clock, read_task
from material import blueprint_of, mfu_line, shard_of

import cpt.train.loss
from cpt.study.state.run_status import Reporter
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion
from cpt.train.distributed import DistContext, best_device
from cpt.train.engines import make_engine
from cpt.train.engines.engine import Settings
from cpt.train.hooks import Hook, StepRecord
from cpt.train.loop import TrainingPlan, train
from cpt.train.metrics_log import MetricsLog
from cpt.train.schedules import LearningRate, Schedule


class Ticks(Hook):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.losses = clock, dict[int, float]()

    def after_step(self, record: StepRecord) -> None:
        self.losses[record.step] = record.loss
        self.clock.tick()


def main(task: dict[str, Any]) -> None:
    mix = MaskedPacking([Portion.all_of(shard_of(task))], task["length"], seed=0)
    rate = LearningRate(task["lr"], Schedule("constant", warmup=0.0, floor=0.0, steps=task["steps"]))
    settings = Settings(
        bf16=task["device"] == "cuda",
        global_batch=task["batch"],
        micro_batch=task["batch"],
        checkpointing=task["checkpointing"],
    )
    engine = make_engine("plain", blueprint_of(task), settings, DistContext(device=best_device(0)), [rate])
    if not task["chunked"]:
        cpt.train.loss.CHUNK_BYTES = 2**62  # all logits at once
        engine.head.liger = False
    ticks = Ticks(Clock(task))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hooks = [rate, MetricsLog(folder / "metrics.jsonl"), Reporter(folder, "bench", "bench"), ticks]
        train(engine, mix, TrainingPlan(task["steps"], task["batch"], task["steps"], None), hooks)
    targets = sum(mix.batch(step * task["batch"], task["batch"]).targets for step in range(task["steps"]))
    speed = ticks.clock.rate(mix.length)
    optimizer: Any = engine
    ticks.clock.report(
        engine.model,
        optimizer.optimizer,
        mix.length,
        losses=ticks.losses,
        targets=targets,
        loss="liger" if engine.head.liger else "chunked" if task["chunked"] else "all logits at once",
        **({"mfu": mfu_line(task, engine.model, speed)} if task["device"] == "cuda" else {}),
    )


if __name__ == "__main__":
    main(read_task())

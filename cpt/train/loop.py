"""The training loop. Everything that is not a step is a hook, a schedule, an engine or a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpt.errors import UserError
from cpt.tokens.mix import Mix
from cpt.train.checkpoint import load_checkpoint, save_checkpoint
from cpt.train.engines import Engine
from cpt.train.hooks import Hook, StepRecord
from cpt.train.schedules import Schedule


@dataclass(frozen=True)
class Plan:
    """What the loop is asked to do."""

    steps: int
    global_batch: int
    lr: float
    schedule: Schedule
    save_every: int
    checkpoint: Path | None
    fingerprint: str
    """Of the data and settings; a checkpoint of another fingerprint is refused."""


def train(engine: Engine, mix: Mix, plan: Plan, hooks: Sequence[Hook] = ()) -> None:
    """Train to `plan.steps`, going on from the checkpoint where there is one."""
    done = 0
    if plan.checkpoint and (found := load_checkpoint(plan.checkpoint, plan.fingerprint)):
        done, state = found
        engine.load(state)
    for hook in hooks:
        hook.on_start(done, plan.steps)
    for step in range(done, plan.steps):
        begin = time.perf_counter()
        lr = plan.lr * plan.schedule.factor(step)
        batch = mix.batch(step * plan.global_batch, plan.global_batch)
        loss, norm = engine.step(batch, lr)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            advice = f"lower train.lr (now {plan.lr}) or look at the data"
            raise UserError(f"the loss of step {step + 1} is {loss}, its gradient norm {norm}; {advice}")
        seconds = time.perf_counter() - begin
        record = StepRecord(step + 1, plan.steps, loss, lr, norm, batch.inputs.size, seconds)
        for hook in hooks:
            hook.after_step(record)
        if plan.checkpoint and (step + 1) % plan.save_every == 0 and step + 1 < plan.steps:
            save_checkpoint(plan.checkpoint, engine.state(), step + 1, plan.fingerprint)

"""The training loop. Everything that is not a step is a hook, an engine or a checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cpt.errors import UserError
from cpt.tokens.sequences import Sequences
from cpt.train.checkpoint import Checkpoints
from cpt.train.engines.base import Engine, StepResult
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.prefetch import Feed
from cpt.train.signals import StoppedError, StopSignals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What the loop is asked to do."""

    steps: int
    global_batch: int
    save_every: int
    checkpoints: Checkpoints | None


def train(engine: Engine, mix: Sequences, plan: Plan, hooks: Sequence[Hook] = ()) -> None:
    """Train to `plan.steps`, going on from the newest checkpoint where there is one."""
    done = plan.checkpoints.resume(engine) if plan.checkpoints else 0
    for hook in hooks:
        hook.on_start(Session(engine, done, plan.steps))
    share = engine.share(plan.global_batch)
    with StopSignals() as signals, Feed(mix, plan.global_batch, share, done, plan.steps) as feed:
        for step in range(done, plan.steps):
            begin = time.perf_counter()
            batch = feed.next()
            waited = time.perf_counter() - begin
            for hook in hooks:
                hook.before_step(step)
            result = engine.step(batch, len(mix.shards))
            _refuse_infinite(result, step, mix, plan)
            record = StepRecord(
                step=step + 1,
                steps=plan.steps,
                loss=result.loss,
                lr=engine.lr,
                gradient_norm=result.gradient_norm,
                tokens=plan.global_batch * mix.length,
                seconds=time.perf_counter() - begin,
                waited=waited,
                source_losses={mix.shards[index].source: loss for index, loss in result.source_losses.items()},
            )
            for hook in hooks:
                hook.after_step(record)
            last = step + 1 == plan.steps
            stop = engine.place.any(signals.asked)
            # The last step too: writing the final model may be killed, or find the disk full.
            if plan.checkpoints and (stop or last or (step + 1) % plan.save_every == 0):
                plan.checkpoints.save(engine, step + 1)
            if stop and not last:
                raise StoppedError(step + 1, plan.steps, signals.by)


def _refuse_infinite(result: StepResult, step: int, mix: Sequences, plan: Plan) -> None:
    """Stop at a loss or gradient that is no number, with the documents that were read named."""
    if math.isfinite(result.loss) and math.isfinite(result.gradient_norm):
        return
    names = mix.names(step * plan.global_batch, plan.global_batch)
    sick = {mix.shards[index].source for index, loss in result.source_losses.items() if not math.isfinite(loss)}
    suspects = [(source, number) for source, number in names if source in sick or not sick]
    told = [f"{source} document {number}" for source, number in suspects]
    log.error("documents of step %d: %s", step + 1, ", ".join(told))
    more = f" and {len(told) - 5} more, all named in the log" if len(told) > 5 else ""
    raise UserError(
        f"the loss of step {step + 1} is {result.loss}, its gradient norm {result.gradient_norm}; "
        f"it read {', '.join(told[:5])}{more}. Lower train.lr or look at these documents"
    )

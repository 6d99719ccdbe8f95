"""The training loop. Everything that is not a step is a hook, an engine or a checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from cpt.errors import UserError
from cpt.tokens.batch import Batch
from cpt.tokens.sequences import Sequences
from cpt.train.checkpoint import Checkpoints
from cpt.train.engines.engine import Engine, StepResult
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.signals import StoppedError, StopSignals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    steps: int
    global_batch: int
    save_every: int
    checkpoints: Checkpoints | None


def train(engine: Engine, mix: Sequences, plan: TrainingPlan, hooks: Sequence[Hook] = ()) -> None:
    """Train to `plan.steps`, resuming from the newest checkpoint if there is one."""
    done = plan.checkpoints.resume(engine) if plan.checkpoints else 0
    for hook in hooks:
        hook.on_start(Session(engine, done, plan.steps))
    with StopSignals() as signals, Prefetcher(engine, mix, plan, done) as batches:
        for step in range(done, plan.steps):
            begin = time.perf_counter()
            batch = batches.next()
            waited = time.perf_counter() - begin
            for hook in hooks:
                hook.before_step(step)
            result = engine.step(batch, len(mix.shards))
            _check_finite(result, step, mix, plan)
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
            stop = engine.dist.any(signals.received)
            # After the last step too: writing the final model may be killed, or fill the disk.
            if plan.checkpoints and (stop or last or (step + 1) % plan.save_every == 0):
                plan.checkpoints.save(engine, step + 1)
            if stop and not last:
                raise StoppedError(step + 1, plan.steps, signals.by)


def _check_finite(result: StepResult, step: int, mix: Sequences, plan: TrainingPlan) -> None:
    """Stop at a loss or gradient that is not finite, naming the documents of the step."""
    if math.isfinite(result.loss) and math.isfinite(result.gradient_norm):
        return
    names = mix.names(step * plan.global_batch, plan.global_batch)
    bad = {mix.shards[index].source for index, loss in result.source_losses.items() if not math.isfinite(loss)}
    documents = [f"{source} document {number}" for source, number in names if source in bad or not bad]
    log.error("documents of step %d: %s", step + 1, ", ".join(documents))
    more = f" and {len(documents) - 5} more, all named in the log" if len(documents) > 5 else ""
    raise UserError(
        f"the loss of step {step + 1} is {result.loss}, its gradient norm {result.gradient_norm}; "
        f"it read {', '.join(documents[:5])}{more}. Lower train.lr or look at these documents"
    )


class Prefetcher:
    """Prepares this rank's part of the next global batch in a thread while the current step is computed."""

    def __init__(self, engine: Engine, mix: Sequences, plan: TrainingPlan, first: int) -> None:
        self.mix, self.plan = mix, plan
        self.begin, self.end = engine.share(plan.global_batch)
        self._step = first
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._next = self._submit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def next(self) -> Batch:
        assert self._next is not None, "no step is left"
        batch = self._next.result()
        self._step += 1
        self._next = self._submit()
        return batch

    def _submit(self) -> Future[Batch] | None:
        if self._step >= self.plan.steps:
            return None
        start = self._step * self.plan.global_batch + self.begin
        return self._thread.submit(self.mix.batch, start, self.end - self.begin)

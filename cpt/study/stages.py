"""The three stages of a run, prepare, train and evaluate: each goes on where it was, and is done when its marker is."""

from __future__ import annotations

import gc
import logging
from contextlib import AbstractContextManager

import torch

from cpt.evals.scorer import Scorer
from cpt.evals.suite import evaluate
from cpt.files import write_lines
from cpt.models.base import BaseModel, hub_off, load_model
from cpt.results.tracking import Tracker
from cpt.study.prepare import prepare_runs
from cpt.study.run import Run
from cpt.study.status import Reporter
from cpt.study.training import checkpoints_of, train_run
from cpt.tokens.prepare import Preparation
from cpt.tokens.sequences import Sequences
from cpt.train.place import Place
from cpt.train.standin import ensure_stand_in

log = logging.getLogger(__name__)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def prepare_model(run: Run, reporter: Reporter) -> None:
    """A toy base model is made by the first run that needs it; a real one is there already."""
    if run.model.toy:
        ensure_stand_in(run.model, run.cache, [reporter])


def prepare(run: Run) -> Sequences:
    """Every shard of the run on disk, which a launch has made for all its runs, and the sequences over them."""
    return prepare_runs([run], Preparation(run.cache))[0]


def evaluate_run(run: Run, reporter: Reporter, mirror: Tracker) -> None:
    """Score every unit of the run's benchmarks and leave `results.jsonl` and the marker behind."""
    run.world.benchmarks()
    _, missing = run.suite.units(run.languages)
    for unit in missing:
        log.warning("skipped %s %s: no file in %s", unit.task, unit.language, run.suite.folders[unit.task])

    def scorer() -> Scorer:
        on = device()
        # On a CPU the weights are read at full precision: bf16 arithmetic is slow on most, and differs among them.
        dtype = torch.float32 if on == "cpu" else "auto"
        if run.base:
            return Scorer(run.model.model(dtype), run.model.tokenizer(), on)
        model = BaseModel(str(run.folder / "model"), "", run.world)
        return Scorer(load_model(str(run.folder / "model"), dtype), model.tokenizer(), on)

    evaluate(run.suite, run.languages, scorer, run.folder / "evals.jsonl", reporter.progress)
    rows = run.rows()
    write_lines(run.folder / "results.jsonl", [row.record() for row in rows])
    mirror.log_rows(rows)
    run.finish("evaluate", rows=len(rows), skipped=[f"{unit.task} {unit.language}" for unit in missing])


def carry_out(run: Run, reporter: Reporter, mirror: Tracker, place: AbstractContextManager[Place]) -> None:
    """All stages of a run that are not done yet, as its first process."""
    reporter.stage("prepare")
    prepare_model(run, reporter)
    if not run.base and not run.done("train"):
        mix = prepare(run)
        hub_off()
        reporter.stage("train", mix.steps(run.config.train.epochs, run.config.train.global_batch))
        with place as first:
            train_run(run, mix, first, [reporter, mirror])
        gc.collect()  # the engine and its hooks know each other; their memory is needed now
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    elif not run.base:
        checkpoints_of(run).finish()  # of a run that was killed before it had tidied up
    run.model.fetch()
    hub_off()
    reporter.stage("evaluate")
    evaluate_run(run, reporter, mirror)


def assist(run: Run, place: AbstractContextManager[Place]) -> None:
    """What the run's other processes do: train along, once the first has everything prepared."""
    if run.base or run.done("train"):
        return
    with place as mine:
        mix = prepare(run)
        hub_off()
        train_run(run, mix, mine, [])

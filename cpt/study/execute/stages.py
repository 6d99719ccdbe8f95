"""The stages of a run: prepare, train and evaluate. Each resumes where it stopped and writes a marker at its end."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from cpt.corpora.document import CODE
from cpt.errors import UserError
from cpt.evals.rows import Row
from cpt.evals.scorers.torch_scorer import Backend, Scorer
from cpt.evals.suite import Evaluation, known_scores
from cpt.files import write_lines
from cpt.hub import go_offline
from cpt.results.tracking.mirror import Tracker
from cpt.study.data.prepare_run import prepare_runs
from cpt.study.execute.process_rank import ProcessRank
from cpt.study.execute.train_run import checkpoints_of, device_name, train_run
from cpt.study.state.run import BASE, Run
from cpt.study.state.run_files import EVALUATE, TRAIN
from cpt.study.state.run_status import Reporter, read_status
from cpt.tokens.prepare_shards import Preparation
from cpt.tokens.sequences import Sequences
from cpt.train.distributed import DistContext, best_device
from cpt.train.pretrain_standin import ensure_stand_in

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.1


def prepare_model(run: Run, reporter: Reporter) -> None:
    """Make the run's toy base model if it is missing; a real base model exists already."""
    if run.model.toy:
        ensure_stand_in(run.model, run.cache, [reporter])


def prepare(run: Run) -> Sequences:
    """The sequences of a run over its shards, which a launch has prepared for all its runs."""
    return prepare_runs([run], Preparation(run.cache))[0]


def evaluate_run(run: Run, reporter: Reporter, mirror: Tracker, process: ProcessRank) -> None:
    """Score every unit of the run's benchmarks and write `results.jsonl` and the marker."""
    began, fresh = time.monotonic(), not (run.folder / "items").exists()
    run.world.benchmarks()
    _, missing = run.suite.units(run.languages)
    for unit in missing:
        log.warning("skipped %s %s: no file in %s", unit.task, unit.language, run.suite.folders[unit.task])
    evaluation(run, process, reporter.progress).run()
    rows = result_rows(run)
    write_lines(run.files.results, [row.record() for row in rows])
    mirror.scored()
    run.state.finish(
        "evaluate",
        rows=len(rows),
        sha256=run.files.results_sha256(),
        skipped=[f"{unit.task} {unit.language}" for unit in missing],
        asked=run.prompt_keys(),
        backend=run.config.hardware.backend,
        device=device_name(best_device(process.local_rank)),
        commit=run.evaluated_model.commit,
        processes=process.world_size,
        # The total time of a resumed evaluation is not known.
        seconds=round(time.monotonic() - began, 1) if fresh else None,
    )


def result_rows(run: Run) -> list[Row]:
    """Result rows from the saved scores, one set for each language category."""
    units, _ = run.suite.units(run.languages)
    scores = known_scores(run.files.scores)
    keys = {unit: run.suite.key(unit) for unit in units}
    return [
        Row(
            run=run.name,
            run_id=run.run_id,
            model=run.config.model.name,
            data=BASE if run.base else run.config.data_mix.name,
            code=run.config.code and not run.base,
            langcat=category,
            seed=None if run.base else run.config.seed,
            language=unit.language,
            role=CODE if unit.language == CODE else roles[unit.language],
            task=unit.task,
            direction=unit.direction,
            protocol=unit.protocol,
            metric=score.metric,
            value=score.value,
            n=score.n,
            ci_low=score.ci_low,
            ci_high=score.ci_high,
            signature=score.signature,
        )
        for category, roles in run.roles.items()
        for unit in units
        if unit.language in roles or unit.language == CODE
        for score in scores[keys[unit]]
    ]


def evaluation(
    run: Run, process: ProcessRank, progress: Callable[[int, int], None] = lambda done, of: None
) -> Evaluation:
    """One process's share of the run's evaluation; the model is loaded when it is first needed."""
    model = run.evaluated_model

    def scorer() -> Backend:
        if run.config.hardware.backend == "vllm":
            from cpt.evals.scorers.vllm_scorer import VllmScorer

            return VllmScorer(model.path, model.tokenizer(), revision=model.revision or None, dtype="auto")
        on = best_device(process.local_rank)
        # On a CPU weights are read in float32: bf16 arithmetic is slow on most CPUs and differs among them.
        dtype = torch.float32 if on.type == "cpu" else "auto"
        return Scorer(model.model(dtype), model.tokenizer(), str(on))

    return Evaluation(run.suite, run.languages, scorer, run.folder, process.rank, process.world_size, progress)


def execute_stages(
    run: Run,
    reporter: Reporter,
    mirror: Tracker,
    dist: AbstractContextManager[DistContext],
    process: ProcessRank,
    stages: Sequence[str] = (TRAIN, EVALUATE),
) -> None:
    """Execute the unfinished stages of a run as its first process."""
    reporter.stage("prepare")
    if run.config.checkpoint is None:
        prepare_model(run, reporter)
    if run.trains and not run.state.done("train"):
        if TRAIN not in stages:
            raise UserError(f"{run.folder}: its training is not finished; launch again to train it")
        mix = prepare(run)
        go_offline()
        reporter.stage("train", mix.steps(run.config.train.epochs, run.config.train.global_batch))
        with dist as first:
            train_run(run, mix, first, [reporter, mirror])
        gc.collect()  # the engine and its hooks refer to each other; their memory is needed now
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    elif run.trains:
        checkpoints_of(run).finish()  # a run may be killed before it removes its checkpoints
    if EVALUATE not in stages:
        return
    run.evaluated_model.fetch()
    go_offline()
    reporter.stage("evaluate")
    evaluate_run(run, reporter, mirror, process)


def wait_for_evaluation(folder: Path, attempt: str) -> bool:
    """Wait until the first process of this attempt evaluates; false if it has ended already."""
    while True:  # the launcher ends this process when the first one dies
        status = read_status(folder)
        if status and status.attempt == attempt and (status.stage == "evaluate" or status.state != "running"):
            return status.state == "running"
        time.sleep(WAIT_SECONDS)


def assist(
    run: Run, dist: AbstractContextManager[DistContext], process: ProcessRank, stages: Sequence[str] = (TRAIN, EVALUATE)
) -> None:
    """Train and evaluate as one of the run's other processes, after the first has prepared everything."""
    if TRAIN in stages and run.trains and not run.state.done("train"):
        with dist as mine:
            mix = prepare(run)
            go_offline()
            train_run(run, mix, mine, [])
        gc.collect()
    if EVALUATE not in stages or not wait_for_evaluation(run.folder, process.attempt):
        return
    go_offline()
    evaluation(run, process).run()

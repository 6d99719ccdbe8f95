"""The three stages of a run, prepare, train and evaluate: each goes on where it was, and is done when its marker is."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from cpt.config import StudyConfig
from cpt.errors import config_error
from cpt.evals.rows import Row
from cpt.evals.scorer import Scorer
from cpt.evals.suite import evaluate
from cpt.files import file_hash, replacing_folder, write_json, write_lines, write_text
from cpt.models.base import BaseModel, load_model
from cpt.study.run import Run
from cpt.study.status import Reporter
from cpt.tokens.mix import Mix
from cpt.tokens.shards import TOKENS, WORDS, Shard, make_shard
from cpt.train.card import model_card
from cpt.train.engines.plain import PlainEngine
from cpt.train.hooks import Hook
from cpt.train.ledger import MetricsLog, ledger, total_seconds
from cpt.train.loop import Plan, train
from cpt.train.schedules import Schedule
from cpt.train.standin import ensure_stand_in

log = logging.getLogger(__name__)


class Mirror(Hook, Protocol):
    """Where curves and scores are shown besides the disk."""

    def log_rows(self, rows: list[Row]) -> None: ...


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """Where a run trained: recorded, never part of what it is."""
    return torch.cuda.get_device_name() if device() == "cuda" else f"cpu ({platform.machine()})"


def prepare_model(run: Run, reporter: Reporter) -> None:
    """A toy base model is made by the first run that needs it; a real one is there already."""
    if run.model.toy:
        ensure_stand_in(run.model, Path(run.config.paths.cache) / "shards", [reporter])


def prepare(run: Run) -> Mix:
    """Every shard of the run on disk, and the mix over them."""
    tokenizer = run.model.tokenizer()
    shards: list[Shard] = []
    for item in run.recipe:
        counter = item.counter.tokenizer() if item.counter else None
        shards.append(make_shard(run.shard_folder(item), item.source, item.budget, tokenizer, counter))
        log.info("%s: %s tokens", item.source.name, f"{sum(shards[-1].total(TOKENS).values()):,}")
    mix = Mix(shards, run.config.train.sequence_length, run.config.seed)
    if not run.done("prepare"):
        amounts = {s.source: {"words": s.total(WORDS), "tokens": s.total(TOKENS)} for s in shards}
        run.finish("prepare", epoch_tokens=mix.epoch_tokens, sources=amounts)
    return mix


def train_run(run: Run, mix: Mix, reporter: Reporter, hooks: Sequence[Hook]) -> None:
    """Train to the end and leave `model/`, `ledger.json` and the marker behind."""
    config, settings = run.config, run.config.train
    torch.manual_seed(config.seed)
    model = run.model.model(torch.float32)
    if (found := max(shard.vocabulary for shard in mix.shards)) > model.config.vocab_size:
        reason = (
            f"its tokenizer has {found:,} tokens, its weights {model.config.vocab_size:,}; they do not belong together"
        )
        raise config_error("model.path", config.model.path, reason)
    engine = PlainEngine(
        model,
        device=device(),
        bf16=settings.precision == "bf16",
        micro_batch=config.hardware.micro_batch,
        weight_decay=settings.weight_decay,
        betas=(settings.beta1, settings.beta2),
        clip=settings.clip,
    )
    steps = mix.steps(settings.epochs, settings.global_batch)
    checkpoint = run.folder / "checkpoint.safetensors"
    plan = Plan(
        steps=steps,
        global_batch=settings.global_batch,
        lr=settings.lr,
        schedule=schedule_of(config, mix),
        save_every=settings.save_every,
        checkpoint=checkpoint,
        fingerprint=run.train_key,
    )
    metrics = run.folder / "metrics.jsonl"
    train(engine, mix, plan, [MetricsLog(metrics), reporter, *hooks])
    consumed = ledger(
        mix,
        steps=steps,
        global_batch=settings.global_batch,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=total_seconds(metrics),
        seed=config.seed,
    )
    write_json(run.folder / "ledger.json", {**consumed, "engine": config.hardware.engine, "device": device_name()})
    with replacing_folder(run.folder / "model") as folder:
        engine.model.to("cpu", torch.bfloat16).save_pretrained(folder)
        run.model.tokenizer().save_pretrained(folder)
        write_text(folder / "README.md", model_card(config, run.name, run.run_id, consumed))
    digests = {path.name: file_hash(path) for path in sorted((run.folder / "model").glob("*.safetensors"))}
    run.finish("train", steps=steps, weights=digests)
    checkpoint.unlink(missing_ok=True)


def schedule_of(config: StudyConfig, mix: Mix) -> Schedule:
    """The learning rate's course; its length in epochs may exceed the training's."""
    epochs = config.schedule.epochs or config.train.epochs
    steps = mix.steps(epochs, config.train.global_batch)
    return Schedule(config.schedule.kind, config.schedule.warmup, config.schedule.floor, steps)


def evaluate_run(run: Run, reporter: Reporter, mirror: Mirror) -> None:
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


def carry_out(run: Run, reporter: Reporter, mirror: Mirror) -> None:
    """All stages of a run that are not done yet."""
    reporter.stage("prepare")
    prepare_model(run, reporter)
    if not run.base and not run.done("train"):
        mix = prepare(run)
        reporter.stage("train", mix.steps(run.config.train.epochs, run.config.train.global_batch))
        train_run(run, mix, reporter, [mirror])
    reporter.stage("evaluate")
    evaluate_run(run, reporter, mirror)

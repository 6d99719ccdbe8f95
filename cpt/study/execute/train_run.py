"""The training stage of a run: its engine, the hooks around its steps, and what it leaves behind."""

from __future__ import annotations

import logging
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from cpt.config import StudyConfig
from cpt.corpora.document import CODE
from cpt.corpora.source import json_lines
from cpt.errors import UserError, config_error
from cpt.evals.curve import HeldOutCurve, beginning
from cpt.files import file_hash, write_text
from cpt.models.weights import Blueprint
from cpt.study.state.run import Run
from cpt.tokens.sequences import Sequences
from cpt.train.checkpoint import Checkpoints
from cpt.train.distributed import DistContext
from cpt.train.engines import make_engine
from cpt.train.engines.engine import Engine, Settings
from cpt.train.final_model import model_card, write_model
from cpt.train.hooks import Hook, Session
from cpt.train.ledger import LedgerWriter, ledger
from cpt.train.loop import TrainingPlan, train
from cpt.train.metrics_log import MetricsLog, total_seconds
from cpt.train.schedules import LearningRate, Schedule, make_schedule
from cpt.train.speed import (
    Speedometer,
    count_matmul_parameters,
    describe_mfu,
    flops_per_token,
    full_numel,
    peak_flops,
    peak_memory,
)

log = logging.getLogger(__name__)


def train_run(run: Run, mix: Sequences, dist: DistContext, reporting: Sequence[Hook]) -> None:
    """Train to the end and leave `model/`, `ledger.json` and the marker behind. All processes of a run call this
    together; `reporting` is what the first one tells others."""
    config, settings = run.config, run.config.train
    torch.manual_seed(config.seed)
    blueprint = run.model.blueprint(config.seed)
    _refuse_foreign_tokens(config, mix, blueprint)
    steps = mix.steps(settings.epochs, settings.global_batch)
    everywhere = [LearningRate(settings.lr, schedule_of(config, mix)), _curve(run, blueprint)]
    engine = make_engine(config.hardware.engine, blueprint, engine_settings(config), dist, everywhere)
    log.info("weights read; this process has held %.2f GB at most", peak_memory(torch.device("cpu")) / 1e9)
    checkpoints = checkpoints_of(run)
    plan = TrainingPlan(steps, settings.global_batch, settings.save_every, checkpoints)
    first = [*_bookkeeping(run, mix, engine), *reporting] if dist.is_main else []
    train(engine, mix, plan, [*everywhere, *first])
    partial = run.folder / ".model.part"
    if dist.is_main:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    dist.barrier()
    write_model(engine, partial)
    if dist.is_main:
        _finish(run, mix, steps, partial, engine)
        checkpoints.finish()


def checkpoints_of(run: Run) -> Checkpoints:
    settings = run.config.train
    return Checkpoints(run.folder / "checkpoints", run.train_key, settings.keep_last, settings.keep_every)


def engine_settings(config: StudyConfig) -> Settings:
    train, hardware = config.train, config.hardware
    return Settings(
        bf16=train.precision == "bf16",
        weight_decay=train.weight_decay,
        betas=(train.beta1, train.beta2),
        clip=train.clip,
        global_batch=train.global_batch,
        micro_batch=hardware.micro_batch,
        checkpointing=hardware.checkpointing,
        compile=hardware.compile,
        offload=hardware.offload,
        kernels=hardware.kernels,
    )


def schedule_of(config: StudyConfig, mix: Sequences) -> Schedule:
    """The learning rate's course; its length in epochs may exceed the training's."""
    epochs = config.schedule.epochs or config.train.epochs
    return make_schedule(config.schedule, mix.steps(epochs, config.train.global_batch))


def device_name(device: torch.device) -> str:
    """What a run trained on: recorded, never part of what it is."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def _refuse_foreign_tokens(config: StudyConfig, mix: Sequences, blueprint: Blueprint) -> None:
    found, known = max(shard.vocabulary for shard in mix.shards), blueprint.config.vocab_size
    if found > known:
        reason = f"its tokenizer has {found:,} tokens, its weights {known:,}; they do not belong together"
        raise config_error("model.path", config.model.path, reason)


def _curve(run: Run, blueprint: Blueprint) -> HeldOutCurve:
    """Held-out text of every evaluated language that has some, and of code."""
    settings = run.config.train.curve
    run.world.benchmarks()
    files = {code: run.heldout / f"{code}.jsonl" for code in (*run.languages, CODE)}
    texts = {
        code: beginning([text for (text,) in json_lines(path, "text")], settings.bytes)
        for code, path in files.items()
        if path.exists()
    }
    return HeldOutCurve(
        run.folder / "curve.jsonl",
        {code: found for code, found in texts.items() if found},
        run.model.tokenizer(),
        length=run.config.train.sequence_length,
        at=settings.at,
        every=settings.every,
        base=blueprint.weights,
        roles={CODE: CODE, **run.roles[run.config.lang_category.name]},
    )


def _bookkeeping(run: Run, mix: Sequences, engine: Engine) -> list[Hook]:
    """The log and the ledger."""
    config, device, processes = run.config, engine.dist.device, engine.dist.world_size
    shape, multiplied = engine.model.config, count_matmul_parameters(engine.model)
    heads = shape.num_attention_heads
    size = getattr(shape, "head_dim", None) or shape.hidden_size // heads
    flops = flops_per_token(multiplied, shape.num_hidden_layers, heads, size, mix.length)
    peak = peak_flops(device_name(device), config.train.precision)
    metrics = MetricsLog(run.folder / "metrics.jsonl", Speedometer(flops, peak, device, processes))
    parameters = sum(full_numel(p) for p in engine.parameters.values() if p.requires_grad)

    def consumed(session: Session) -> dict[str, Any]:
        facts = ledger(
            mix,
            steps=session.steps,
            global_batch=config.train.global_batch,
            parameters=parameters,
            seconds=total_seconds(metrics.path),
            seed=config.seed,
        )
        facts["mfu"] = describe_mfu(
            facts["tokens_seen"] / facts["seconds"] / processes,
            matmul_parameters=multiplied,
            layers=shape.num_hidden_layers,
            heads=heads,
            head_size=size,
            length=mix.length,
            device_name=device_name(device),
            precision=config.train.precision,
        )
        return facts

    where = {"engine": config.hardware.engine, "processes": processes, "device": device_name(device)}
    return [metrics, LedgerWriter(run.folder / "ledger.json", consumed, where)]


def _finish(run: Run, mix: Sequences, steps: int, partial: Path, engine: Engine) -> None:
    """Card and tokenizer beside the weights, all verified, then the folder's name and the marker."""
    run.model.tokenizer().save_pretrained(partial)
    write_text(partial / "README.md", model_card(run.config, run.name, run.run_id, run.files.read_ledger()))
    _verify(partial, set(engine.parameters))
    target = run.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    digests = {path.name: file_hash(path) for path in sorted(target.glob("*.safetensors"))}
    run.state.finish("train", steps=steps, weights=digests)


def _verify(folder: Path, names: set[str]) -> None:
    """Every weight is in the files, and is a number; only then may the checkpoints go."""
    found = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                found.add(name)
                if not file.get_tensor(name).isfinite().all():
                    raise UserError(f"{path}: {name} is not finite; the checkpoints stay where they are")
    if missing := names - found:
        raise UserError(f"{folder}: {sorted(missing)[0]} is missing after writing; the checkpoints stay where they are")

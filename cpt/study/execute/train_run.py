"""The training stage of a run: its engine, the hooks of its training loop, and its output files."""

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
    """Train to the end and write `model/`, `ledger.json` and the marker. All processes of a run call this together;
    `reporting` are hooks of the first one only."""
    config, settings = run.config, run.config.train
    torch.manual_seed(config.seed)
    blueprint = run.model.blueprint(config.seed)
    _check_vocabulary(config, mix, blueprint)
    steps = mix.steps(settings.epochs, settings.global_batch)
    shared_hooks = [LearningRate(settings.lr, schedule_of(config, mix)), _curve(run, blueprint)]
    engine = make_engine(config.hardware.engine, blueprint, engine_settings(config), dist, shared_hooks)
    log.info("weights read; peak memory of this process: %.2f GB", peak_memory(torch.device("cpu")) / 1e9)
    checkpoints = checkpoints_of(run)
    plan = TrainingPlan(steps, settings.global_batch, settings.save_every, checkpoints)
    first = [*_bookkeeping(run, mix, engine), *reporting] if dist.is_main else []
    train(engine, mix, plan, [*shared_hooks, *first])
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
    """The learning-rate schedule; it may be longer than the training."""
    epochs = config.schedule.epochs or config.train.epochs
    return make_schedule(config.schedule, mix.steps(epochs, config.train.global_batch))


def device_name(device: torch.device) -> str:
    """The device that a run trained on: recorded, but not part of its identity."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def _check_vocabulary(config: StudyConfig, mix: Sequences, blueprint: Blueprint) -> None:
    tokens, embeddings = max(shard.vocabulary for shard in mix.shards), blueprint.config.vocab_size
    if tokens > embeddings:
        reason = f"its tokenizer has {tokens:,} tokens, its weights {embeddings:,}; they do not belong together"
        raise config_error("model.path", config.model.path, reason)


def _curve(run: Run, blueprint: Blueprint) -> HeldOutCurve:
    """The curve on held-out text of code and of every evaluated language that has some."""
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
        {code: text for code, text in texts.items() if text},
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
    """Add card and tokenizer to the weights, verify them, rename the folder and write the marker."""
    run.model.tokenizer().save_pretrained(partial)
    write_text(partial / "README.md", model_card(run.config, run.name, run.run_id, run.files.read_ledger()))
    _verify(partial, set(engine.parameters))
    target = run.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    digests = {path.name: file_hash(path) for path in sorted(target.glob("*.safetensors"))}
    run.state.finish("train", steps=steps, weights=digests)


def _verify(folder: Path, names: set[str]) -> None:
    """Check that every weight is in the files and finite before the checkpoints are removed."""
    written = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                written.add(name)
                if not file.get_tensor(name).isfinite().all():
                    raise UserError(f"{path}: {name} is not finite; the checkpoints are kept")
    if missing := names - written:
        raise UserError(f"{folder}: {sorted(missing)[0]} is missing after writing; the checkpoints are kept")

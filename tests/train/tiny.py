"""A tiny model, a tiny mix and engines over them, for tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cpt.models.weights import Blueprint
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion
from cpt.tokens.shards import Shard
from cpt.train.checkpoint import Checkpoints
from cpt.train.distributed import DistContext
from cpt.train.engines import make_engine
from cpt.train.engines.engine import Engine, Settings
from cpt.train.hooks import Hook, StepRecord
from cpt.train.loop import TrainingPlan
from cpt.train.schedules import LearningRate, Schedule

VOCABULARY, BATCH = 64, 8


def tiny(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    return LlamaForCausalLM(LlamaConfig(**(shape | changes)))


def shard(lengths: list[int], source: str = "test", seed: int = 0) -> Shard:
    """Documents of so many tokens, of which each is a word of one byte."""
    tokens = np.random.default_rng(seed).integers(3, VOCABULARY, sum(lengths))
    amounts = np.repeat(np.asarray(lengths, dtype=np.uint32)[:, None, None], 3, axis=2)
    none = np.zeros(0, np.int64)
    return Shard(
        source,
        ("eng_Latn",),
        tokens,
        np.cumsum(lengths),
        amounts,
        stretches=none.astype(np.uint32),
        stretch_ends=none,
        vocabulary=VOCABULARY,
        start=None,
        end=2,
        habits=(False, False),
        whole=True,
    )


SHARDS = [shard([5, 9, 17, 3, 30, 11], "one"), shard([8, 21, 13, 7, 40, 6], "two", seed=1)]
MIX = MaskedPacking([Portion.all_of(shard) for shard in SHARDS], 16, seed=0)


def engine(name: str = "plain", *, dist: DistContext | None = None, seed: int = 0, **changes: Any) -> Engine:
    """An engine over a tiny model. Fields of Settings, `model` (changes of its shape) and `hooks` can be given."""
    hooks: list[Hook] = changes.pop("hooks", [])
    model = tiny(seed, **changes.pop("model", {}))
    given: dict[str, Any] = {"weight_decay": 0.1, "betas": (0.9, 0.95), "global_batch": BATCH, "micro_batch": 2}
    return make_engine(name, Blueprint.of_model(model), Settings(**(given | changes)), dist or DistContext(), hooks)


def plan(
    steps: int, checkpoints: Path | None = None, save_every: int = 3, fingerprint: str = "a", **rule: Any
) -> TrainingPlan:
    kept = Checkpoints(checkpoints, fingerprint, **rule) if checkpoints else None
    return TrainingPlan(steps, BATCH, save_every, kept)


def rate() -> LearningRate:
    return LearningRate(1e-2, Schedule("cosine", warmup=0.1, floor=0.0, steps=15))


class Losses(Hook):
    """Remembers every step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, float]] = []

    def after_step(self, record: Any) -> None:
        self.seen.append((record.step, record.loss, record.gradient_norm))


class KilledError(Exception):
    pass


class KillAfter(Hook):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            raise KilledError


def weights(engine: Engine) -> dict[str, torch.Tensor]:
    """Everything an engine holds, whole."""
    found = {}
    for name in engine.parameters:
        for part in ("weight", "exp_avg", "exp_avg_sq"):
            value = engine.read(name, part)
            if value is not None:
                found[f"{part}:{name}"] = value.detach().float().cpu().clone()
    return found

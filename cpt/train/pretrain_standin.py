"""Pretraining of the toy base models with the study's own loop, on toy English, topics and code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from cpt.corpora.bitext import BitextFormat
from cpt.corpora.library import TOY, Library
from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.source import Amount, Source
from cpt.corpora.toy.world import ToyWorld
from cpt.files import locked, replacing_folder
from cpt.languages import ENGLISH
from cpt.models.base_model import BaseModel
from cpt.models.toy import StandIn, architecture
from cpt.models.weights import Blueprint
from cpt.tokens.budget import locate
from cpt.tokens.encode import WORDS
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion
from cpt.tokens.prepare_shards import Preparation, ShardRequest
from cpt.train.checkpoint import Checkpoints
from cpt.train.distributed import DistContext
from cpt.train.engines.engine import Settings
from cpt.train.engines.plain import PlainEngine
from cpt.train.final_model import write_model
from cpt.train.hooks import Hook
from cpt.train.loop import TrainingPlan, train
from cpt.train.schedules import LearningRate, Schedule


def ensure_stand_in(base: BaseModel, cache: Path, hooks: Sequence[Hook] = ()) -> None:
    """Pretrain the stand-in unless its weights are on disk."""
    item = base.toy
    assert item is not None, "only stand-ins are pretrained here"
    folder = base.folder
    with locked(folder.with_name(f"{folder.name}.lock")):
        if folder.exists():
            return
        torch.manual_seed(0)
        blueprint = Blueprint.of_model(LlamaForCausalLM(architecture(item)))
        settings = Settings(
            weight_decay=0.1, betas=(0.9, 0.95), global_batch=item.batch, micro_batch=item.batch, clip=1.0
        )
        schedule = LearningRate(item.lr, Schedule("cosine", warmup=0.05, floor=0.1, steps=item.steps))
        engine = PlainEngine(blueprint, settings, DistContext())
        checkpoints = Checkpoints(folder.with_name(f"{folder.name}.checkpoints"), item.fingerprint(base.world))
        plan = TrainingPlan(item.steps, item.batch, save_every=100, checkpoints=checkpoints)
        train(engine, _mix(base, item, cache), plan, [schedule, *hooks])
        with replacing_folder(folder) as temporary:
            write_model(engine, temporary)
            base.tokenizer().save_pretrained(temporary)
        checkpoints.finish()


def _mix(base: BaseModel, item: StandIn, cache: Path) -> MaskedPacking:
    library = Library(TOY, base.world, cache)
    form = BitextFormat(pairs_per_document=4)
    parts = [
        (library.monolingual(ENGLISH), 40_000),
        (_topics(base.world), 24_000),
        (library.code(), 16_000),
        *((library.bitext(ENGLISH, code, form), 12_000) for code in item.known),
    ]
    preparation, portions = Preparation(cache), []
    for source, words in parts:
        shard = preparation.ensure(ShardRequest(source, base, Amount(words)))
        portions.append(
            Portion(shard, 0, locate(shard, min(words, sum(shard.total(WORDS).values())), "words").tokens(shard))
        )
    return MaskedPacking(portions, item.length, seed=0)


def _topics(world: ToyWorld) -> Source:
    name = f"topics/{ENGLISH}.jsonl"
    volumes = lambda: (Volume("jsonl", (Stored(str(world.file(name))),), ("text",)),)  # noqa: E731
    return Source("topics", (ENGLISH,), f"{world.fingerprint}/{name}", volumes)

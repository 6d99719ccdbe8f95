"""Pretraining of the toy base models: once each, by the study's own loop, on toy English, topics and code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from cpt.corpora.library import Library
from cpt.corpora.source import Doc, Source, json_lines
from cpt.corpora.toy.world import ToyWorld
from cpt.files import locked, replacing_folder
from cpt.languages import ENGLISH
from cpt.models.base import BaseModel
from cpt.models.toy import StandIn, architecture
from cpt.models.weights import Blueprint
from cpt.tokens.budget import Budget
from cpt.tokens.mix import Mix
from cpt.tokens.shards import make_shard, shard_key
from cpt.train.checkpoint import Checkpoints
from cpt.train.engines.base import Settings
from cpt.train.engines.plain import PlainEngine
from cpt.train.export import write_model
from cpt.train.hooks import Hook
from cpt.train.loop import Plan, train
from cpt.train.place import Place
from cpt.train.schedules import LearningRate, Schedule


def ensure_stand_in(base: BaseModel, shards: Path, hooks: Sequence[Hook] = ()) -> None:
    """The stand-in's weights on disk, pretrained first when nobody has needed them yet."""
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
        engine = PlainEngine(blueprint, settings, Place())
        checkpoints = Checkpoints(folder.with_name(f"{folder.name}.checkpoints"), item.fingerprint(base.world))
        plan = Plan(item.steps, item.batch, save_every=100, checkpoints=checkpoints)
        train(engine, _mix(base, item, shards), plan, [schedule, *hooks])
        with replacing_folder(folder) as temporary:
            write_model(engine, temporary)
            base.tokenizer().save_pretrained(temporary)
        checkpoints.finish()


def _mix(base: BaseModel, item: StandIn, shards: Path) -> Mix:
    library = Library(None, base.world)
    tokenizer = base.tokenizer()
    parts = [
        (library.monolingual(ENGLISH), 40_000),
        (_topics(base.world), 24_000),
        (library.code(), 16_000),
        *((library.bitext(ENGLISH, code, pairs_per_document=4), 12_000) for code in item.known),
    ]
    made = []
    for source, words in parts:
        folder = shards / shard_key(source, Budget(words), base.tokenizer_fingerprint)
        made.append(make_shard(folder, source, Budget(words), tokenizer, None))
    return Mix(made, item.length, seed=0)


def _topics(world: ToyWorld) -> Source:
    name = f"topics/{ENGLISH}.jsonl"
    return Source(
        "topics",
        (ENGLISH,),
        f"{world.fingerprint}/{name}",
        lambda: (Doc(((ENGLISH, text),)) for (text,) in json_lines(world.file(name), "text")),
    )

"""Sources of made-up documents and shards of them, for tests."""

from __future__ import annotations

import json
from pathlib import Path

from cpt.corpora.bitext import BitextFormat
from cpt.corpora.collected_text import TextFolder
from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.source import Amount, Source
from cpt.corpora.toy.world import ToyWorld
from cpt.models.base_model import BaseModel
from cpt.processes import WorkerPool
from cpt.tokens.encode import TokenizerFile, tokenizer_file
from cpt.tokens.shards import Shard, ShardMaker

ENGLISH = [f"the doctor treats the patient number {n}. " * (1 + n % 3) for n in range(23)]
PAIRS = [(f"item {n}", f"into {n} yesi") for n in range(11)]


def source(folder: Path, name: str, texts: list[str], language: str = "eng_Latn") -> Source:
    """Documents in a file of JSON lines."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    volumes = (Volume("jsonl", (Stored(str(path)),), ("text",)),)
    return Source(name, (language,), f"test:{len(texts)}", lambda: volumes)


def pairs(folder: Path, name: str, sides: list[tuple[str, str]], per_document: int = 1) -> Source:
    path = folder / f"{name}.jsonl"
    lines = (json.dumps({"source": left, "target": right}) + "\n" for left, right in sides)
    path.write_text("".join(lines), encoding="utf-8")
    volumes = (Volume("jsonl", (Stored(str(path)),), ("source", "target")),)
    form = BitextFormat(pairs_per_document=per_document)
    return Source(name, ("eng_Latn", "zul_Latn"), f"test:{len(sides)}", lambda: volumes, form)


def tokenizer(world: ToyWorld, name: str = "l3") -> TokenizerFile:
    model = BaseModel(f"toy:{name}", "main", world)
    return tokenizer_file(model.tokenizer(), model.tokenizer_fingerprint, world.folder / "files")


def maker(folder: Path, item: Source, tokens: TokenizerFile) -> ShardMaker:
    text = TextFolder(folder / f"{item.name}-text", item) if item.collected else None
    return ShardMaker(folder / f"{item.name}-shard", item, tokens, text)


def made(folder: Path, item: Source, tokens: TokenizerFile, need: Amount | None = None, processes: int = 0) -> Shard:
    with WorkerPool(processes) as pool:
        return maker(folder, item, tokens).ensure(need or Amount(), pool)

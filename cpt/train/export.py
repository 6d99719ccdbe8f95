"""The final model as everybody reads one: safetensors in shards, written by all processes, held whole by none."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cpt.files import write_json
from cpt.train.checkpoint import write_tensors
from cpt.train.engines.base import WEIGHT, Engine
from cpt.train.speed import whole_size

SHARD_BYTES = 4 * 10**9
"""Of bf16 weights in a file, as hubs like them."""


def write_model(engine: Engine, folder: Path) -> None:
    """Weights in bf16, with the index and configuration that transformers' `from_pretrained` reads.

    All processes call this; `folder` is there. Each file is gathered by all and written by one of them.
    """
    sizes = {name: 2 * whole_size(parameter) for name, parameter in engine.parameters.items()}
    files = shards(sizes, SHARD_BYTES)
    for number, (file, names) in enumerate(files.items()):
        held: dict[str, Tensor] = {}
        for name in names:
            value = engine.read(name, WEIGHT)
            assert value is not None
            if number % engine.place.ranks == engine.place.rank:
                held[name] = value.to(torch.bfloat16).contiguous().cpu()
        if held:
            write_tensors(folder / file, held)
    if engine.place.main:
        if len(files) > 1:
            weight_map = {name: file for file, names in files.items() for name in names}
            total = {"total_size": sum(sizes.values())}
            write_json(folder / "model.safetensors.index.json", {"metadata": total, "weight_map": weight_map})
        engine.model.config.dtype = torch.bfloat16
        engine.model.config.save_pretrained(folder)
        if engine.model.generation_config is not None:
            engine.model.generation_config.save_pretrained(folder)
    engine.place.wait()


def shards(sizes: dict[str, int], limit: int) -> dict[str, list[str]]:
    """Names in order, as many to a file as stay below the limit; a tensor above it has a file of its own."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    if len(groups) == 1:
        return {"model.safetensors": groups[0]}
    return {f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors": names for i, names in enumerate(groups)}

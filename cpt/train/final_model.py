"""The trained model: safetensors, configuration and model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cpt.config import StudyConfig
from cpt.files import write_json
from cpt.languages import language, registry
from cpt.run_keys import hub_name, shown_path
from cpt.train.checkpoint import write_tensors
from cpt.train.engines.engine import WEIGHT, Engine
from cpt.train.speed import full_numel

SHARD_BYTES = 4 * 10**9
"""Most bytes of bf16 weights in one file."""


def write_model(engine: Engine, folder: Path) -> None:
    """Write bf16 weights, their index and the configuration that transformers' `from_pretrained` reads.

    All ranks call this, gather each file together, and take turns writing. No rank holds the whole model.
    """
    sizes = {name: 2 * full_numel(parameter) for name, parameter in engine.parameters.items()}
    files = shards(sizes, SHARD_BYTES)
    for number, (file, names) in enumerate(files.items()):
        tensors: dict[str, Tensor] = {}
        for name in names:
            value = engine.read(name, WEIGHT)
            assert value is not None
            if number % engine.dist.world_size == engine.dist.rank:
                tensors[name] = value.to(torch.bfloat16).contiguous().cpu()
        if tensors:
            write_tensors(folder / file, tensors)
    if engine.dist.is_main:
        if len(files) > 1:
            weight_map = {name: file for file, names in files.items() for name in names}
            total = {"total_size": sum(sizes.values())}
            write_json(folder / "model.safetensors.index.json", {"metadata": total, "weight_map": weight_map})
        engine.model.config.dtype = torch.bfloat16
        engine.model.config.save_pretrained(folder)
        if engine.model.generation_config is not None:
            engine.model.generation_config.save_pretrained(folder)
    engine.dist.barrier()


def shards(sizes: dict[str, int], limit: int) -> dict[str, list[str]]:
    """Fill files in the order of the names up to the limit; a larger tensor gets a file of its own."""
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


def model_card(config: StudyConfig, name: str, run_id: str, consumed: dict[str, Any]) -> str:
    """Markdown with a model hub's front matter, written from the ledger."""
    codes = sorted({source["language"] for source in consumed["sources"]} & set(registry()))
    toy = config.scale == "toy"
    warning = "**A toy model: synthetic languages, tiny weights. It is of no use outside tests.**\n\n" if toy else ""
    base = [f"base_model: {config.model.path}"] if config.model.path == config.model.hub else []
    head = ["---", *base, "language:", *(f"  - {code.split('_')[0]}" for code in codes)]
    head += ["tags:", "  - continual-pretraining", *(["  - toy"] if toy else []), "---", ""]
    lines = [
        f"# {hub_name(name)}",
        "",
        f"{warning}Continual pretraining of `{shown_path(config.model.path)}` on "
        f"{'parallel' if config.data_mix.name == 'bi' else 'monolingual'} text"
        f"{' and code' if config.code else ''} in {', '.join(language(code).name for code in codes)}.",
        "",
        f"- run `{run_id}`, seed {consumed['seed']}",
        f"- {consumed['steps']:,} steps, {consumed['tokens_seen']:,} tokens ({consumed['epochs']:.2f} epochs)",
        f"- peak learning rate {config.train.lr}, schedule {config.schedule.kind} laid out for "
        f"{config.schedule.epochs or config.train.epochs} epochs, {config.train.precision}",
        f"- trained on {consumed['processes']} × {consumed['device']}, engine {consumed['engine']}; {consumed['mfu']}",
        "",
        "| source | language | words seen | tokens seen | unique tokens |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {s['source']} | {s['language']} | {s['words_seen']:,} | {s['tokens_seen']:,} | {s['tokens_unique']:,} |"
        for s in consumed["sources"]
    ]
    return "\n".join([*head, *lines, ""])

"""One of two processes that train a tiny model together under every engine; what they found is written as JSON.

python -m torch.distributed.run --nproc-per-node 2 processes.py <folder>
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from tiny import MIX, Losses, engine, plan, rate, tiny, weights

from cpt.evals.curve import distance
from cpt.models.weights import Blueprint, InMemoryWeights
from cpt.train.distributed import DistContext, init_distributed
from cpt.train.engines.engine import Engine
from cpt.train.final_model import write_model
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.loop import train

UNEVEN = {"vocab_size": 67, "hidden_size": 28, "intermediate_size": 61}
"""Shapes that do not divide by the number of processes."""
TIED = {"tie_word_embeddings": True}
CASES: dict[str, dict[str, Any]] = {
    "zero1": {},
    "zero2": {},
    "zero3": {},
    "fsdp2": {},
    "zero1 bf16": {"bf16": True},
    "zero2 bf16 offload": {"bf16": True, "offload": True},
    "zero3 bf16": {"bf16": True, "model": TIED, "checkpointing": True},
    "fsdp2 bf16": {"bf16": True, "model": TIED, "checkpointing": True},
    "zero3 uneven": {"model": UNEVEN},
    "fsdp2 uneven": {"model": UNEVEN | TIED},
}


class Technique(Hook):
    """What a technique may do, under every engine: read gradients and weights whole, and put others there."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def parameter_options(self, name: str) -> dict[str, float]:
        return {"lr_factor": 0.0} if "embed" in name else {}

    def on_start(self, session: Session) -> None:
        self.engine = session.engine
        self.start = weights(cast(Engine, session.engine))

    def after_backward(self, trained: Any) -> None:
        gradient = trained.read("lm_head.weight", "gradient")
        self.norms.append(float(gradient.norm()))
        trained.write("lm_head.weight", "gradient", gradient * 0.5)

    def after_step(self, record: StepRecord) -> None:
        self.engine.losses(MIX.batch(50, 2), 2)  # a look at other text in between must change nothing
        for name, factor in (("model.layers.1.mlp.up_proj.weight", 1.0), ("model.norm.weight", 1.5)):
            self.engine.write(name, "weight", factor * self.start[f"weight:{name}"])


def trained(name: str, dist: DistContext, folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Losses and end of a run, and of one that goes on from its checkpoint after step 3."""
    kind, kept = name.split()[0], folder / name.replace(" ", "-")
    straight, losses = engine(kind, dist=dist, **changes), Losses()
    start = distance(straight, Blueprint.of_model(tiny(**changes.get("model", {}))).weights)[0]
    base = {key[7:]: value for key, value in weights(straight).items() if key.startswith("weight:")}
    train(straight, MIX, plan(6, kept), [rate(), losses])
    dist.barrier()
    if dist.is_main:
        shutil.rmtree(kept / "step-00000006")  # as if it had been killed before its end
    dist.barrier()
    held_out = straight.losses(MIX.batch(100, 5), 2)
    moved = distance(straight, InMemoryWeights(base))
    end = weights(straight)
    resumed, rest = engine(kind, dist=dist, seed=9, **changes), Losses()
    train(resumed, MIX, plan(6, kept), [rate(), rest])
    model = kept / "model"
    model.mkdir(exist_ok=True)
    write_model(resumed, model)
    again = weights(resumed)  # once: each is put together from both processes
    if dist.is_main:
        torch.save(end, kept / "end.pt")
    return {
        "start": start,
        "losses": losses.seen,
        "held_out": held_out,
        "moved": moved,
        "resumed": rest.seen,
        "same": all(torch.equal(value, again[key]) for key, value in end.items()),
    }


def technique(kind: str, dist: DistContext) -> dict[str, Any]:
    hook = Technique()
    one = engine(kind, dist=dist, hooks=[hook])
    losses = Losses()
    train(one, MIX, plan(4), [rate(), hook, losses])
    end = weights(one)
    return {
        "norms": hook.norms,
        "losses": losses.seen,
        "still": sorted(key for key, value in hook.start.items() if torch.equal(value, end[key])),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder, found = Path(sys.argv[1]), {}
    with init_distributed(
        int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]), "env://"
    ) as dist:
        for name, changes in CASES.items():
            found[name] = trained(name, dist, folder, changes)
        for kind in ("zero1", "zero2", "zero3", "fsdp2"):
            found[f"{kind} technique"] = technique(kind, dist)
        if dist.is_main:
            (folder / "found.json").write_text(json.dumps(found))
        dist.barrier()


if __name__ == "__main__":
    main()

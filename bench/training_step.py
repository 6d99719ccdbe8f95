"""Our training step against a bare loop over the same model and tokens, in pairs in one process.

    python bench/training_step.py

The bare loop is what a notebook would have: transformers' own loss over full rows, no document mask, no positions.
The ratio says what masked packing, the exact loss and the hooks cost. Only ratios of one run are to be quoted.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from transformers import LlamaForCausalLM

from cpt.models.toy import STAND_INS, architecture
from cpt.tokens.mix import Mix
from cpt.tokens.shards import Shard
from cpt.train.engines.plain import PlainEngine

BATCH, LENGTH, PAIRS = 8, 256, 15


def synthetic_mix() -> Mix:
    """Documents of 20 to 120 random tokens."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 120, 800)
    tokens = rng.integers(3, STAND_INS["l3"].vocabulary, int(sizes.sum()))
    amounts = np.stack([sizes, sizes], axis=1)[:, None, :]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return Mix([Shard("synthetic", ("eng_Latn",), tokens, starts, amounts, 0)], LENGTH, seed=0)


def main() -> None:
    torch.manual_seed(0)
    mix = synthetic_mix()
    ours = PlainEngine(
        LlamaForCausalLM(architecture(STAND_INS["l3"])),
        device="cpu",
        bf16=False,
        micro_batch=BATCH,
        weight_decay=0.0,
        betas=(0.9, 0.95),
        clip=1.0,
    )
    bare = LlamaForCausalLM(architecture(STAND_INS["l3"]))
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, fused=True)

    def bare_step(first: int) -> None:
        ids = torch.from_numpy(mix.batch(first, BATCH).inputs)
        bare(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for pair in range(PAIRS + 2):
        for name, step in (("ours", lambda first: ours.step(mix.batch(first, BATCH), 1e-3)), ("bare", bare_step)):
            begin = time.perf_counter()
            step(pair * BATCH)
            if pair >= 2:  # the first pairs warm up
                times[name].append(time.perf_counter() - begin)
    ratio = statistics.median(one / two for one, two in zip(times["bare"], times["ours"], strict=True))
    for name, seconds in times.items():
        print(f"{name}: {BATCH * LENGTH / statistics.median(seconds):,.0f} tokens/s")
    print(f"ours / bare, median of {PAIRS} pairs: {ratio:.2f} (above 1 is faster)")


if __name__ == "__main__":
    main()

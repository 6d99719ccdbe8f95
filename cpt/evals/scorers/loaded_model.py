"""A model and its tokenizer as every kind of question needs them: padding, and prefixes read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from cpt.evals.scorers.key_value_cache import roomy_cache
from cpt.evals.scorers.texts import Texts

WORTH_SHARING = 16
"""Tokens a batch must have in common for reading them once to pay."""


@dataclass(frozen=True)
class Prefix:
    """What all rows of a batch begin with, as the cache of having read it once for all of them."""

    length: int
    cache: DynamicCache | None


class AskedModel(Texts):
    """A model ready to be asked. Batches never change an answer beyond rounding."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        super().__init__(tokenizer, int(model.config.max_position_embeddings))
        on_device: Any = model  # transformers leaves moving and calling its models untyped
        self.model: Any = on_device.to(device).eval()
        self.device = device

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens with which a model says that it has ended."""
        named = getattr(self.model, "generation_config", None)
        ids = getattr(named, "eos_token_id", None)
        return frozenset({self.tokenizer.eos_token_id, *(ids if isinstance(ids, list) else [ids])} - {None})

    def padded(self, rows: Sequence[list[int]], left: bool, least: int = 0) -> Tensor:
        width = max(least, *map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for index, row in enumerate(rows):
            first = width - len(row) if left else 0
            ids[index, first : first + len(row)] = torch.tensor(row, dtype=torch.long)
        return ids.to(self.device)

    def shared(self, prompts: Sequence[list[int]]) -> Prefix:
        """Read what the prompts have in common, but for their last tokens, once. A cache holds it for each row."""
        length = min(common(prompts), min(map(len, prompts)) - 1)
        if len(prompts) < 2 or length < WORTH_SHARING:
            return Prefix(0, None)
        cache = roomy_cache()
        ids = torch.tensor([prompts[0][:length]], device=self.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        return Prefix(length, cache)


def common(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with."""
    first, last = min(rows), max(rows)  # what the least and the greatest share, all share
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of like lengths, the longest first, so that what does not fit in memory fails at once.

    Batches are as equal in size as they can be.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches = math.ceil(len(order) / size) if order else 0
    cuts = [len(order) * part // batches for part in range(batches + 1)] if batches else []
    return [order[a:b] for a, b in pairwise(cuts)]

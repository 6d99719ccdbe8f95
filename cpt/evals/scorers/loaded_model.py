"""A loaded model: prompts to token ids, padding, shared prefixes read once, and a preallocated key-value cache."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast
from transformers.cache_utils import DynamicLayer

log = logging.getLogger(__name__)

MIN_SHARED = 16
"""Common tokens from which a batch reads its prefix only once."""
ROOM = 64
"""Tokens by which the cache grows when it is full."""


class PromptEncoder:
    """A tokenizer and its model's context length."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        self._warned_truncated = False

    def encode(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Token ids with the tokenizer's defaults, as a user's prompt is encoded."""
        encodings = self.tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    @property
    def start(self) -> int:
        """The start token: bos, or else eos."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return int(bos if bos is not None else eos)

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Prompts as token ids; an empty prompt becomes a start token."""
        return [ids or [self.start] for ids in self.encode(texts)]

    def truncated(self, prompt: list[int], room: int) -> list[int]:
        """A prompt of at most `room` tokens: its first token and its end, where the question is."""
        if len(prompt) <= room:
            return prompt
        if not self._warned_truncated:
            log.warning("a prompt of %d tokens is cut to the %d that fit the model's context", len(prompt), room)
            self._warned_truncated = True
        return [prompt[0], *prompt[len(prompt) - room + 1 :]] if room > 1 else prompt[-1:]

    def text(self, tokens: list[int]) -> str:
        """Generated tokens as text, with a leading space if any."""
        rows = [[*self.anchor, *tokens], self.anchor]
        whole, before = self.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(whole[len(before) :])

    @cached_property
    def anchor(self) -> list[int]:
        """Tokens to put in front when decoding, so that a leading space survives."""
        return self.encode(["a"], special=False)[0]


def until_stop(stops: Sequence[str], text: str) -> str:
    """The text before the first stop."""
    return text[: min((index for stop in stops if (index := text.find(stop)) >= 0), default=len(text))]


@dataclass(frozen=True)
class Prefix:
    """The common start of all rows of a batch, as a filled cache."""

    length: int
    cache: DynamicCache | None


class LoadedModel(PromptEncoder):
    """A model in evaluation mode. Batching changes answers by rounding only."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        super().__init__(tokenizer, int(model.config.max_position_embeddings))
        on_device: Any = model  # transformers leaves moving and calling its models untyped
        self.model: Any = on_device.to(device).eval()
        self.device = device

    @cached_property
    def ends(self) -> frozenset[int]:
        """End-of-text tokens."""
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

    def shared_prefix(self, prompts: Sequence[list[int]]) -> Prefix:
        """Run the model once on the common start of the prompts, without their last tokens."""
        length = min(common_length(prompts), min(map(len, prompts)) - 1)
        if len(prompts) < 2 or length < MIN_SHARED:
            return Prefix(0, None)
        cache = preallocated_cache()
        ids = torch.tensor([prompts[0][:length]], device=self.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        return Prefix(length, cache)


def common_length(rows: Sequence[list[int]]) -> int:
    """The length of the common start of all rows."""
    first, last = min(rows), max(rows)  # what these two have in common, all have
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def batches_by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of similar lengths and equal sizes, the longest first, so that memory fails early."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches = math.ceil(len(order) / size) if order else 0
    cuts = [len(order) * part // batches for part in range(batches + 1)] if batches else []
    return [order[a:b] for a, b in pairwise(cuts)]


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call] # transformers registers subclasses untyped
    """A cache layer that grows in steps; transformers' own copies all keys and values for every generated token."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._all = [states.new_empty(0) for states in (key_states, value_states)]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used, more = self.get_seq_length(), key_states.shape[-2]
        for index, new in enumerate((key_states, value_states)):
            old = self._all[index]
            if old.dim() < 4 or old.shape[-2] < used + more:
                rows, heads, _, size = new.shape
                self._all[index] = new.new_empty(rows, heads, used + more + ROOM, size)
                if used:
                    self._all[index][:, :, :used] = old[:, :, :used]
            self._all[index][:, :, used : used + more] = new
        return self._use(used + more)

    def _use(self, length: int) -> tuple[Tensor, Tensor]:
        keys, values = (states[:, :, :length] for states in self._all)
        self.keys, self.values = keys, values
        return keys, values

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._rows(lambda states: states.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        self._rows(lambda states: states[indices])

    def _rows(self, change: Any) -> None:
        if length := self.get_seq_length():
            self._all = [change(states) for states in self._all]
            self._use(length)


def preallocated_cache() -> DynamicCache:
    cache = DynamicCache()
    cache.layer_class_to_replicate = PreallocatedLayer
    return cache

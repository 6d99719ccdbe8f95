"""A cache of keys and values with room to grow: transformers' own copies all of it for every token.

For a batch that decodes, that is most of what it does beside the arithmetic: gigabytes a token for a large model.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens for which there is new room whenever the old is used up."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call] # transformers registers subclasses untyped
    """`keys` and `values` are the used part of larger tensors."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._all = [states.new_empty(0) for states in (key_states, value_states)]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used, more = self.get_seq_length(), key_states.shape[-2]
        for place, new in enumerate((key_states, value_states)):
            old = self._all[place]
            if old.dim() < 4 or old.shape[-2] < used + more:
                rows, heads, _, size = new.shape
                self._all[place] = new.new_empty(rows, heads, used + more + ROOM, size)
                if used:
                    self._all[place][:, :, :used] = old[:, :, :used]
            self._all[place][:, :, used : used + more] = new
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


def roomy_cache() -> DynamicCache:
    cache = DynamicCache()
    cache.layer_class_to_replicate = RoomyLayer
    return cache

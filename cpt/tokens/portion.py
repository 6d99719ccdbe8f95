"""Portions: the part of each source's tokens that a mix takes, as documents by number; and their order.

The order needs no memory: a corpus may have a thousand million documents, and a list of their shuffled numbers would
fill the memory of a node. The document at an index is computed from the index alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cpt.tokens.shards import Shard

ROUNDS = 7
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Shuffle:
    """A permutation of 0 .. size - 1, a pure function of size and seed."""

    def __init__(self, size: int, *seed: int) -> None:
        assert size > 0, "nothing to shuffle"
        self.size = size
        bits = max((size - 1).bit_length(), 2)
        self._low = np.uint64(bits // 2)
        self._masks = (np.uint64((1 << (bits - bits // 2)) - 1), np.uint64((1 << (bits // 2)) - 1))
        self._keys = np.random.SeedSequence(list(seed)).generate_state(ROUNDS, np.uint64)

    def __call__(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at these indices."""
        result = self._once(indices.astype(np.uint64))
        while (outside := result >= self.size).any():
            result[outside] = self._once(result[outside])
        return result.astype(np.int64)

    def _once(self, value: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """One pass of an unbalanced Feistel network, which is a bijection for any round function."""
        high_mask, low_mask = self._masks
        high, low = value >> self._low, value & low_mask
        for number, key in enumerate(self._keys):
            if number % 2:
                low = (low + _mixed(high, key)) & low_mask
            else:
                high = (high + _mixed(low, key)) & high_mask
        return (high << self._low) | low


def _mixed(value: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Bits stirred so that each of them depends on all of them (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        value = (value ^ key) * _MULTIPLIER
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True)
class Portion:
    """Tokens [begin, end) of a shard that is read over and over; its first and last document may be cut."""

    shard: Shard
    begin: int
    end: int

    @classmethod
    def all_of(cls, shard: Shard) -> Portion:
        return cls(shard, 0, int(shard.ends[-1]))

    @property
    def tokens(self) -> int:
        return self.end - self.begin

    @cached_property
    def _first(self) -> tuple[int, int]:
        """The document the portion begins in, and the token within it."""
        inside = self.begin % int(self.shard.ends[-1])
        document = int(np.searchsorted(self.shard.ends, inside, side="right"))
        return document, inside - (int(self.shard.ends[document - 1]) if document else 0)

    @cached_property
    def _last(self) -> tuple[int, int]:
        """The number of documents, and the tokens left out of the last one."""
        if not self.tokens:
            return 0, 0
        passes, inside = divmod(self.end - 1, int(self.shard.ends[-1]))
        document = int(np.searchsorted(self.shard.ends, inside, side="right"))
        begun = self.begin // int(self.shard.ends[-1])
        count = (passes - begun) * self.shard.documents + document - self._first[0] + 1
        return count, int(self.shard.ends[document]) - inside - 1

    @property
    def documents(self) -> int:
        """The number of documents, with repetitions."""
        return self._last[0]

    @property
    def repeats(self) -> bool:
        return self.tokens > int(self.shard.ends[-1])

    def parts(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For some of its documents: index in the shard, first token, and number of tokens."""
        documents = (numbers + self._first[0]) % self.shard.documents
        sizes = self.shard.ends[documents] - self.shard.starts(documents)
        offsets = np.where(numbers == 0, self._first[1], 0)
        sizes = sizes - offsets - np.where(numbers == self.documents - 1, self._last[1], 0)
        return documents, offsets, sizes


@dataclass(frozen=True)
class Parts:
    """Consecutive parts of documents of several portions."""

    portions: NDArray[np.int64]
    documents: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def upto(self, tokens: int) -> Parts:
        """The parts up to a number of tokens."""
        ends = np.cumsum(self.sizes)
        count = min(int(np.searchsorted(ends, tokens, side="left")) + 1, len(ends)) if tokens > 0 else 0
        sizes = self.sizes[:count].copy()
        if count:
            sizes[-1] -= max(int(ends[count - 1]) - tokens, 0)
        return Parts(self.portions[:count], self.documents[:count], self.offsets[:count], sizes)


class Stock:
    """All documents of some portions, with consecutive numbers."""

    def __init__(self, portions: list[Portion]) -> None:
        self.portions = portions
        self._ends = np.cumsum([portion.documents for portion in portions])
        self.documents = int(self._ends[-1])
        self.tokens = sum(portion.tokens for portion in portions)

    def parts(self, numbers: NDArray[np.int64]) -> Parts:
        """The documents with these numbers, in this order."""
        owners = np.searchsorted(self._ends, numbers, side="right")
        result = Parts(owners, *(np.zeros(len(numbers), np.int64) for _ in range(3)))
        for owner in np.unique(owners):
            mine = owners == owner
            first = int(self._ends[owner - 1]) if owner else 0
            parts = self.portions[owner].parts(numbers[mine] - first)
            result.documents[mine], result.offsets[mine], result.sizes[mine] = parts
        return result

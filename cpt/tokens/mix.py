"""The mix: a run's shards as one endless, shuffled, packed stream of training sequences.

Sequence `i` is a pure function of the mix, the seed and `i`, so the whole data state of a run is one integer.
Documents are shuffled anew for each epoch and laid end to end; sequence `i` is the window of `length` tokens at
`i * length`, with the token after it as the last target. No token is dropped and none is overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cpt.tokens.shards import TOKENS, WORDS, Shard

IGNORED = -100
"""Label of a position whose next token belongs to another document."""


@dataclass(frozen=True)
class Batch:
    """Packed sequences: [sequences, length] each. `documents` numbers the documents inside each sequence."""

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    documents: NDArray[np.int64]
    positions: NDArray[np.int64]

    @property
    def targets(self) -> int:
        """Positions that carry a loss."""
        return int((self.labels != IGNORED).sum())


class Mix:
    """All documents of a run's shards, each taken once an epoch."""

    def __init__(self, shards: list[Shard], length: int, seed: int) -> None:
        self.shards, self.length, self.seed = shards, length, seed
        self._shard_of = np.repeat(np.arange(len(shards)), [shard.documents for shard in shards])
        self._doc_of = np.concatenate([np.arange(shard.documents) for shard in shards])
        self._sizes = np.concatenate([np.diff(shard.starts) for shard in shards])
        self.epoch_tokens = int(self._sizes.sum())
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def steps(self, epochs: float, global_batch: int) -> int:
        """Steps that see every token `epochs` times; the last step's remainder runs into the next epoch."""
        return int(np.ceil(self.epoch_tokens * epochs / (self.length * global_batch)))

    def _shuffle(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Document order of an epoch, and where each of them ends in the epoch's stream."""
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self._sizes))
        return order, np.cumsum(self._sizes[order])

    def _window(self, start: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens [start, start + size) of the endless stream, and a number for the document of each."""
        tokens, numbers, filled = np.empty(size, np.int64), np.empty(size, np.int64), 0
        epoch, offset = divmod(start, self.epoch_tokens)
        order, ends = self._order(epoch)
        index = int(np.searchsorted(ends, offset, side="right"))
        number = 0
        while filled < size:
            if index == len(order):
                epoch, index = epoch + 1, 0
                order, ends = self._order(epoch)
                offset = 0
            document = order[index]
            shard = self.shards[self._shard_of[document]]
            last = int(shard.starts[self._doc_of[document] + 1])
            take = min(size - filled, int(ends[index]) - offset)
            first = last - (int(ends[index]) - offset)
            tokens[filled : filled + take] = shard.tokens[first : first + take]
            numbers[filled : filled + take] = number
            filled, offset, index, number = filled + take, offset + take, index + 1, number + 1
        return tokens, numbers

    def batch(self, first: int, count: int) -> Batch:
        """Sequences first .. first + count - 1."""
        shape = (count, self.length)
        inputs, labels = np.empty(shape, np.int64), np.empty(shape, np.int64)
        documents, positions = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for row in range(count):
            tokens, numbers = self._window((first + row) * self.length, self.length + 1)
            inputs[row] = tokens[:-1]
            labels[row] = np.where(numbers[1:] == numbers[:-1], tokens[1:], IGNORED)
            documents[row] = numbers[:-1]
            begins = np.searchsorted(numbers[:-1], numbers[:-1], side="left")
            positions[row] = np.arange(self.length) - begins
        return Batch(inputs, labels, documents, positions)

    def seen(self, sequences: int) -> dict[tuple[str, str], dict[str, int]]:
        """What the first `sequences` sequences held: words and tokens, seen and unique, by source and language."""
        epochs, rest = divmod(sequences * self.length, self.epoch_tokens)
        order, ends = self._order(epochs)
        partial = np.zeros(len(order))
        whole = int(np.searchsorted(ends, rest, side="right"))
        partial[order[:whole]] = 1.0
        if whole < len(order):
            begin = int(ends[whole - 1]) if whole else 0
            partial[order[whole]] = (rest - begin) / self._sizes[order[whole]]
        result: dict[tuple[str, str], dict[str, int]] = {}
        first = 0
        for shard in self.shards:
            share = partial[first : first + shard.documents]
            first += shard.documents
            for index, code in enumerate(shard.languages):
                words, tokens = shard.amounts[:, index, WORDS], shard.amounts[:, index, TOKENS]
                fresh = share if epochs == 0 else np.ones_like(share)
                result[shard.source, code] = {
                    "words_seen": round(float(epochs * words.sum() + (share * words).sum())),
                    "tokens_seen": round(float(epochs * tokens.sum() + (share * tokens).sum())),
                    "words_unique": round(float((fresh * words).sum())),
                    "tokens_unique": round(float((fresh * tokens).sum())),
                }
        return result

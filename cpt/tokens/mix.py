"""The mix: a run's shards as one endless, shuffled, packed stream of training sequences.

Sequence `i` is a pure function of the mix, the seed and `i`, so the whole data state of a run is one integer.
Documents are shuffled anew for each epoch and laid end to end; sequence `i` is the window of `length` tokens at
`i * length`, with the token after it as the last target. No token is dropped and none is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cpt.tokens.shards import TOKENS, WORDS, Shard

IGNORED = -100
"""Label of a position whose next token belongs to another document."""


@dataclass(frozen=True)
class Batch:
    """Packed sequences: [sequences, length] each. `documents` numbers the documents inside each sequence, `sources`
    says which source each belongs to."""

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    documents: NDArray[np.int64]
    positions: NDArray[np.int64]
    sources: NDArray[np.int64]

    @property
    def targets(self) -> int:
        """Positions that carry a loss."""
        return int((self.labels != IGNORED).sum())

    def rows(self, first: int, last: int) -> Batch:
        """Some of the sequences."""
        part = slice(first, last)
        arrays = (self.inputs, self.labels, self.documents, self.positions, self.sources)
        return Batch(*(array[part] for array in arrays))


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

    def _pieces(self, start: int, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Tokens [start, start + size) of the endless stream: shard, document, first token in it, how many."""
        epoch, offset = divmod(start, self.epoch_tokens)
        order, ends = self._order(epoch)
        index = int(np.searchsorted(ends, offset, side="right"))
        while size > 0:
            if index == len(order):
                epoch, index, offset = epoch + 1, 0, 0
                order, ends = self._order(epoch)
            document = order[index]
            left = int(ends[index]) - offset
            take = min(size, left)
            yield int(self._shard_of[document]), int(self._doc_of[document]), int(self._sizes[document]) - left, take
            size, offset, index = size - take, offset + take, index + 1

    def batch(self, first: int, count: int) -> Batch:
        """Sequences first .. first + count - 1."""
        rows = []
        for row in range(first, first + count):
            tokens, sources, sizes = [], [], []
            for source, document, begin, size in self._pieces(row * self.length, self.length + 1):
                shard = self.shards[source]
                start = int(shard.starts[document]) + begin
                tokens.append(shard.tokens[start : start + size])
                sources.append(source)
                sizes.append(size)
            rows.append(_row(np.concatenate(tokens).astype(np.int64), np.asarray(sizes), np.asarray(sources)))
        return Batch(*(np.stack(arrays) for arrays in zip(*rows, strict=True)))

    def names(self, first: int, count: int) -> list[tuple[str, int]]:
        """Source and number of every document in sequences first .. first + count - 1, for people who look for one."""
        pieces = self._pieces(first * self.length, count * self.length + 1)
        return sorted({(self.shards[shard].source, document) for shard, document, _, _ in pieces})

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


def _row(
    tokens: NDArray[np.int64], sizes: NDArray[np.int64], sources: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """A sequence and the token after it, made of pieces of documents: inputs, labels, documents, positions, sources."""
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    labels = np.where(numbers[1:] == numbers[:-1], tokens[1:], IGNORED)
    positions = np.arange(len(tokens) - 1) - begins[:-1]
    return tokens[:-1], labels, numbers[:-1], positions, np.repeat(sources, sizes)[:-1]


def pack(documents: Sequence[tuple[int, NDArray[np.int64]]], length: int) -> Batch:
    """Whole documents, each with the number of its source, laid end to end into sequences; the last one is padded."""
    sources = np.asarray([source for source, _ in documents])
    sizes = np.asarray([len(tokens) for _, tokens in documents])
    total = int(sizes.sum())
    rows = -(-(total - 1) // length)
    padding = rows * length + 1 - total
    tokens = np.concatenate([*(tokens for _, tokens in documents), np.zeros(padding, np.int64)])
    inputs, labels, numbers, positions, origin = _row(tokens, np.append(sizes, padding), np.append(sources, 0))
    labels[total - 1 :] = IGNORED
    arrays = (array.reshape(rows, length) for array in (inputs, labels, numbers, positions, origin))
    batch = Batch(*arrays)
    # A document that goes on in the next sequence begins there anew, as it does in training.
    starts = np.maximum.accumulate(
        np.where(np.diff(batch.documents, axis=1, prepend=-1) != 0, np.arange(length), 0), axis=1
    )
    return Batch(batch.inputs, batch.labels, batch.documents, np.arange(length) - starts, batch.sources)

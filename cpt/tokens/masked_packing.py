"""The mix: a run's documents as one endless, shuffled, packed stream of training sequences (`packing=masked`).

Sequence `i` is a pure function of the mix, the seed and `i`, so the whole data state of a run is one integer.
Documents are shuffled for each epoch again and laid end to end; sequence `i` is the window of `length` tokens at
`i * length`, with the token after it as the last target. No token is dropped, overwritten or padded. Nothing grows
with the data but a mark for every thousand documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cpt.tokens.batch import Row, masked_row
from cpt.tokens.portion import Parts, Portion, Shuffle, Stock
from cpt.tokens.sequences import Packed

BLOCK = 1024
"""Documents between two marks."""
MARKED_AT_ONCE = 1 << 20


class MaskedPacking(Packed):
    """All documents of some portions, each once per epoch."""

    def __init__(self, portions: list[Portion], length: int, seed: int, stage: int = 0) -> None:
        self.stock, self.length, self.seed = Stock(portions), length, (seed, stage)
        self.epoch_tokens = self.stock.tokens
        self._order = lru_cache(maxsize=2)(self._shuffle)
        self._block = lru_cache(maxsize=8)(self._read_block)

    def losses(self) -> dict[str, float]:
        return {"padded": 0.0, "dropped": 0.0, "overwritten": 0.0}

    def _shuffle(self, epoch: int) -> tuple[Shuffle, NDArray[np.int64]]:
        """The order of an epoch's documents, and where each block of them begins in the epoch's stream."""
        shuffle, sums = Shuffle(self.stock.documents, *self.seed, epoch), [np.zeros(1, np.int64)]
        for begin in range(0, self.stock.documents, MARKED_AT_ONCE):
            indices = np.arange(begin, min(begin + MARKED_AT_ONCE, self.stock.documents))
            sizes = self.stock.parts(shuffle(indices)).sizes
            sums.append(np.add.reduceat(sizes, np.arange(0, len(sizes), BLOCK)))
        return shuffle, np.cumsum(np.concatenate(sums))

    def _read_block(self, epoch: int, block: int) -> tuple[Parts, NDArray[np.int64]]:
        """The documents of a block, and where each ends in the epoch's stream."""
        shuffle, begins = self._order(epoch)
        indices = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.stock.documents))
        parts = self.stock.parts(shuffle(indices))
        return parts, begins[block] + np.cumsum(parts.sizes)

    def _pieces(self, start: int, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Tokens [start, start + size) of the endless stream: portion, document, first token in it, how many."""
        epoch, offset = divmod(start, self.epoch_tokens)
        while size > 0:
            _, begins = self._order(epoch)
            block = int(np.searchsorted(begins, offset, side="right")) - 1
            parts, ends = self._block(epoch, block)
            index = int(np.searchsorted(ends, offset, side="right"))
            while size > 0 and index < len(parts):
                left = int(ends[index]) - offset
                take = min(size, left)
                skipped = int(parts.sizes[index]) - left
                where = int(parts.offsets[index]) + skipped
                yield int(parts.portions[index]), int(parts.documents[index]), where, take
                size, offset, index = size - take, offset + take, index + 1
            if offset == self.epoch_tokens:
                epoch, offset = epoch + 1, 0

    def _consumed(self, epoch: int, tokens: int) -> Iterator[Parts]:
        shuffle, _ = self._order(epoch)
        for begin in range(0, self.stock.documents, MARKED_AT_ONCE):
            if tokens <= 0:
                return
            indices = np.arange(begin, min(begin + MARKED_AT_ONCE, self.stock.documents))
            parts = self.stock.parts(shuffle(indices)).upto(tokens)
            tokens -= int(parts.sizes.sum())
            yield parts

    def _row(self, number: int) -> Row:
        tokens, sources, sizes = [], [], []
        for owner, document, begin, size in self._pieces(number * self.length, self.length + 1):
            shard = self.stock.portions[owner].shard
            start = (int(shard.ends[document - 1]) if document else 0) + begin
            tokens.append(shard.tokens[start : start + size])
            sources.append(owner)
            sizes.append(size)
        return masked_row(np.concatenate(tokens).astype(np.int64), np.asarray(sizes), np.asarray(sources))

    def names(self, first: int, count: int) -> list[tuple[str, int]]:
        pieces = self._pieces(first * self.length, count * self.length + 1)
        return sorted({(self.shards[owner].source, document) for owner, document, _, _ in pieces})

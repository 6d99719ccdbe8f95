"""Packing as the study's tool does it (`packing=joined`), to reproduce what was published.

Documents keep their order, source behind source. Of each thousand, the texts are joined, each with the end-of-text
token behind it and no start token, and cut into sequences; what is left over is dropped. A tokenizer that says it adds
a start token (`add_bos_token`) has it written over the first token of every sequence. One without a token for padding
pads with the end of text, which then is never a target. Documents that share a sequence see each other. The sequences
are shuffled for each epoch again. (LLaMA-Factory, stage `pt`, `packing`, one preprocessing worker; arXiv 2504.04152.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cpt.errors import config_error
from cpt.tokens.batch import IGNORED, Row
from cpt.tokens.portion import Parts, Portion, Shuffle, Stock
from cpt.tokens.sequences import Packed

GROUP = 1_000
"""Documents that are joined together; what they leave over is dropped."""


class JoinedPacking(Packed):
    """Sequences cut from joined documents."""

    def __init__(self, portions: list[Portion], length: int, seed: int, stage: int = 0) -> None:
        self.stock, self.length, self.seed = Stock(portions), length, (seed, stage)
        counts = []
        for begin in range(0, self.stock.documents, GROUP):
            counts.append(int(self._group(begin).sizes.sum()) // length)
        self._ends = np.cumsum(counts)
        self.sequences = int(self._ends[-1])
        if not self.sequences:
            reason = f"no thousand documents together fill a sequence of {length:,} tokens; choose masked"
            raise config_error("train.packing", "joined", reason)
        self.epoch_tokens = self.sequences * length

    def losses(self) -> dict[str, float]:
        """Start tokens are none of the text, and are not counted as dropped."""
        text = sum(int(self._group(begin).sizes.sum()) for begin in range(0, self.stock.documents, GROUP))
        replaced = self.sequences * self.shards[0].habits[0]
        return {"padded": 0.0, "dropped": 1 - self.epoch_tokens / text, "overwritten": replaced / text}

    @property
    def _start(self) -> int | None:
        return self.shards[0].start

    def _group(self, begin: int) -> Parts:
        """A thousand documents in their order, without start tokens."""
        parts = self.stock.parts(np.arange(begin, min(begin + GROUP, self.stock.documents)))
        if self._start is None:
            return parts
        begun = (parts.offsets == 0) & (parts.sizes > 0)
        return Parts(parts.portions, parts.documents, parts.offsets + begun, parts.sizes - begun)

    def _sequence(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        """A sequence of an epoch before it is shuffled: portion, document, first token in it, how many."""
        group = int(np.searchsorted(self._ends, number, side="right"))
        offset = (number - (int(self._ends[group - 1]) if group else 0)) * self.length
        parts = self._group(group * GROUP)
        ends = np.cumsum(parts.sizes)
        index, size = int(np.searchsorted(ends, offset, side="right")), self.length
        while size > 0:
            take = min(size, int(ends[index]) - offset)
            where = int(parts.offsets[index]) + int(parts.sizes[index]) - (int(ends[index]) - offset)
            yield int(parts.portions[index]), int(parts.documents[index]), where, take
            size, offset, index = size - take, offset + take, index + 1

    def _pieces(self, row: int) -> Iterator[tuple[int, int, int, int]]:
        epoch, index = divmod(row, self.sequences)
        [number] = Shuffle(self.sequences, *self.seed, epoch)(np.asarray([index]))
        return self._sequence(int(number))

    @property
    def left_out(self) -> int:
        return int(self._start is not None)

    def _consumed(self, epoch: int, tokens: int) -> Iterator[Parts]:
        for index in range(tokens // self.length):
            pieces = np.asarray(list(self._pieces(epoch * self.sequences + index)), dtype=np.int64)
            yield Parts(*pieces.T)

    def _row(self, number: int) -> Row:
        tokens: list[NDArray[np.int64]] = []
        sources = []
        for owner, document, begin, size in self._pieces(number):
            shard = self.stock.portions[owner].shard
            start = (int(shard.ends[document - 1]) if document else 0) + begin
            tokens.append(shard.tokens[start : start + size].astype(np.int64))
            sources.append(np.full(size, owner))
        inputs = np.concatenate(tokens)
        labels = np.append(inputs[1:], IGNORED)
        asks, pads = self.shards[0].habits
        if pads:
            labels[labels == self.shards[0].end] = IGNORED
        if asks and self._start is not None:
            inputs[0] = self._start
        return inputs, labels, np.zeros_like(inputs), np.arange(self.length), np.concatenate(sources)

    def names(self, first: int, count: int) -> list[tuple[str, int]]:
        pieces = (piece for row in range(first, first + count) for piece in self._pieces(row))
        return sorted({(self.shards[owner].source, document) for owner, document, _, _ in pieces})

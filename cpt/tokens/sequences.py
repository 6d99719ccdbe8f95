"""Sequences by number, whatever the packing: each a pure function of mix, seed and number; and what they held."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cpt.tokens.batch import Batch, Row, stacked
from cpt.tokens.encode import TOKENS, WORDS
from cpt.tokens.portion import Parts, Portion, Stock
from cpt.tokens.shards import Shard


class ConsumptionCount:
    """Words and tokens seen of one shard, by language; and those seen for the first time."""

    def __init__(self, shard: Shard, repeats: bool, left_out: int = 0) -> None:
        """`left_out`: tokens at the start of every document that are never seen."""
        self.shard, self.left_out = shard, left_out
        self.seen = np.zeros((len(shard.languages), 2))
        self.unique = np.zeros_like(self.seen)
        # Which documents were seen: needed only if documents repeat.
        self._met = np.zeros(shard.documents, dtype=np.bool_) if repeats else None
        self._cuts: dict[int, list[tuple[int, int]]] = {}

    def add(self, documents: NDArray[np.int64], offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Parts of documents, each from a token on."""
        every = self.shard.ends[documents] - self.shard.starts(documents) - self.left_out
        whole = (offsets == self.left_out) & (sizes == every)
        amounts = self.shard.amounts[documents[whole]][:, :, [WORDS, TOKENS]].astype(np.int64)
        amounts[np.arange(len(amounts)), self._first_languages(documents[whole]), 1] -= self.left_out
        sums = amounts.sum(axis=0, dtype=np.int64)
        self.seen += sums
        if self._met is None:
            self.unique += sums
        else:
            first, index = np.unique(documents[whole], return_index=True)
            new = ~self._met[first]
            self.unique += amounts[index[new]].sum(axis=0, dtype=np.int64)
            self._met[first] = True
        for document, offset, size in zip(documents[~whole], offsets[~whole], sizes[~whole], strict=True):
            self.seen += self._part(int(document), int(offset), int(offset + size))
            self._cuts.setdefault(int(document), []).append((int(offset), int(offset + size)))

    def _first_languages(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """The column of the language each document begins in."""
        if len(self.shard.languages) == 1:
            return np.zeros_like(documents)
        first = np.where(documents > 0, self.shard.stretch_ends[np.maximum(documents - 1, 0)], 0)
        return self.shard.stretches[first].astype(np.int64) & 15

    def _part(self, document: int, begin: int, end: int) -> NDArray[np.float64]:
        """[languages, 2]: words in proportion to tokens, and tokens, of a part of a document."""
        shard, result = self.shard, np.zeros_like(self.seen)
        words, tokens = shard.amounts[document][:, WORDS], shard.amounts[document][:, TOKENS].astype(np.int64)
        tokens[self._first_languages(np.asarray([document]))[0]] -= self.left_out
        if len(shard.languages) == 1:
            result[0, 1] = end - begin
        else:
            first = int(shard.stretch_ends[document - 1]) if document else 0
            runs = np.asarray(shard.stretches[first : int(shard.stretch_ends[document])]).astype(np.int64)
            ends = np.cumsum(runs >> 4)
            inside = np.clip(ends, begin, end) - np.clip(ends - (runs >> 4), begin, end)
            np.add.at(result[:, 1], runs & 15, inside)
        result[:, 0] = words * (result[:, 1] / np.maximum(tokens, 1))
        return result

    def amounts(self) -> dict[str, dict[str, int]]:
        """By language; closes the account."""
        for document, parts in self._cuts.items():
            if self._met is None or not self._met[document]:
                reached = 0
                for begin, end in sorted(parts):
                    if end > (begin := max(begin, reached)):
                        self.unique += self._part(document, begin, end)
                        reached = end
        self._cuts.clear()
        return {
            code: {
                "words_seen": round(self.seen[index, 0]),
                "tokens_seen": round(self.seen[index, 1]),
                "words_unique": round(self.unique[index, 0]),
                "tokens_unique": round(self.unique[index, 1]),
            }
            for index, code in enumerate(self.shard.languages)
        }


Seen = dict[tuple[str, str], dict[str, int]]
"""Amounts by source and language."""


def added(*parts: Seen) -> Seen:
    """Sums over several parts of a training; each part counts unique amounts by itself."""
    total: Seen = {}
    for part in parts:
        for key, amounts in part.items():
            mine = total.setdefault(key, dict.fromkeys(amounts, 0))
            for name, amount in amounts.items():
                mine[name] += amount
    return total


def times(count: int, amounts: dict[str, Any]) -> dict[str, Any]:
    """Amounts seen `count` times; unique amounts stay."""
    return {name: amount if name.endswith("unique") else count * amount for name, amount in amounts.items()}


class Sequences(Protocol):
    """The data of a run: its whole state is the number of sequences seen."""

    length: int
    epoch_tokens: int

    @property
    def shards(self) -> list[Shard]: ...

    def steps(self, epochs: float, global_batch: int) -> int: ...

    def batch(self, first: int, count: int) -> Batch:
        """Sequences first .. first + count - 1."""
        ...

    def names(self, first: int, count: int) -> list[tuple[str, int]]:
        """Source and number of every document in some sequences, for inspection."""
        ...

    def seen(self, sequences: int) -> Seen:
        """Words and tokens in the first `sequences` sequences, seen and unique, by source and language."""
        ...

    def losses(self) -> dict[str, float]:
        """Shares of an epoch that packing pads, drops and overwrites."""
        ...


class Packed(Sequences, ABC):
    """Base of the packings: how epochs are counted."""

    stock: Stock

    @property
    def left_out(self) -> int:
        """Tokens at the start of every document that no sequence has."""
        return 0

    @property
    def shards(self) -> list[Shard]:
        return [portion.shard for portion in self.stock.portions]

    def steps(self, epochs: float, global_batch: int) -> int:
        """Steps that see every token `epochs` times; the last step's remainder runs into the next epoch."""
        return int(np.ceil(self.epoch_tokens * epochs / (self.length * global_batch)))

    def batch(self, first: int, count: int) -> Batch:
        return stacked([self._row(number) for number in range(first, first + count)])

    @abstractmethod
    def _row(self, number: int) -> Row:
        """One sequence."""

    @abstractmethod
    def _consumed(self, epoch: int, tokens: int) -> Iterator[Parts]:
        """The documents in the first tokens of an epoch."""

    def consumed(self, sequences: int) -> Iterator[Parts]:
        """The documents in the first sequences, which may extend beyond an epoch."""
        epochs, rest = divmod(sequences * self.length, self.epoch_tokens)
        for epoch in range(epochs):
            yield from self._consumed(epoch, self.epoch_tokens)
        yield from self._consumed(epochs, rest)

    def seen(self, sequences: int) -> Seen:
        epochs, rest = divmod(sequences * self.length, self.epoch_tokens)
        full = self._seen(0, self.epoch_tokens) if epochs else {}
        part = self._seen(epochs, rest)
        total = {key: times(epochs, amounts) for key, amounts in full.items()}
        if epochs:  # everything has been seen once by then
            part = {key: {**a, "words_unique": 0, "tokens_unique": 0} for key, a in part.items()}
        return added(total, part)

    def _seen(self, epoch: int, tokens: int) -> Seen:
        # Over a whole epoch a portion that goes around more than once meets its documents again.
        accounts = accounts_of(self.stock.portions, left_out=self.left_out)
        for parts in self._consumed(epoch, tokens):
            enter(parts, accounts)
        return closed(accounts)


def accounts_of(portions: list[Portion], repeats: bool = False, left_out: int = 0) -> list[ConsumptionCount]:
    return [ConsumptionCount(portion.shard, repeats or portion.repeats, left_out) for portion in portions]


def enter(parts: Parts, accounts: list[ConsumptionCount]) -> None:
    for owner in np.unique(parts.portions):
        mine = parts.portions == owner
        accounts[owner].add(parts.documents[mine], parts.offsets[mine], parts.sizes[mine])


def closed(accounts: list[ConsumptionCount]) -> Seen:
    return {
        (account.shard.source, code): amounts for account in accounts for code, amounts in account.amounts().items()
    }

"""What every way of packing gives: training sequences by number, each a pure function of the mix, the seed and it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from cpt.tokens.batch import Batch
from cpt.tokens.consumed import Account, Seen, added, times
from cpt.tokens.portion import Parts, Portion, Stock
from cpt.tokens.shards import Shard


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
        """Source and number of every document in some sequences, for people who look for one."""
        ...

    def seen(self, sequences: int) -> Seen:
        """What the first `sequences` sequences held: words and tokens, seen and unique, by source and language."""
        ...

    def losses(self) -> dict[str, float]:
        """Shares of an epoch that packing pads, drops and overwrites."""
        ...


class Packed(ABC):
    """What packings of a stock of documents have in common: how epochs are counted."""

    stock: Stock
    length: int
    epoch_tokens: int

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

    @abstractmethod
    def batch(self, first: int, count: int) -> Batch: ...

    @abstractmethod
    def names(self, first: int, count: int) -> list[tuple[str, int]]: ...

    @abstractmethod
    def losses(self) -> dict[str, float]: ...

    @abstractmethod
    def _consumed(self, epoch: int, tokens: int) -> Iterator[Parts]:
        """The documents of an epoch's first so many tokens."""

    def consumed(self, sequences: int) -> Iterator[Parts]:
        """The documents of the first so many sequences, which may run beyond an epoch."""
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


def accounts_of(portions: list[Portion], repeats: bool = False, left_out: int = 0) -> list[Account]:
    return [Account(portion.shard, repeats or portion.repeats, left_out) for portion in portions]


def enter(parts: Parts, accounts: list[Account]) -> None:
    for owner in np.unique(parts.portions):
        mine = parts.portions == owner
        accounts[owner].add(parts.documents[mine], parts.offsets[mine], parts.sizes[mine])


def closed(accounts: list[Account]) -> Seen:
    return {
        (account.shard.source, code): amounts for account in accounts for code, amounts in account.amounts().items()
    }

"""A training whose mix changes at given points: each stage goes on in every source where the one before has stopped."""

from __future__ import annotations

from cpt.tokens.batch import Batch, joined
from cpt.tokens.consumed import Seen
from cpt.tokens.sequences import Packed, accounts_of, closed, enter
from cpt.tokens.shards import Shard


class Staged:
    """Stages one behind the other; each begins with its own first sequence and is never read beyond its first epoch."""

    def __init__(self, stages: list[Packed], ends: list[int], epochs: float) -> None:
        """`ends`: the number of sequences up to and with each stage, which are `epochs` passes of the plain mix."""
        self.stages, self.ends, self.epochs = stages, ends, epochs
        self.length = stages[0].length
        self.epoch_tokens = round(ends[-1] * self.length / epochs)

    @property
    def shards(self) -> list[Shard]:
        return self.stages[0].shards

    def steps(self, epochs: float, global_batch: int) -> int:
        """Of the training itself, all its stages; of another number of epochs, as many steps more or less."""
        return -(-round(self.ends[-1] * epochs / self.epochs) // global_batch)

    def _spans(self, first: int, count: int) -> list[tuple[Packed, int, int]]:
        """The stages some sequences lie in: the stage, its first sequence wanted, and how many."""
        spans, last, begin = [], first + count, 0
        for stage, end in zip(self.stages, [*self.ends[:-1], max(self.ends[-1], last)], strict=True):
            if (low := max(first, begin)) < (high := min(last, end)):
                spans.append((stage, low - begin, high - low))
            begin = end
        return spans

    def batch(self, first: int, count: int) -> Batch:
        return joined([stage.batch(begin, size) for stage, begin, size in self._spans(first, count)])

    def names(self, first: int, count: int) -> list[tuple[str, int]]:
        return sorted({name for stage, begin, size in self._spans(first, count) for name in stage.names(begin, size)})

    def seen(self, sequences: int) -> Seen:
        accounts = accounts_of(self.stages[0].stock.portions, repeats=True)
        for stage, begin, size in self._spans(0, sequences):
            assert begin == 0, "a stage is counted from its start"
            for parts in stage.consumed(size):
                enter(parts, accounts)
        return closed(accounts)

    def losses(self) -> dict[str, float]:
        shares = [stage.losses() for stage in self.stages]
        sizes = [end - begin for begin, end in zip([0, *self.ends], self.ends, strict=False)]
        return {
            name: sum(size * share[name] for size, share in zip(sizes, shares, strict=True)) / self.ends[-1]
            for name in shares[0]
        }

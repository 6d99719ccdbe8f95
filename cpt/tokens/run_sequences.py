"""The data of a run: its sequences, from shards on disk, by the amounts of the recipe; with or without stages."""

from __future__ import annotations

import math
from itertools import pairwise

from cpt.config import StudyConfig
from cpt.tokens.batch import Batch, joined
from cpt.tokens.joined_packing import JoinedPacking
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion
from cpt.tokens.recipe import Allocation, Ingredient, first_documents, over_cap
from cpt.tokens.sequences import Packed, Seen, Sequences, accounts_of, closed, enter
from cpt.tokens.shards import Shard


class Staged:
    """Consecutive stages; each begins with its own first sequence and is never read beyond its first epoch."""

    def __init__(self, stages: list[Packed], ends: list[int], epochs: float) -> None:
        """`ends`: the number of sequences up to and with each stage, which are `epochs` passes of the plain mix."""
        self.stages, self.ends, self.epochs = stages, ends, epochs
        self.length = stages[0].length
        self.epoch_tokens = round(ends[-1] * self.length / epochs)

    @property
    def shards(self) -> list[Shard]:
        return self.stages[0].shards

    def steps(self, epochs: float, global_batch: int) -> int:
        """All stages for the training itself; proportionally more or fewer steps for other `epochs`."""
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


PACKINGS: dict[str, type[MaskedPacking] | type[JoinedPacking]] = {"masked": MaskedPacking, "joined": JoinedPacking}


def sequences(config: StudyConfig, taken: list[Allocation], shards: dict[str, Shard]) -> Sequences:
    """`shards` are the model's own, by the name of their source."""
    own = [shards[entry.item.source.name] for entry in taken]
    portions = [Portion(shard, 0, entry.point.tokens(shard)) for entry, shard in zip(taken, own, strict=True)]
    plain = packed(config, portions)
    return _staged(config, taken, portions, plain) if config.mixing.stages else plain


def packed(config: StudyConfig, portions: list[Portion], stage: int = 0) -> Packed:
    return PACKINGS[config.train.packing](portions, config.train.sequence_length, config.seed, stage)


def _staged(config: StudyConfig, taken: list[Allocation], portions: list[Portion], plain: Packed) -> Staged:
    """Each stage has the plain mix's proportions times its factors, and continues each source where the last ended."""
    settings, length = config.mixing, config.train.sequence_length
    whole = plain.steps(config.train.epochs, config.train.global_batch) * config.train.global_batch
    ends = [round(stage.until * whole) for stage in settings.stages]
    streams = [first_documents(portion.shard, entry.point) for entry, portion in zip(taken, portions, strict=True)]
    reached = [0] * len(taken)
    stages = []
    for number, (stage, (begin, end)) in enumerate(zip(settings.stages, pairwise([0, *ends]), strict=True)):
        weights = [p.tokens * _factor(stage.factors, entry.item) for entry, p in zip(taken, portions, strict=True)]
        wanted = (end - begin) * length + 1  # and the target of its last token
        parts = []
        for index, weight in enumerate(weights):
            size = math.ceil(wanted * weight / sum(weights))
            parts.append(Portion(streams[index], reached[index], reached[index] + size))
            reached[index] += size
        stages.append(packed(config, parts, number + 1))
    for entry, stream, tokens in zip(taken, streams, reached, strict=True):
        over_cap(settings, entry.item.source.name, tokens / int(stream.ends[-1]))
    return Staged(stages, ends, config.train.epochs)


def _factor(factors: dict[str, float], item: Ingredient) -> float:
    """That of the role, or the mean over the source's languages."""
    if item.role != "language":
        return factors.get(item.role, 1.0)
    codes = [code for language in item.source.languages for code in language.split("-")]
    return sum(factors.get(code, 1.0) for code in codes) / len(codes)

"""The data of a run: its sequences, from shards on disk, by the recipe's amounts."""

from __future__ import annotations

import math
from itertools import pairwise

from cpt.config import StudyConfig
from cpt.tokens.joined import Joined
from cpt.tokens.masked import Mix
from cpt.tokens.portion import Portion
from cpt.tokens.recipe import Ingredient, Taken, first_documents, over_cap
from cpt.tokens.sequences import Packed, Sequences
from cpt.tokens.shards import Shard
from cpt.tokens.staged import Staged

PACKINGS: dict[str, type[Mix] | type[Joined]] = {"masked": Mix, "joined": Joined}


def sequences(config: StudyConfig, taken: list[Taken], shards: dict[str, Shard]) -> Sequences:
    """`shards` are the model's own, by the name of their source."""
    own = [shards[entry.item.source.name] for entry in taken]
    portions = [Portion(shard, 0, entry.point.tokens(shard)) for entry, shard in zip(taken, own, strict=True)]
    plain = packed(config, portions)
    return _staged(config, taken, portions, plain) if config.mixing.stages else plain


def packed(config: StudyConfig, portions: list[Portion], stage: int = 0) -> Packed:
    return PACKINGS[config.train.packing](portions, config.train.sequence_length, config.seed, stage)


def _staged(config: StudyConfig, taken: list[Taken], portions: list[Portion], plain: Packed) -> Staged:
    """Every stage has the plain mix's proportions times its factors, and goes on in each source where it stood."""
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

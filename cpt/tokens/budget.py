"""Amounts of text: which documents of a source they are, the same ones for every model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cpt.tokens.encode import BYTES, TOKENS, WORDS

if TYPE_CHECKING:
    from cpt.tokens.shards import Shard

UNITS = ("words", "bytes", "tokens")
COLUMNS = {"words": WORDS, "bytes": BYTES, "tokens": TOKENS}


@dataclass(frozen=True)
class Point:
    """A position in a source that is read repeatedly: whole passes, then documents, then a share of the next document.

    It is the same for the shards of all tokenizers; only the number of tokens up to it differs.
    """

    passes: int = 0
    documents: int = 0
    share: float = 0.0

    def tokens(self, shard: Shard) -> int:
        """Tokens of a shard up to here."""
        whole = int(shard.ends[self.documents - 1]) if self.documents else 0
        last = round(self.share * (int(shard.ends[self.documents]) - whole)) if self.share else 0
        return self.passes * (int(shard.ends[-1]) if self.passes else 0) + whole + last


def amounts_to(shard: Shard, point: Point, unit: str) -> dict[str, float]:
    """The amount up to a point, by language."""
    column = COLUMNS[unit]
    whole, part = shard.total(column), shard.total(column, point.documents)
    last = shard.amounts[point.documents, :, column] if point.share else np.zeros(len(shard.languages))
    return {
        code: point.passes * whole[code] + part[code] + point.share * float(extra)
        for code, extra in zip(shard.languages, last, strict=True)
    }


def locate(shard: Shard, amount: float, unit: str) -> Point:
    """The point at which `amount` of a source is reached, with repetition if the shard holds all of it."""
    column = COLUMNS[unit]
    available = sum(shard.total(column).values())
    passes = int(amount // available) if shard.whole else 0
    left = amount - passes * available
    if left >= available:
        assert left == available, f"{shard.source} is shorter than needed"
        return Point(0, shard.documents)
    documents = 0
    for block in range(0, shard.documents, 1 << 20):
        sizes = shard.amounts[block : block + (1 << 20), :, column].sum(axis=1, dtype=np.int64)
        sums = np.cumsum(sizes)
        if left < sums[-1]:
            index = int(np.searchsorted(sums, left, side="right"))
            before = int(sums[index - 1]) if index else 0
            return Point(passes, documents + index, float((left - before) / sizes[index]))
        left -= int(sums[-1])
        documents += len(sizes)
    return Point(passes, documents)

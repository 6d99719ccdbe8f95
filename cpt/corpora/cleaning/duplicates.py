"""Exact and near duplicates of earlier records.

Repeated text is memorised instead of learned from, and a crawl is full of it: boilerplate, mirrors, quotes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpt.corpora.cleaning.step import RecordResult, setting
from cpt.corpora.cleaning.units import Hashes, units
from cpt.corpora.reading.layout import Record

_SEED = 7
_RECALL = 0.9
"""Probability that a record exactly at the threshold of similarity is compared; above it nearly all are."""


@dataclass(frozen=True)
class Exact:
    """The same text or texts, ignoring case and white space. Takes about 70 bytes of memory per record."""

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        plain = "\x1f".join(" ".join(text.casefold().split()) for text in texts)
        digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return RecordResult(texts, sketch=int.from_bytes(digest, "little"))

    def memory(self) -> ExactDuplicates:
        return ExactDuplicates()


class ExactDuplicates:
    """Hashes of the records so far."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def known(self, sketch: int) -> str:
        return "exact duplicate" if sketch in self._hashes else ""

    def add(self, sketch: int) -> None:
        self._hashes.add(sketch)


@dataclass(frozen=True)
class Near:
    """Texts most of whose windows are those of a record before: MinHash, matched by bands and then compared as a whole.

    A pair is one record: the windows of both sides together. A text shorter than a window is one window.
    """

    similarity: float = setting(0.8, least=0.5, most=1)
    """Share of windows in common, of all windows of the two records (Jaccard), from which they are near duplicates."""
    ngram: int = setting(5, least=1, most=20)
    """Words of a window; where words are not spaced, as many characters as make about as much text (see units.py)."""
    permutations: int = setting(128, least=16, most=1024)
    """More of them estimate the similarity better, and take more memory."""

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        from rensa import RMinHash

        windows = np.concatenate([self._windows(text) for text in texts])
        if not len(windows):
            return RecordResult(texts)
        data = windows.astype("<u8").tobytes()
        sketch = RMinHash(self.permutations, _SEED)
        sketch.update([data[start : start + 8] for start in range(0, len(data), 8)])
        return RecordResult(texts, sketch=sketch)

    def memory(self) -> NearDuplicates:
        return NearDuplicates(self.similarity, self.permutations)

    def _windows(self, text: str) -> Hashes:
        of_text = units(text)
        windows = of_text.windows(self.ngram)
        return windows if len(windows) else of_text.whole()


class NearDuplicates:
    """Sketches of the records so far, by the library's index, which compares what shares a band."""

    def __init__(self, similarity: float, permutations: int) -> None:
        from rensa import RMinHashDeduplicator

        bands = _bands(similarity, permutations)
        self._index = RMinHashDeduplicator(similarity, permutations, True, num_bands=bands, seed=_SEED)
        self._count = 0

    def known(self, sketch: Any) -> str:
        return "near duplicate" if self._index.is_duplicate(str(self._count), sketch) else ""

    def add(self, sketch: Any) -> None:
        self._index.add(str(self._count), sketch)
        self._count += 1


def _bands(similarity: float, permutations: int) -> int:
    """The fewest bands that compare records at the threshold with the wanted chance; fewer bands take less memory."""
    options = [bands for bands in range(1, permutations + 1) if permutations % bands == 0]
    return next(bands for bands in options if 1 - (1 - similarity ** (permutations // bands)) ** bands >= _RECALL)

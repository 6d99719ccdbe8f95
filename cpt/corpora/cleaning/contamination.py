"""Training text that contains test sets, which would make scores worthless.

A text overlaps when it shares a window of `n` words with a test text, or holds a shorter test text between the borders
of its own sentences. Test texts of fewer than 4 words are left out: they are common phrases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.cleaning.step import RecordResult, setting
from cpt.corpora.cleaning.units import Hashes, units
from cpt.corpora.reading.layout import Record

SHORTEST = 4
"""Words of the shortest test text that is looked for."""
REASON = "test set overlap"
_PREFIX = 24
_REST, _BYTE, _BIT = np.uint64(64 - _PREFIX), np.uint64(3), np.uint64(7)


def ngram_index(test_texts: Iterable[str], n: int) -> Hashes:
    """Sorted hashes of the windows of test texts, for a contamination step of the same `n`."""
    hashes = [np.zeros(0, np.uint64)]
    for text in test_texts:
        of_text = units(text)
        if of_text.words >= n:
            hashes.append(of_text.windows(n))
        elif of_text.words >= SHORTEST:
            hashes.append(of_text.whole())
    return np.unique(np.concatenate(hashes))


@dataclass(frozen=True)
class Contamination:
    """Either side of a pair counts. `report` counts overlaps without removing them."""

    ngrams: Hashes = field(repr=False, compare=False)
    n: int = setting(8, least=SHORTEST, most=50)
    action: str = setting("remove", choices=("remove", "report"))

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        if not any(self._overlaps(text) for text in texts):
            return RecordResult(texts)
        return RecordResult(texts, removed=REASON) if self.action == "remove" else RecordResult(texts, notes=(REASON,))

    def _overlaps(self, text: str) -> bool:
        of_text = units(text)
        looked_up = np.concatenate([of_text.windows(self.n), of_text.sentences(SHORTEST, self.n)])
        prefixes = looked_up >> _REST
        looked_up = looked_up[(self._prefixes[prefixes >> _BYTE] >> (prefixes & _BIT).astype(np.uint8)) & 1 == 1]
        positions = np.searchsorted(self.ngrams, looked_up)
        known = positions < len(self.ngrams)
        return bool((self.ngrams[positions[known]] == looked_up[known]).any())

    @cached_property
    def _prefixes(self) -> NDArray[np.uint8]:
        """A bit for each beginning of a hash that the index has.

        Nearly all windows are ruled out by it, in a sixth of the time of searching the index for them. A Python set
        is slower than both together, and takes some 100 bytes a window in each process.
        """
        present = np.zeros(1 << _PREFIX, np.bool_)
        present[self.ngrams >> _REST] = True
        return np.packbits(present, bitorder="little")

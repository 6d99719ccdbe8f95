"""Windows over the words of a text, or over characters where no spaces separate words, for comparing texts.

A window is measured in words, of which an ideograph counts a half and a letter or mark of Thai, Lao, Myanmar or
Khmer a quarter: about the length of their words, so a window is about as telling in every script and may cross from
one script into another. Case, punctuation, spaces beside unspaced scripts and compatibility forms make no difference.
Windows are 64-bit hashes that depend on nothing but their text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_SPACE, _INVISIBLE, _SENTENCE_END, _WORD, _IDEOGRAPH, _UNSPACED = range(6)
_WEIGHTS = np.array([0, 0, 0, 4, 2, 1])
"""Weight of a unit by its kind; a word has weight 4."""
_KNOWN = 0x32000
"""Code points from here on are no letters."""
_IDEOGRAPHS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, _KNOWN - 1))
_UNSPACED_LETTERS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0x1780, 0x17FF))
_SENTENCE_ENDS = "\n.!?…。।॥။។៕"
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


@dataclass(frozen=True)
class Units:
    """Words and characters of a text, with what the hash of any stretch of them follows from."""

    borders: NDArray[np.int64]
    """Index of the first letter of each unit, then the number of letters."""
    amounts: NDArray[np.int64]
    """Weight of what stands before each border."""
    opens: NDArray[np.bool_]
    """Whether a sentence begins, or the last one ends, at a border."""
    sums: Hashes
    """Sums of letters times powers of the base, before each letter."""

    def windows(self, words: int) -> Hashes:
        """Every stretch of that many words; none where the text is shorter."""
        last = np.searchsorted(self.amounts, self.amounts + words * _WEIGHTS[_WORD])
        first = np.flatnonzero(last < len(self.amounts))
        return self._hashes(first, last[first])

    def whole(self) -> Hashes:
        """The text as one stretch; none where it has no letters."""
        some = np.zeros(min(1, len(self.amounts) - 1), np.int64)
        return self._hashes(some, some + len(self.amounts) - 1)

    def sentences(self, least: int, below: int) -> Hashes:
        """Every sequence of whole sentences with at least `least` and fewer than `below` words."""
        borders = np.flatnonzero(self.opens)
        parts = [np.zeros(0, np.uint64)]
        for count in range(1, len(borders)):
            amount = self.amounts[borders[count:]] - self.amounts[borders[:-count]]
            short = amount < below * _WEIGHTS[_WORD]
            if not short.any():
                break
            fitting = np.flatnonzero(short & (amount >= least * _WEIGHTS[_WORD]))
            parts.append(self._hashes(borders[fitting], borders[fitting + count]))
        return np.concatenate(parts)

    @property
    def words(self) -> float:
        return float(self.amounts[-1]) / float(_WEIGHTS[_WORD])

    def _hashes(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> Hashes:
        start = self.borders[first]
        return (self.sums[self.borders[last]] - self.sums[start]) * _powers(_INVERSE, len(self.sums))[start]


def units(text: str) -> Units:
    folded = unicodedata.normalize("NFKC", text).casefold()
    codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds()[np.minimum(codes, _KNOWN)]
    seen = kinds != _INVISIBLE
    codes, kinds = codes[seen], kinds[seen]
    in_word = kinds == _WORD
    begins = in_word.copy()
    begins[1:] &= ~in_word[:-1]
    letter = kinds >= _WORD
    unit = (begins | (kinds > _WORD))[letter]
    # That a word begins is part of its first letter, so that "to day" and "today" differ without their spaces.
    values = _mixed(codes[letter].astype(np.uint64) | (begins[letter].astype(np.uint64) << np.uint64(32)))
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _powers(_BASE, len(values)), out=sums[1:])
    starts = np.flatnonzero(unit)
    ended = np.cumsum(kinds == _SENTENCE_END)[letter][starts]
    return Units(
        borders=np.append(starts, len(values)),
        amounts=np.concatenate([[0], np.cumsum(_WEIGHTS[kinds[letter][starts]])]),
        opens=np.append(np.diff(ended, prepend=-1) > 0, True),
        sums=sums,
    )


@cache
def _kinds() -> NDArray[np.uint8]:
    """Kind of each code point; marks are part of words."""
    kinds = np.full(_KNOWN + 1, _SPACE, np.uint8)
    for code in range(_KNOWN):
        category = unicodedata.category(chr(code))
        if category[0] in "LMN":
            kinds[code] = _WORD
        elif category == "Cf":
            kinds[code] = _INVISIBLE
    for ranges, kind in ((_IDEOGRAPHS, _IDEOGRAPH), (_UNSPACED_LETTERS, _UNSPACED)):
        for first, last in ranges:
            among = kinds[first : last + 1]
            among[among == _WORD] = kind
    kinds[[ord(mark) for mark in _SENTENCE_ENDS]] = _SENTENCE_END
    return kinds


def _mixed(values: Hashes) -> Hashes:
    """Numbers spread over 64 bits, each by itself (the finaliser of SplitMix64)."""
    values = (values + np.uint64(1)) * np.uint64(_BASE)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _powers(base: int, count: int) -> Hashes:
    return _power_table(base, max(1 << 14, 1 << (count - 1).bit_length()))[:count] if count else np.zeros(0, np.uint64)


@cache
def _power_table(base: int, count: int) -> Hashes:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)

"""A training document, whose every stretch of text knows its language, and the unit `words`: an amount of text that
does not depend on any tokenizer."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODE = "code"
"""Used as the language of source code."""

# Ideographs and kana, each a word of its own.
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Runs of Thai, Lao, Myanmar or Khmer, written without spaces between words.
_UNSPACED_RUN = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\u1780-\u17ff]+")
_MARKS = re.compile(
    r"[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    r"\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    r"\u17b4-\u17d3\u17dd]"
)
LETTERS_PER_UNSPACED_WORD = 4
"""Mean length of a word, in base letters, assumed for South-East Asian scripts without spaces."""

_SPACE, _UNSPACED = 1, 2


def _kinds() -> NDArray[np.uint8]:
    """The kind of each code point, as a lookup table."""
    kinds = np.zeros(0x110000, dtype=np.uint8)
    kinds[[number for number in range(0x3001) if chr(number).isspace()]] = _SPACE
    for pattern in (_HAN, _UNSPACED_RUN):
        for first, last in re.findall(r"([^\[\]])-([^\[\]])", pattern.pattern.encode().decode("unicode_escape")):
            kinds[ord(first) : ord(last) + 1] = _UNSPACED
    return kinds


_KINDS = _kinds()


def count_words(text: str) -> int:
    """Words of a text: what spaces separate; where a script has no spaces, one per ideograph or per 4 letters.

    The study's counts are word-like without naming their counter; this one is ours, the same for every model.
    """
    kinds = _KINDS[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]
    if not (kinds == _UNSPACED).any():
        inside = kinds != _SPACE
        return int(np.count_nonzero(inside[1:] & ~inside[:-1])) + int(inside[:1].any())
    ideographs = len(_HAN.findall(text))
    unspaced = 0
    for run in _UNSPACED_RUN.findall(text):
        letters = len(_MARKS.sub("", run))
        unspaced += -(-letters // LETTERS_PER_UNSPACED_WORD)
    rest = _UNSPACED_RUN.sub(" ", _HAN.sub(" ", text))
    spaced = sum(any(character.isalnum() for character in token) for token in rest.split())
    return ideographs + unspaced + spaced


@dataclass(frozen=True)
class Doc:
    """One training document: consecutive stretches of text, each in one language."""

    parts: tuple[tuple[str, str], ...]
    """(language, text) pairs; the document is their concatenation. Markup around texts has no language."""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.parts)

    def words(self) -> dict[str, int]:
        """Amount of text by language; markup is none, so formats do not change how much text a budget takes."""
        amounts: dict[str, int] = {}
        for code, text in self.parts:
            if code:
                amounts[code] = amounts.get(code, 0) + count_words(text)
        return amounts

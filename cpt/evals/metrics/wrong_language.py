"""Which texts are not in the language that was asked for, as far as an identifier and the script can tell.

An identifier takes good Zulu for Xhosa now and then, and a share of wrong texts would count that. The references are
in the target language whatever it says, so they tell which of its labels to believe, and from which confidence on.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.language_identifier import Identifier
from cpt.corpora.sentences import english_sentences
from cpt.languages import language

LEAST_LETTERS = 12
"""Below, a text is too short to be judged: a name, an abbreviation, one or two words. An ideograph counts three."""
LEAST_CONFIDENCE = 0.5
"""Below, a label says nothing. Unsure is right: garbled text is no other language."""
SATURATED = 0.99
"""Above, one confidence says no more than another."""
FALSE_ALARMS = 0.01
"""Of texts in the target language, at most so many are taken for another by their label, by what is asked of labels."""
OWN_SCRIPT = 0.1
"""A script with this share of the references' letters is one the language is written in; with less, it is of names."""
MOSTLY = 0.5
"""A text with more of its letters than this in scripts not its own is in another language, whatever it is labelled."""
COUNTED_BY_LENGTH = ("Thai", "Laoo", "Mymr")
"""Scripts in which no mark ends a sentence: phrases stand between spaces, and spaces within phrases."""

Found = Mapping[str, tuple[str, float]]
"""What an identifier says of texts."""
Pieces = list[tuple[str, float]]
"""Parts of a text that are judged, and how many sentences each counts for."""
_STOPS = re.compile("(?<=[。！？।॥។៕])")
_LETTERS_TO = 0x32000
_WEIGHTS = {"CJK": 3, "HANGUL": 2, "HIRAGANA": 2, "KATAKANA": 2}


def found_in(identifier: Identifier, texts: Iterable[str]) -> Found:
    """Each text is looked at once: most outputs are one sentence, and some models give many alike."""
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, identifier.predict(unique), strict=True))


@dataclass(frozen=True)
class Writing:
    """How a language is written, as its references show: in which scripts, and how long an item is in them."""

    target: str
    own: NDArray[np.bool_]
    """By number of the script."""
    item: float
    """Letters of an item, on average."""
    inset: float
    """Letters from which a stretch of another script is more than a name within a text."""

    @classmethod
    def of(cls, references: Sequence[str], target: str) -> Writing:
        counts = sum((_letters(text) for text in references), np.zeros(len(_scripts()[2])))
        own = counts >= OWN_SCRIPT * max(1.0, float(counts.sum()))
        bare = cls(target, own, max(1.0, float(counts[own].sum()) / max(1, len(references))), LEAST_LETTERS)
        if not bare.by_length:
            return bare
        others = [
            max([bare.amount(part) for part, ours in bare._stretches(text) if not ours], default=0)
            for text in references
        ]
        longest = float(np.quantile(others, 1 - FALSE_ALARMS, method="higher")) if others else 0.0
        return cls(target, own, bare.item, max(LEAST_LETTERS, longest + 1))

    @property
    def by_length(self) -> bool:
        return language(self.target).script in COUNTED_BY_LENGTH

    def amount(self, text: str) -> float:
        """Letters and vowel signs, in any script."""
        return float(_letters(text).sum())

    def foreign(self, text: str) -> float:
        """Share of them in scripts that are not the language's."""
        counts = _letters(text)
        return float(counts[~self.own].sum() / max(1.0, counts.sum()))

    def judged(self, text: str) -> bool:
        return self.amount(text) >= LEAST_LETTERS

    def whole(self, text: str) -> Pieces:
        return [(text, 1.0)] if self.judged(text) else []

    def sentences(self, text: str) -> Pieces:
        """Sentences that can be judged, each with how many it counts for; the text as one where all are too short.

        A sentence counts one. Where none are marked, a stretch in the language's script counts by its length, an
        average reference being one; other scripts within are cut at their marks, unless as short as a name.
        """
        if not self.by_length:
            return self._marked(text) or self.whole(text)
        parts = [(self._long if own else self._marked)(part) or self.whole(part) for part, own in self._stretches(text)]
        return [piece for part in parts for piece in part]

    def _marked(self, text: str) -> Pieces:
        """Cut as English is and at other scripts' marks, whatever the target: the language is what is to be told."""
        parts = (part for line in text.splitlines() for part in english_sentences(line))
        cut = (piece for part in parts for piece in _STOPS.split(part))
        return [(piece, 1.0) for piece in cut if self.judged(piece)]

    def _long(self, stretch: str) -> Pieces:
        amount = self.amount(stretch)
        return [(stretch, amount / self.item)] if amount >= LEAST_LETTERS else []

    def _stretches(self, text: str) -> list[tuple[str, bool]]:
        """The text cut where its script changes to or from the language's own; what is as short as a name changes
        nothing."""
        ids = _scripts()[0][_codes(text)]
        places = np.flatnonzero(ids)
        ours = self.own[ids[places]]
        changes = places[1:][ours[1:] != ours[:-1]]
        merged: list[tuple[str, bool]] = []
        for index, (start, end) in enumerate(pairwise([0, *changes.tolist(), len(text)])):
            part, own = text[start:end], not len(ours) or bool(ours[0]) ^ bool(index % 2)
            if self.amount(part) < (LEAST_LETTERS if own else self.inset):
                own = merged[-1][1] if merged else True
            if merged and merged[-1][1] == own:
                merged[-1] = (merged[-1][0] + part, own)
            else:
                merged.append((part, own))
        return merged


@dataclass(frozen=True)
class Judge:
    """Tells texts in another language from those in the target's."""

    writing: Writing
    asked: Mapping[str, float]
    """Confidence above which a label is believed, for those that references are often given; 1 is for never."""

    @classmethod
    def taught(cls, writing: Writing, references: Sequence[str], found: Found) -> Judge:
        """By texts that are in the target language: so few of them are judged wrong by their label that of others like
        them no more than `FALSE_ALARMS` will be, which is two standard errors fewer.

        The labels they are most often given are asked for more than any of them has, one label after the other. So
        Xhosa may be hard to find among Zulu, and English as easy as ever. Few references do not tell how high the
        highest may be: such a label is then not believed at all.
        """
        expected = FALSE_ALARMS * len(references)
        alarms: dict[str, list[float]] = {}
        for label, sure in (found[text] for text in references):
            if label != writing.target and sure >= LEAST_CONFIDENCE:
                alarms.setdefault(label, []).append(sure)
        asked: dict[str, float] = {}
        left = sum(map(len, alarms.values()))
        for label in sorted(alarms, key=lambda label: (-len(alarms[label]), label)):
            if left <= max(0.0, expected - 2 * math.sqrt(expected)):
                break
            highest = max(alarms[label])
            asked[label] = highest if highest < SATURATED and expected >= 1 else 1.0
            left -= len(alarms[label])
        return cls(writing, asked)

    def row(self, pieces: Pieces, found: Found) -> list[float]:
        """How much of an item is wrong, and how much of it is judged."""
        return [sum(count for text, count in pieces if self.wrong(text, found)), sum(count for _, count in pieces)]

    def wrong(self, text: str, found: Found) -> bool:
        label, sure = found[text]
        believed = sure >= LEAST_CONFIDENCE and sure > self.asked.get(label, 0.0)
        return (believed and label != self.writing.target) or self.writing.foreign(text) > MOSTLY

    def told(self) -> str:
        """From which confidence on labels are believed."""
        limits = {label: f"above {sure:.3g}" if sure < 1 else "never" for label, sure in sorted(self.asked.items())}
        return ", ".join([f"confidence {LEAST_CONFIDENCE}", *(f"{label} {limit}" for label, limit in limits.items())])


@lru_cache(maxsize=1 << 13)
def _letters(text: str) -> NDArray[np.float64]:
    """Letters and vowel signs by the number of their script; asked of a text by several metrics."""
    ids, weights, names = _scripts()
    codes = _codes(text)
    return np.asarray(np.bincount(ids[codes], weights[codes], minlength=len(names)), np.float64)


def _codes(text: str) -> NDArray[np.int64]:
    return np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), _LETTERS_TO).astype(np.int64)


@cache
def _scripts() -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...]]:
    """Of each code point the number of its script and how much it counts; number 0 is no letter, or of no script.

    A character's name begins with its script. Accents and the letters that modify others belong to any.
    """
    ids, weights = np.zeros(_LETTERS_TO + 1, np.int64), np.zeros(_LETTERS_TO + 1)
    numbers = {"": 0}
    for code in range(_LETTERS_TO):
        category = unicodedata.category(chr(code))
        if category[0] not in "LM" or category == "Lm":
            continue
        words = unicodedata.name(chr(code), "").split(" ")
        name = words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") else words[0]
        if name in ("", "COMBINING", "VARIATION"):
            continue
        ids[code] = numbers.setdefault(name, len(numbers))
        weights[code] = _WEIGHTS.get(name, 1)
    return ids, weights, tuple(numbers)

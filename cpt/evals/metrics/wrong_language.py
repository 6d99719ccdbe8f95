"""Texts that are not in the target language, according to a language identifier and the script.

An identifier sometimes takes good Zulu for Xhosa, which would count as a wrong text. The references are known to be in
the target language, so they calibrate which labels to trust, and from which confidence on.
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

MIN_LETTERS = 12
"""Shorter texts are not judged: a name, an abbreviation, one or two words. An ideograph counts three."""
MIN_CONFIDENCE = 0.5
"""Labels with a lower confidence are ignored: garbled text is no other language."""
SATURATED = 0.99
"""Higher confidences are equivalent."""
FALSE_ALARM_RATE = 0.01
"""The share of texts in the target language that may be labelled as another after calibration."""
OWN_SCRIPT = 0.1
"""The least share of the references' letters of a script that the language is written in."""
MOSTLY = 0.5
"""A text with a larger share of letters in foreign scripts is in another language, whatever its label."""
COUNTED_BY_LENGTH = ("Thai", "Laoo", "Mymr")
"""Scripts without marks at the end of a sentence."""

Labels = Mapping[str, tuple[str, float]]
"""The label and confidence of each text."""
Pieces = list[tuple[str, float]]
"""The judged parts of a text, and how many sentences each counts for."""
_STOPS = re.compile("(?<=[。！？।॥។៕])")
_LETTERS_TO = 0x32000
_WEIGHTS = {"CJK": 3, "HANGUL": 2, "HIRAGANA": 2, "KATAKANA": 2}


def identify_texts(identifier: Identifier, texts: Iterable[str]) -> Labels:
    """Identify each distinct text once: most outputs are one sentence, and some models repeat theirs."""
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, identifier.predict(unique), strict=True))


@dataclass(frozen=True)
class Writing:
    """The scripts and the typical length of a language's references."""

    target: str
    own: NDArray[np.bool_]
    """By script number."""
    item: float
    """Mean letters per item."""
    inset: float
    """Letters from which a stretch in another script is more than a name."""

    @classmethod
    def of(cls, references: Sequence[str], target: str) -> Writing:
        counts = sum((_letters(text) for text in references), np.zeros(len(_scripts()[2])))
        own = counts >= OWN_SCRIPT * max(1.0, float(counts.sum()))
        bare = cls(target, own, max(1.0, float(counts[own].sum()) / max(1, len(references))), MIN_LETTERS)
        if not bare.by_length:
            return bare
        others = [
            max([bare.amount(part) for part, ours in bare._stretches(text) if not ours], default=0)
            for text in references
        ]
        longest = float(np.quantile(others, 1 - FALSE_ALARM_RATE, method="higher")) if others else 0.0
        return cls(target, own, bare.item, max(MIN_LETTERS, longest + 1))

    @property
    def by_length(self) -> bool:
        return language(self.target).script in COUNTED_BY_LENGTH

    def amount(self, text: str) -> float:
        """Letters and vowel signs, in any script."""
        return float(_letters(text).sum())

    def foreign(self, text: str) -> float:
        """Share of letters in scripts that are not the language's."""
        counts = _letters(text)
        return float(counts[~self.own].sum() / max(1.0, counts.sum()))

    def long_enough(self, text: str) -> bool:
        return self.amount(text) >= MIN_LETTERS

    def whole(self, text: str) -> Pieces:
        return [(text, 1.0)] if self.long_enough(text) else []

    def sentences(self, text: str) -> Pieces:
        """Sentences that are long enough to be judged, or else the whole text; each counts one.

        In scripts without sentence marks, a stretch counts by its length relative to an average reference; stretches
        in other scripts, unless as short as a name, are cut at their marks.
        """
        if not self.by_length:
            return self._marked(text) or self.whole(text)
        parts = [
            (self._by_length if own else self._marked)(part) or self.whole(part) for part, own in self._stretches(text)
        ]
        return [piece for part in parts for piece in part]

    def _marked(self, text: str) -> Pieces:
        """Cut as in English and at other scripts' marks, since the language is not known yet."""
        parts = (part for line in text.splitlines() for part in english_sentences(line))
        cut = (piece for part in parts for piece in _STOPS.split(part))
        return [(piece, 1.0) for piece in cut if self.long_enough(piece)]

    def _by_length(self, stretch: str) -> Pieces:
        amount = self.amount(stretch)
        return [(stretch, amount / self.item)] if amount >= MIN_LETTERS else []

    def _stretches(self, text: str) -> list[tuple[str, bool]]:
        """Cut the text where its script changes to or from the language's own; short stretches do not count."""
        ids = _scripts()[0][_codes(text)]
        positions = np.flatnonzero(ids)
        ours = self.own[ids[positions]]
        changes = positions[1:][ours[1:] != ours[:-1]]
        merged: list[tuple[str, bool]] = []
        for index, (start, end) in enumerate(pairwise([0, *changes.tolist(), len(text)])):
            part, own = text[start:end], not len(ours) or bool(ours[0]) ^ bool(index % 2)
            if self.amount(part) < (MIN_LETTERS if own else self.inset):
                own = merged[-1][1] if merged else True
            if merged and merged[-1][1] == own:
                merged[-1] = (merged[-1][0] + part, own)
            else:
                merged.append((part, own))
        return merged


@dataclass(frozen=True)
class LanguageJudge:
    """Recognises texts that are not in the target language."""

    writing: Writing
    thresholds: Mapping[str, float]
    """For labels that references often get: the confidence above which they are trusted; 1 means never."""

    @classmethod
    def calibrated(cls, writing: Writing, references: Sequence[str], labels: Labels) -> LanguageJudge:
        """Set thresholds so that false alarms among the references stay two standard errors below `FALSE_ALARM_RATE`.

        The most frequent wrong labels, one after the other, get the highest confidence seen as threshold. So Xhosa may
        be hard to detect among Zulu, and English as easy as before. With few references the highest confidence is not
        known, so such a label is never trusted.
        """
        expected = FALSE_ALARM_RATE * len(references)
        alarms: dict[str, list[float]] = {}
        for label, confidence in (labels[text] for text in references):
            if label != writing.target and confidence >= MIN_CONFIDENCE:
                alarms.setdefault(label, []).append(confidence)
        thresholds: dict[str, float] = {}
        left = sum(map(len, alarms.values()))
        for label in sorted(alarms, key=lambda label: (-len(alarms[label]), label)):
            if left <= max(0.0, expected - 2 * math.sqrt(expected)):
                break
            highest = max(alarms[label])
            thresholds[label] = highest if highest < SATURATED and expected >= 1 else 1.0
            left -= len(alarms[label])
        return cls(writing, thresholds)

    def row(self, pieces: Pieces, labels: Labels) -> list[float]:
        """The wrong and the judged amount of an item."""
        return [sum(count for text, count in pieces if self.wrong(text, labels)), sum(count for _, count in pieces)]

    def wrong(self, text: str, labels: Labels) -> bool:
        label, confidence = labels[text]
        trusted = confidence >= MIN_CONFIDENCE and confidence > self.thresholds.get(label, 0.0)
        return (trusted and label != self.writing.target) or self.writing.foreign(text) > MOSTLY

    def description(self) -> str:
        """The thresholds, for signatures."""
        limits = {
            label: f"above {confidence:.3g}" if confidence < 1 else "never"
            for label, confidence in sorted(self.thresholds.items())
        }
        return ", ".join([f"confidence {MIN_CONFIDENCE}", *(f"{label} {limit}" for label, limit in limits.items())])


@lru_cache(maxsize=1 << 13)
def _letters(text: str) -> NDArray[np.float64]:
    """Letters and vowel signs by script number; cached, since several metrics use it."""
    ids, weights, names = _scripts()
    codes = _codes(text)
    return np.asarray(np.bincount(ids[codes], weights[codes], minlength=len(names)), np.float64)


def _codes(text: str) -> NDArray[np.int64]:
    return np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), _LETTERS_TO).astype(np.int64)


@cache
def _scripts() -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...]]:
    """The script number and weight of each code point, and the scripts' names; 0 means no letter, or no script.

    A character's Unicode name begins with its script. Accents and modifier letters belong to no script.
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

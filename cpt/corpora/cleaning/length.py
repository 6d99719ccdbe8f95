"""Limits on the size of texts: what is too short to teach anything, too long to be a text, or a pair in name only."""

from __future__ import annotations

from dataclasses import dataclass

from cpt.corpora.cleaning.step import RecordResult, setting
from cpt.corpora.document import count_words
from cpt.corpora.reading.layout import Record
from cpt.errors import config_error


@dataclass(frozen=True)
class Length:
    """Words of each text, in the unit of the study."""

    least_words: int = setting(1, least=1)
    most_words: int = setting(100_000, least=1)

    def __post_init__(self) -> None:
        if self.least_words > self.most_words:
            raise config_error(
                "cleaning.steps.length.most_words", self.most_words, f"less than least_words={self.least_words}"
            )

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        words = [count_words(text) for text in texts]
        if min(words) < self.least_words:
            return RecordResult(texts, removed="too short")
        return RecordResult(texts, removed="too long" if max(words) > self.most_words else "")


@dataclass(frozen=True)
class Ratio:
    """The longer side of a sentence pair over the shorter, in characters; single texts pass.

    The default leaves room for Chinese, whose sentences are a third to a fifth as long as their translations.
    """

    most: float = setting(9.0, least=1)

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        if len(texts) == 1:
            return RecordResult(texts)
        if len({" ".join(text.casefold().split()) for text in texts}) == 1:
            return RecordResult(texts, removed="source copied")
        shorter, longer = sorted(len(text) for text in texts)
        return RecordResult(texts, removed="sides of unlike length" if longer > self.most * shorter else "")

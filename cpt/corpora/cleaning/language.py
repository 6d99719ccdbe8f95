"""Texts in another language than expected: whole texts, and documents with sentences of other languages inside.

Documents with other languages inside ("bilingual instances") would teach translation to runs that are meant to see one
language at a time. The study removes a document unless all its sentences get the same label; that misses documents in
scripts its sentence splitter does not know, and takes any label at any confidence. Both that procedure and a sound one
are offered, by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpt.corpora.cleaning.step import RecordResult, setting
from cpt.corpora.document import CODE
from cpt.corpora.language_identifier import Identifier
from cpt.corpora.reading.layout import Record
from cpt.corpora.sentences import english_sentences, letters, sentences


@dataclass(frozen=True)
class LanguageStep:
    """Each text as a whole must be identified as in its language, with at least that confidence. Code passes."""

    identifier: Identifier
    least: float = setting(0.5, least=0, most=1)

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        judged = [(text, code) for text, code in zip(texts, languages, strict=True) if code != CODE]
        predictions = self.identifier.predict([text for text, _ in judged])
        for (label, confidence), (_, expected) in zip(predictions, judged, strict=True):
            if confidence < self.least:
                return RecordResult(texts, removed="uncertain language")
            if label != expected:
                return RecordResult(texts, removed="wrong language")
        return RecordResult(texts)


SHORTEST = 20
"""Letters below which identifiers guess: shorter sentences are judged together with neighbours, or not at all."""


@dataclass(frozen=True)
class Instances:
    """Documents only: sentence pairs and code pass.

    `published`: English sentence splitting; removed unless all sentences get the same label, whichever it is.
    `sound`: the language's own splitting; a sentence counts where the identifier is confident, and a document is
    removed for too much text in other languages, or for no sentence in its own.
    """

    identifier: Identifier
    behaviour: str = setting("sound", choices=("sound", "published"))
    least: float = setting(0.5, least=0, most=1)
    """Confidence below which a sentence says nothing; of `sound`, as is the next."""
    most_other: float = setting(0.1, least=0, most=1)
    """Share of a document's letters that may be in other languages, for names, titles and quotes."""

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        if len(texts) > 1 or languages[0] == CODE:
            return RecordResult(texts)
        judge = self._published if self.behaviour == "published" else self._sound
        return RecordResult(texts, removed=judge(texts[0], languages[0]))

    def _published(self, text: str, expected: str) -> str:
        labels = {label for label, _ in self.identifier.predict(english_sentences(text))}
        return "more than one language" if len(labels) > 1 else ""

    def _sound(self, text: str, expected: str) -> str:
        pieces = _judgeable(sentences(text, expected))
        if not pieces:
            return ""
        predictions = self.identifier.predict([piece for piece, _ in pieces])
        confident = [
            (label, count) for (label, sure), (_, count) in zip(predictions, pieces, strict=True) if sure >= self.least
        ]
        if not any(label == expected for label, _ in confident):
            return "not the expected language"
        other = sum(count for label, count in confident if label != expected)
        return "other languages inside" if other > self.most_other * letters(text) else ""


def _judgeable(parts: list[str]) -> list[tuple[str, int]]:
    """Sentences long enough to judge, with their letters; short ones are joined to short neighbours alone.

    So a long sentence is always judged by itself, and a language change beside it is not blurred.
    """
    pieces: list[tuple[str, int]] = []
    short: list[str] = []
    held = 0
    for part in parts:
        count = letters(part)
        if count >= SHORTEST:
            pieces.append((part, count))
            short, held = [], 0
            continue
        short.append(part)
        held += count
        if held >= SHORTEST:
            pieces.append((" ".join(short), held))
            short, held = [], 0
    return pieces

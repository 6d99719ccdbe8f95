"""Bilingual instances: documents of one language with sentences of another inside.

They would teach translation to the runs that are meant to see one language at a time. The study removes a document
unless all its sentences get one and the same label; that misses documents in scripts its sentence splitter does not
know, and takes any label at any confidence. Both that procedure and a sound one are offered, by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpt.corpora.cleaning.base import Look
from cpt.corpora.cleaning.settings import setting
from cpt.corpora.document import CODE
from cpt.corpora.identify.base import Identifier
from cpt.corpora.reading.base import Record
from cpt.corpora.sentences import english_sentences, letters, sentences

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

    def look(self, texts: Record, languages: tuple[str, ...]) -> Look:
        if len(texts) > 1 or languages[0] == CODE:
            return Look(texts)
        judge = self._published if self.behaviour == "published" else self._sound
        return Look(texts, removed=judge(texts[0], languages[0]))

    def _published(self, text: str, expected: str) -> str:
        labels = {label for label, _ in self.identifier.predict(english_sentences(text))}
        return "more than one language" if len(labels) > 1 else ""

    def _sound(self, text: str, expected: str) -> str:
        pieces = _judgeable(sentences(text, expected))
        if not pieces:
            return ""
        found = self.identifier.predict([piece for piece, _ in pieces])
        confident = [
            (label, count) for (label, sure), (_, count) in zip(found, pieces, strict=True) if sure >= self.least
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

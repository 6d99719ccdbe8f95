"""Texts that are not in the language they are filed under, as crawled corpora of small languages often are."""

from __future__ import annotations

from dataclasses import dataclass

from cpt.corpora.cleaning.base import Look
from cpt.corpora.cleaning.settings import setting
from cpt.corpora.document import CODE
from cpt.corpora.identify.base import Identifier
from cpt.corpora.reading.base import Record


@dataclass(frozen=True)
class Language:
    """Each text as a whole must be identified as in its language, with at least that confidence. Code passes."""

    identifier: Identifier
    least: float = setting(0.5, least=0, most=1)

    def look(self, texts: Record, languages: tuple[str, ...]) -> Look:
        judged = [(text, code) for text, code in zip(texts, languages, strict=True) if code != CODE]
        found = self.identifier.predict([text for text, _ in judged])
        for (label, confidence), (_, expected) in zip(found, judged, strict=True):
            if confidence < self.least:
                return Look(texts, removed="uncertain language")
            if label != expected:
                return Look(texts, removed="wrong language")
        return Look(texts)

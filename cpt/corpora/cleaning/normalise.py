"""One way to write the same text: Unicode form, line ends and white space, so that equal texts are equal bytes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, cast

from cpt.corpora.cleaning.step import RecordResult, setting
from cpt.corpora.document import CODE
from cpt.corpora.reading.layout import Record

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Control characters, halves of surrogate pairs, and byte order marks. The joiners U+200C and U+200D stay: Indic and
# Arabic scripts spell with them.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")
# Thai, Lao, Myanmar and Khmer may mark the borders of words by U+200B; in other scripts it is an error.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\u1780-\u17ff"
_STRAY_BREAK = re.compile(f"(?<![{_SPACELESS}])\u200b+(?![{_SPACELESS}\u200b])")
_EMPTY_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True)
class Normalise:
    """Text without anything but white space is removed. Code keeps its indentation and its empty lines."""

    form: str = setting("NFC", choices=("NFC", "NFKC", "NFD", "NFKD"))

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        clean = tuple(self._text(text, code) for text, code in zip(texts, languages, strict=True))
        return RecordResult(clean, removed="" if all(clean) else "empty")

    def _text(self, text: str, code: str) -> str:
        text = _LINE_ENDS.sub("\n", text)
        text = _UNWANTED.sub("", text)
        if "\u200b" in text:
            text = _STRAY_BREAK.sub("", text)
        text = unicodedata.normalize(cast("Literal['NFC', 'NFKC', 'NFD', 'NFKD']", self.form), text)
        text = "\n".join(line.rstrip() for line in text.split("\n"))
        if code == CODE:
            return text.strip("\n")
        return _EMPTY_LINES.sub("\n\n", text).strip()

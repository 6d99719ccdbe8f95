"""Sentences of a text in any language of the registry, and as the study's English splitter would see them.

What ends a sentence depends on the script. Thai and Lao have no mark for it: their phrases stand between spaces.
"""

from __future__ import annotations

import re

import sentencex

from cpt.languages import Language, language

_CLOSERS = "[\"'”’»)\\]」』）]*"
_SPACELESS = "[\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff]"
_ASCII_END = f"[.!?]+{_CLOSERS}\\s+"
# "…។ល។" is "and so on"; its letter is not to be left to the next sentence.
_KHMER = re.compile(f"(?:។ល។|[។៕!?！？])+{_CLOSERS}\\s*|{_ASCII_END}")
_MYANMAR = re.compile(f"[။!?]+{_CLOSERS}\\s*|{_ASCII_END}")
# Spaces between words of another script are not between phrases.
_PHRASES = re.compile(f"(?<={_SPACELESS})\\s+|\\s+(?={_SPACELESS})|{_ASCII_END}")
_PUNKT = re.compile(f"[.!?]{_CLOSERS}\\s+\\Z")
SHORTEST_PHRASE = 4
"""Letters below which what stands between two spaces is a number, a repeated mark or a particle, not a phrase."""


def sentences(text: str, language_code: str) -> list[str]:
    """Sentences without the white space around them; a line break always ends one."""
    item = language(language_code)
    return [sentence for line in text.splitlines() if (bare := line.strip()) for sentence in _of_line(bare, item)]


def english_sentences(text: str) -> list[str]:
    """Sentences as English splitting finds them, whatever the language: after `.`, `!` or `?` and white space.

    The study split with NLTK's English punkt, whose model has to be downloaded. This takes sentencex's English, which
    knows abbreviations too, and undoes what punkt does not do: it knows no other marks, so Chinese, Khmer, Thai or
    Marathi documents stay one sentence, and line breaks end none.
    """
    result = []
    held = ""
    for piece in sentencex.segment("en", text):
        held += piece
        if _PUNKT.search(held, max(0, len(held) - len(piece) - 8)):
            result.append(held.strip())
            held = ""
    return result + [held.strip()] * bool(held.strip())


def letters(text: str) -> int:
    """Letters without their marks; digits and punctuation do not count."""
    return sum(map(str.isalpha, text))


def _of_line(line: str, item: Language) -> list[str]:
    if item.script == "Khmr":
        return _cut(line, _KHMER)
    if item.script == "Mymr" and "။" in line:  # Burmese ends its sentences so; Shan may, or only leaves spaces
        return _cut(line, _MYANMAR)
    if item.script in ("Thai", "Laoo", "Mymr"):
        return _cut(line, _PHRASES, SHORTEST_PHRASE)
    # It falls back to English for languages it does not know, and knows the marks of all scripts but those above.
    return [piece for part in sentencex.segment(item.madlad or item.code[:3], line) if (piece := part.strip())]


def _cut(line: str, border: re.Pattern[str], least: int = 0) -> list[str]:
    """The line cut after each border; a piece of fewer letters stays with the one before, the first with the next."""
    borders = [0, *(match.end() for match in border.finditer(line) if match.end() < len(line))]
    starts: list[int] = []
    for start, end in zip(borders, [*borders[1:], len(line)], strict=True):
        if not starts or min(letters(line[start:end]), letters(line[starts[-1] : start])) >= least:
            starts.append(start)
    return [line[start:end].strip() for start, end in zip(starts, [*starts[1:], len(line)], strict=True)]

"""A source: a corpus of one kind, read as documents whose every stretch of text knows its language."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.corpora.reading.base import Volume
from cpt.corpora.text import count_words
from cpt.errors import UserError

if TYPE_CHECKING:
    from cpt.corpora.bitext import BitextFormat
    from cpt.corpora.cleaning import Cleaning

CODE = "code"
"""What stands in place of a language for programming languages."""


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


@dataclass(frozen=True)
class Source:
    """Where documents of one kind come from, how they are cleaned, and the form they take."""

    name: str
    languages: tuple[str, ...]
    fingerprint: str
    """Of the content as stored; another content gives another."""
    volumes: Callable[[], tuple[Volume, ...]] = field(compare=False)
    """The files to read, in their order."""
    form: BitextFormat | None = None
    """How sentence pairs become documents; none for whole documents."""
    newline: str = ""
    """What stands for a line break in the stored texts, where that is not a line break."""
    cleaning_key: str = ""
    """What cleaning does, in words that change with it; empty for none."""
    cleaning: Callable[[], Cleaning] | None = field(default=None, compare=False)
    remote: bool = False
    """Whether it is read over a network: then its text is fetched once, as far as any run needs it."""
    check: Callable[[], None] = field(default=lambda: None, compare=False)
    """Stops, with what to do, when the text cannot be had."""

    @property
    def collected(self) -> bool:
        """Whether its text is kept on disk before it is tokenised: work that no tokenizer should repeat."""
        return self.remote or self.cleaning is not None

    @property
    def text_parts(self) -> list[str]:
        """What identifies its text, whatever form and tokenizer."""
        return [self.name, self.fingerprint, self.newline, self.cleaning_key]


def json_lines(path: Path, *keys: str) -> Iterator[tuple[str, ...]]:
    """The named text fields of each line of a JSON-lines file; a bad line is an error that names it."""
    if not path.exists():
        raise UserError(f"{path}: no such file; it should hold JSON lines with {', '.join(keys)}")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line.decode("utf-8"))
                values = tuple(record[key] for key in keys)
            except (ValueError, KeyError, TypeError) as error:  # bad UTF-8, bad JSON, a field that is not there
                raise UserError(
                    f"{path}:{number}: expected a JSON object with {', '.join(keys)} ({error!r})"
                ) from error
            if not all(isinstance(value, str) for value in values):
                raise UserError(f"{path}:{number}: {', '.join(keys)} must be text")
            yield values

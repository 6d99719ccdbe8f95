"""A source: a corpus of one kind, read as documents whose every stretch of text knows its language."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cpt.corpora.text import count_words
from cpt.errors import UserError

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
    """Where documents of one kind come from; the fingerprint changes when their content does."""

    name: str
    languages: tuple[str, ...]
    fingerprint: str
    read: Callable[[], Iterator[Doc]] = field(compare=False)

    def docs(self) -> Iterator[Doc]:
        return self.read()


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

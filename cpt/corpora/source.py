"""A source: a corpus of one kind in one language or pair; and amounts of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.corpora.reading.layout import Volume
from cpt.errors import UserError

if TYPE_CHECKING:
    from cpt.corpora.bitext import BitextFormat
    from cpt.corpora.cleaning.pipeline import Cleaning

BYTES_A_TOKEN = 4
"""A first guess at the text needed for so many tokens; more is fetched if that is too little."""


@dataclass(frozen=True)
class Amount:
    """How much of a source must be available; more does no harm."""

    amount: float = math.inf
    unit: str = "words"
    """A unit of text, or `documents`."""

    def met(self, facts: dict[str, Any]) -> bool:
        have = facts["documents"] if self.unit == "documents" else sum(facts[self.unit].values())
        return bool(have >= self.amount)

    def of_text(self, times: int, records_a_document: int) -> Amount:
        """The text to collect for this amount of shard; more each time it was too little."""
        if self.unit == "tokens":
            return Amount(self.amount * BYTES_A_TOKEN * times, "bytes")
        if self.unit == "documents":
            return Amount(self.amount * records_a_document * times, "documents")
        return Amount(self.amount * times, self.unit)


@dataclass(frozen=True)
class Source:
    """The files of one kind of documents, their cleaning, and the form of the documents."""

    name: str
    languages: tuple[str, ...]
    fingerprint: str
    """Changes with the stored content."""
    volumes: Callable[[], tuple[Volume, ...]] = field(compare=False)
    """The files to read, in their order."""
    form: BitextFormat | None = None
    """How sentence pairs become documents; none for whole documents."""
    newline: str = ""
    """The characters that stand for a line break in the stored texts; empty if line breaks do."""
    cleaning_key: str = ""
    """Changes with what cleaning does; empty for none."""
    cleaning: Callable[[], Cleaning] | None = field(default=None, compare=False)
    remote: bool = False
    """Whether it is read over a network; its text is then downloaded once, as far as any run needs it."""
    check: Callable[[], None] = field(default=lambda: None, compare=False)
    """Refuses a text that is not available."""

    @property
    def collected(self) -> bool:
        """Whether its text is stored before it is tokenised, so that downloading and cleaning are done once."""
        return self.remote or self.cleaning is not None

    @property
    def text_parts(self) -> list[str]:
        """Identifies its text, independent of form and tokenizer."""
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

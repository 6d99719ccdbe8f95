"""Layouts that hold a record a line: JSON lines, plain text, and tables.

The reading process only cuts files into lines, hundreds of megabytes a second; what lines mean is found out by the
processes that parse chunks. Lines end at \\n alone: U+2028, U+0085 and their like are part of the text.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache

from cpt.corpora.reading.base import CHUNK_BYTES, Chunk, Record, Unreadable, Volume
from cpt.corpora.reading.opening import opened
from cpt.corpora.reading.texts import Refused, checked, text_of
from cpt.errors import UserError


class Lines(ABC):
    """What the three have in common: everything but the meaning of a line."""

    endings: tuple[str, ...]

    @abstractmethod
    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        """The record of a line; empty if the line is meant to hold none. Raises `Refused` if it should hold one."""

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        (stored,) = volume.files
        first = 1
        with opened(stored) as file:
            while lines := file.readlines(CHUNK_BYTES - 1):  # stops after the line that goes past its argument
                yield Chunk(first, lines=(lines,))
                first += len(lines)

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]:
        (stored,), (lines,) = volume.files, chunk.lines
        for number, line in enumerate(lines, start=chunk.first):
            if found := self._found(f"{stored.name}:{number}", line, number, volume.fields):
                yield found

    def _found(self, where: str, line: bytes, number: int, fields: tuple[str, ...]) -> Record | Unreadable:
        try:
            return self.parse(text_of(line, number), fields)
        except Refused as refused:
            return Unreadable(where, str(refused))


class JsonLines(Lines):
    """A JSON object a line; `fields` are its text fields, `translation.en` being `en` of `translation`."""

    endings: tuple[str, ...] = (".jsonl", ".ndjson", ".json-lines")

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        fields = fields or ("text",)
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise Refused(f"is not JSON ({error.msg})") from None
        except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
            raise Refused("is not JSON that can be read") from None
        return checked("field", fields, [_field(found, name, name) for name in fields])


def _field(found: object, name: str, full_name: str) -> object:
    if isinstance(found, dict):
        if name in found:
            return found[name]
        head, dot, rest = name.partition(".")
        if dot and head in found:
            return _field(found[head], rest, full_name)
    raise Refused(f"has no field '{full_name}'")


class PlainText(Lines):
    """A document a line; empty lines are none. `fields` do not matter."""

    endings: tuple[str, ...] = (".txt",)

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        return checked("line", ("text",), (line,)) if line.strip() else ()


class Table(Lines):
    """Columns between tabs; `fields` are their numbers from 1. A quotation mark is a character like any other."""

    endings: tuple[str, ...] = (".tsv",)

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        _columns(volume.fields)  # a mistake in them is told before anything is read
        return super().chunks(volume)

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        columns = _columns(fields)
        cells = line.split("\t")
        if missing := [column for column in columns if column > len(cells)]:
            raise Refused(f"has no column {missing[0]}")
        return checked("column", [str(column) for column in columns], [cells[column - 1] for column in columns])


@cache
def _columns(fields: tuple[str, ...]) -> tuple[int, ...]:
    fields = fields or ("1", "2")
    for name in fields:
        if not (name.isdecimal() and int(name) > 0):
            raise UserError(f"column '{name}' of a table: columns are told by their number, the first is 1")
    return tuple(int(name) for name in fields)

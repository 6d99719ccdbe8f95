"""Layouts with one record per line: JSON lines, plain text, tables, and sentence pairs in two files (Moses).

The reading process only cuts files into lines, hundreds of megabytes a second; lines are parsed by the processes that
parse chunks. Lines end at \\n alone: U+2028, U+0085 and similar characters are part of the text.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from typing import IO

from cpt.corpora.reading.layout import (
    CHUNK_BYTES,
    Chunk,
    Record,
    RecordError,
    Stored,
    Unreadable,
    Volume,
    checked,
    text_of,
)
from cpt.corpora.reading.opening import BUFFER_BYTES, opened
from cpt.errors import UserError


class Lines(ABC):
    """Base of the three: everything but the parsing of a line."""

    endings: tuple[str, ...]

    @abstractmethod
    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        """The record of a line; empty if the line is meant to hold none. Raises `RecordError` if it should hold one."""

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
            if record := self._record(f"{stored.name}:{number}", line, number, volume.fields):
                yield record

    def _record(self, where: str, line: bytes, number: int, fields: tuple[str, ...]) -> Record | Unreadable:
        try:
            return self.parse(text_of(line, number), fields)
        except RecordError as refused:
            return Unreadable(where, str(refused))


class JsonLines(Lines):
    """A JSON object a line; `fields` are its text fields, `translation.en` being `en` of `translation`."""

    endings: tuple[str, ...] = (".jsonl", ".ndjson", ".json-lines")

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        fields = fields or ("text",)
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise RecordError(f"is not JSON ({error.msg})") from None
        except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
            raise RecordError("is not JSON that can be read") from None
        return checked("field", fields, [_field(value, name, name) for name in fields])


def _field(value: object, name: str, full_name: str) -> object:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        head, dot, rest = name.partition(".")
        if dot and head in value:
            return _field(value[head], rest, full_name)
    raise RecordError(f"has no field '{full_name}'")


class PlainText(Lines):
    """A document a line; empty lines are none. `fields` do not matter."""

    endings: tuple[str, ...] = (".txt",)

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        return checked("line", ("text",), (line,)) if line.strip() else ()


class SeparatedColumns(Lines):
    """Columns between tabs; `fields` are their numbers from 1. A quotation mark is a character like any other."""

    endings: tuple[str, ...] = (".tsv",)

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        _columns(volume.fields)  # report a mistake before anything is read
        return super().chunks(volume)

    def parse(self, line: str, fields: tuple[str, ...]) -> Record:
        columns = _columns(fields)
        cells = line.split("\t")
        if missing := [column for column in columns if column > len(cells)]:
            raise RecordError(f"has no column {missing[0]}")
        return checked("column", [str(column) for column in columns], [cells[column - 1] for column in columns])


@cache
def _columns(fields: tuple[str, ...]) -> tuple[int, ...]:
    fields = fields or ("1", "2")
    for name in fields:
        if not (name.isdecimal() and int(name) > 0):
            raise UserError(f"column '{name}' of a table: columns are given by number, the first is 1")
    return tuple(int(name) for name in fields)


SIDES = ("source", "target")


class Moses:
    """`files` are the source side and the target side; `fields` do not matter.

    Such files end in the code of their language, so the ending of a name does not give this layout.
    """

    endings: tuple[str, ...] = ()

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        source, target = volume.files
        with opened(source) as left, opened(target) as right:
            yield from _chunks(volume, left, right)

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]:
        source, target = volume.files
        for number, pair in enumerate(zip(*chunk.lines, strict=True), start=chunk.first):
            try:
                yield checked(
                    "side", SIDES, [_side(side, line, number) for side, line in zip(SIDES, pair, strict=True)]
                )
            except RecordError as refused:
                yield Unreadable(f"{source.name}:{number} with {target.name}:{number}", str(refused))


def _side(side: str, line: bytes, number: int) -> str:
    try:
        return text_of(line, number)
    except RecordError as refused:
        raise RecordError(f"side '{side}' {refused}") from None


def _chunks(volume: Volume, left: IO[bytes], right: IO[bytes]) -> Iterator[Chunk]:
    """Lines of both sides together make up a chunk's size: a side may be all but empty."""
    read, size = 0, 0
    lines: tuple[list[bytes], list[bytes]] = ([], [])
    for one, other in zip_longest(left, right):
        if one is None or other is None:
            counts = (read + len(lines[0]) + (one is not None), read + len(lines[0]) + (other is not None))
            raise _unequal(volume, counts[0] + _count(left), counts[1] + _count(right))
        lines[0].append(one)
        lines[1].append(other)
        size += len(one) + len(other)
        if size >= CHUNK_BYTES:
            yield Chunk(read + 1, lines=lines)
            read += len(lines[0])
            size, lines = 0, ([], [])
    if lines[0]:
        yield Chunk(read + 1, lines=lines)


def check_pair(volume: Volume) -> None:
    """Refuse two files with different numbers of lines: one extra line misaligns all later sentences."""
    source, target = volume.files
    counts = (_lines(source), _lines(target))
    if counts[0] != counts[1]:
        raise _unequal(volume, *counts)


def _lines(stored: Stored) -> int:
    with opened(stored) as file:
        return _count(file)


def _count(file: IO[bytes]) -> int:
    """The number of lines left to read, the last one with or without its line end."""
    count, last = 0, b"\n"
    while block := file.read(BUFFER_BYTES):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last != b"\n")


def _unequal(volume: Volume, source_lines: int, target_lines: int) -> UserError:
    source, target = volume.files
    return UserError(
        f"{source.name} has {source_lines:,} lines and {target.name} has {target_lines:,}: the two sides of a "
        "pair need as many lines each; get both again from one release"
    )

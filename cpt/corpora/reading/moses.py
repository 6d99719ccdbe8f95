"""Sentence pairs as two plain files, line by line each other's translations: how OPUS and WMT hand out bitext."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import IO

from cpt.corpora.reading.base import CHUNK_BYTES, Chunk, Record, Stored, Unreadable, Volume
from cpt.corpora.reading.opening import BUFFER_BYTES, opened
from cpt.corpora.reading.texts import Refused, checked, text_of
from cpt.errors import UserError

SIDES = ("source", "target")


class Moses:
    """`files` are the source side and the target side; `fields` do not matter.

    Such files end in the code of their language, so their names do not say that they are of this layout.
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
            except Refused as refused:
                yield Unreadable(f"{source.name}:{number} with {target.name}:{number}", str(refused))


def _side(side: str, line: bytes, number: int) -> str:
    try:
        return text_of(line, number)
    except Refused as refused:
        raise Refused(f"side '{side}' {refused}") from None


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
    """Stops if the files are not of as many lines each: a line too many puts all later sentences beside wrong ones."""
    source, target = volume.files
    counts = (_lines(source), _lines(target))
    if counts[0] != counts[1]:
        raise _unequal(volume, *counts)


def _lines(stored: Stored) -> int:
    with opened(stored) as file:
        return _count(file)


def _count(file: IO[bytes]) -> int:
    """How many lines are left to read, the last one with or without its line end."""
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

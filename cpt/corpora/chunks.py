"""The files of a source as chunks, which several processes turn into documents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from cpt.corpora.document import Doc
from cpt.corpora.reading import LAYOUTS
from cpt.corpora.reading.layout import Chunk, Record, Unreadable, Volume

if TYPE_CHECKING:
    from cpt.corpora.bitext import BitextFormat

PIECE_CHUNKS = 16
"""Chunks that are stored together; a kill loses at most this many."""

Position = tuple[int, tuple[tuple[int, int], ...]]
"""The number of turns taken, and for each lane its next volume and the chunk within it."""
START: Position = (0, ())


def position_from_json(record: Any) -> Position:
    turn, lanes = record
    return turn, tuple((volume, chunk) for volume, chunk in lanes)


def chunks_from(volumes: tuple[Volume, ...], position: Position) -> Iterator[tuple[Position, Volume, Chunk]]:
    """Chunks from a position on, each with the position after it; lanes take turns."""
    lanes: dict[int, list[Volume]] = {}
    for volume in volumes:
        lanes.setdefault(volume.lane, []).append(volume)
    turn, known = position
    reached = [*known, *((0, 0) for _ in range(len(lanes) - len(known)))]
    streams = [_lane(lane, at) for lane, at in zip(lanes.values(), reached, strict=True)]
    open_lanes = set(range(len(lanes)))
    while open_lanes:
        lane, turn = turn % len(lanes), turn + 1
        if lane in open_lanes:
            step = next(streams[lane], None)
            if step is None:
                open_lanes.remove(lane)
                continue
            reached[lane], volume, chunk = step
            yield (turn, tuple(reached)), volume, chunk


def _lane(volumes: list[Volume], at: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Volume, Chunk]]:
    """Chunks of consecutive volumes. The position after a volume's last chunk is in the next volume, so that no
    file that was read completely is opened again."""
    for number in range(at[0], len(volumes)):
        volume, skipped = volumes[number], at[1] if number == at[0] else 0
        chunks = islice(LAYOUTS[volume.layout].chunks(volume), skipped, None)
        chunk, index = next(chunks, None), skipped
        while chunk is not None:
            following, index = next(chunks, None), index + 1
            yield ((number, index) if following is not None else (number + 1, 0)), volume, chunk
            chunk = following


T = TypeVar("T")


class Ahead(Iterator[tuple[Position, T]]):
    """Tasks with the position after each; one task is read ahead to know whether the last one was given out."""

    def __init__(self, work: Iterator[tuple[Position, T]]) -> None:
        self._work = work
        self._next = next(work, None)
        self._out: deque[Position] = deque()

    def __next__(self) -> tuple[Position, T]:
        if self._next is None:
            raise StopIteration
        position, item = self._next
        self._next = next(self._work, None)
        self._out.append(position)
        return position, item

    def items(self) -> Iterator[T]:
        return (item for _, item in self)

    def done(self, count: int) -> Position:
        """Mark the next `count` tasks as done; returns the position after them."""
        for _ in range(count):
            position = self._out.popleft()
        return position

    @property
    def over(self) -> bool:
        """Whether all tasks are done."""
        return self._next is None and not self._out


@dataclass(frozen=True)
class Reading:
    """How the records of a source are read and formed into documents."""

    languages: tuple[str, ...]
    form: BitextFormat | None
    newline: str

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]:
        for record in LAYOUTS[volume.layout].records(volume, chunk):
            if self.newline and not isinstance(record, Unreadable):
                yield tuple(text.replace(self.newline, "\n") for text in record)
            else:
                yield record

    def documents(self, records: Iterator[Record]) -> Iterator[Doc]:
        if self.form is None:
            return (Doc(((self.languages[0], text),)) for (text,) in records)
        pairs = ((source, target) for source, target in records)
        return self.form.documents(pairs, *self.languages)

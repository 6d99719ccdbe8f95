"""From the files of a source to its documents, in chunks that several processes can share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from cpt.corpora.reading import LAYOUTS
from cpt.corpora.reading.base import Chunk, Record, Unreadable, Volume
from cpt.corpora.source import Doc

if TYPE_CHECKING:
    from cpt.corpora.bitext import BitextFormat

PIECE_CHUNKS = 16
"""So many chunks are kept, or lost, together."""

Place = tuple[int, int]
"""Volume, and chunk within it."""


def chunks_from(volumes: tuple[Volume, ...], place: Place) -> Iterator[tuple[Place, Volume, Chunk]]:
    """Chunks from a place on, each with the place behind it."""
    for number in range(place[0], len(volumes)):
        volume = volumes[number]
        skipped = place[1] if number == place[0] else 0
        for index, chunk in enumerate(islice(LAYOUTS[volume.layout].chunks(volume), skipped, None), start=skipped):
            yield (number, index + 1), volume, chunk


T = TypeVar("T")


class Ahead(Iterator[tuple[Place, T]]):
    """Work with the place behind each of it, handed out one by one; knows whether what it gave was the last."""

    def __init__(self, work: Iterator[tuple[Place, T]]) -> None:
        self._work = work
        self._next = next(work, None)
        self._out: deque[Place] = deque()

    def __next__(self) -> tuple[Place, T]:
        if self._next is None:
            raise StopIteration
        place, item = self._next
        self._next = next(self._work, None)
        self._out.append(place)
        return place, item

    def items(self) -> Iterator[T]:
        return (item for _, item in self)

    def done(self, count: int) -> Place:
        """The next `count` pieces of work are done; the place behind them."""
        for _ in range(count):
            place = self._out.popleft()
        return place

    @property
    def over(self) -> bool:
        """Whether all the work there is has been done."""
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

"""From the files of a source to its documents, in chunks that several processes can share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from cpt.corpora.document import Doc
from cpt.corpora.reading import LAYOUTS
from cpt.corpora.reading.base import Chunk, Record, Unreadable, Volume

if TYPE_CHECKING:
    from cpt.corpora.bitext import BitextFormat

PIECE_CHUNKS = 16
"""So many chunks are kept, or lost, together."""

Place = tuple[int, tuple[tuple[int, int], ...]]
"""How often it was a lane's turn, and how far each lane is: volume, and chunk within it."""
START: Place = (0, ())


def place_of(record: Any) -> Place:
    """A place that was written as JSON."""
    turn, lanes = record
    return turn, tuple((volume, chunk) for volume, chunk in lanes)


def chunks_from(volumes: tuple[Volume, ...], place: Place) -> Iterator[tuple[Place, Volume, Chunk]]:
    """Chunks from a place on, each with the place behind it; of several lanes one from each in turn."""
    lanes: dict[int, list[Volume]] = {}
    for volume in volumes:
        lanes.setdefault(volume.lane, []).append(volume)
    turn, known = place
    reached = [*known, *((0, 0) for _ in range(len(lanes) - len(known)))]
    streams = [_lane(lane, at) for lane, at in zip(lanes.values(), reached, strict=True)]
    open_lanes = set(range(len(lanes)))
    while open_lanes:
        lane, turn = turn % len(lanes), turn + 1
        if lane in open_lanes:
            found = next(streams[lane], None)
            if found is None:
                open_lanes.remove(lane)
                continue
            reached[lane], volume, chunk = found
            yield (turn, tuple(reached)), volume, chunk


def _lane(volumes: list[Volume], at: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Volume, Chunk]]:
    """Chunks of volumes one behind the other. The place behind a volume's last is the next volume: no file that has
    been read is opened again."""
    for number in range(at[0], len(volumes)):
        volume, skipped = volumes[number], at[1] if number == at[0] else 0
        chunks = islice(LAYOUTS[volume.layout].chunks(volume), skipped, None)
        chunk, index = next(chunks, None), skipped
        while chunk is not None:
            following, index = next(chunks, None), index + 1
            yield ((number, index) if following is not None else (number + 1, 0)), volume, chunk
            chunk = following


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

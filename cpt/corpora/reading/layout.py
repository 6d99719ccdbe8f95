"""What every file layout provides: chunks, cut by one process, and the records in them, parsed by many."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from cpt.hub import WEB, RemoteFile, shown_address

CHUNK_BYTES = 1 << 20
"""A chunk ends with the line or row that takes it to this size; a longer line is a chunk by itself."""

Record = tuple[str, ...]
"""The texts of one document: one, or the two sides of a sentence pair."""


@dataclass(frozen=True)
class Stored:
    """A file on this machine, at a web address, or of a data set on a Hugging Face hub; or a stretch of one."""

    path: str
    """On a hub: `datasets/<owner>/<name>@<commit>/<path>`."""
    hub: bool = False
    begin: int = 0
    size: int | None = None
    """Bytes from `begin` on; none means to the end."""

    @property
    def name(self) -> str:
        return f"hf://{self.path}" if self.hub else shown_address(self.path)

    @property
    def remote(self) -> bool:
        return self.hub or self.path.startswith(WEB)

    def open(self) -> IO[bytes]:
        """Its bytes as stored; those of a file elsewhere are streamed as they are read."""
        if self.remote:
            return cast("IO[bytes]", RemoteFile(self.path, self.hub))
        if self.size is None:
            return Path(self.path).open("rb")
        with Path(self.path).open("rb") as file:
            file.seek(self.begin)
            return io.BytesIO(file.read(self.size))


@dataclass(frozen=True)
class Volume:
    """The smallest readable part of a source: one file, or the two files of a pair."""

    layout: str
    """A name in `LAYOUTS`."""
    files: tuple[Stored, ...]
    fields: tuple[str, ...]
    """The parts that hold the texts: JSON fields, table columns, or language codes of a TMX file."""
    lane: int = 0
    """Volumes of several lanes are read in turns, so that what is taken of a source has something of each."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive lines or rows of a volume. Where chunks begin and end is a pure function of the volume."""

    first: int
    """Number of the first line or row, from 1."""
    lines: tuple[list[bytes], ...] = ()
    """Raw lines of each file, to be parsed; as many of each."""
    rows: tuple[Record, ...] = ()
    """Records of a layout that is parsed while it is read."""


@dataclass(frozen=True)
class Unreadable:
    """A line or row that is no record; what stands around it is read all the same."""

    where: str
    """File and line."""
    why: str


class FileLayout(Protocol):
    """The interface of a layout; one file of this folder each."""

    endings: tuple[str, ...]
    """Endings of file names, before .gz or .zst."""

    def chunks(self, volume: Volume) -> Iterator[Chunk]: ...

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]: ...


BYTE_ORDER_MARK = "\ufeff"


class RecordError(Exception):
    """Why a line or row is no record. One of few sentences, so that they can be counted; never the text itself."""


def text_of(line: bytes, number: int) -> str:
    """A raw line without its end (\\n or \\r\\n), and the first of a file without a byte order mark."""
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError("is not UTF-8") from None
    return text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text


def checked(kind: str, names: Sequence[str], texts: Sequence[object]) -> Record:
    """The texts as they are, if all can be trained on; `kind` and `names` are for messages."""
    record = []
    for name, text in zip(names, texts, strict=True):
        if not isinstance(text, str):
            raise RecordError(f"{kind} '{name}' is not text")
        if fault := _fault(text):
            raise RecordError(f"{kind} '{name}' {fault}")
        record.append(text)
    return tuple(record)


def _fault(text: str) -> str:
    if not text or text.isspace():
        return "is empty"
    if "\0" in text:
        return "holds NUL bytes"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape and no file can hold
        return "is not valid Unicode"
    return ""


def into_chunks(rows: Iterable[Record]) -> Iterator[Chunk]:
    """Rows as chunks; a text counts with one byte for its end, as a line does, so that empty rows count too."""
    first, size, held = 1, 0, list[Record]()
    for row in rows:
        held.append(row)
        size += sum(len(text.encode("utf-8", "surrogatepass")) + 1 for text in row)
        if size >= CHUNK_BYTES:
            yield Chunk(first, rows=tuple(held))
            first, size, held = first + len(held), 0, []
    if held:
        yield Chunk(first, rows=tuple(held))

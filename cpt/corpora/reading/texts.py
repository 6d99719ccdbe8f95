"""What every layout asks of a text before it becomes a record, and how rows are gathered into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cpt.corpora.reading.base import CHUNK_BYTES, Chunk, Record

BYTE_ORDER_MARK = "\ufeff"


class Refused(Exception):  # noqa: N818 - never leaves this folder: it becomes an `Unreadable`
    """Why a line or row is no record. One of few sentences, so that they can be counted; never the text itself."""


def text_of(line: bytes, number: int) -> str:
    """A raw line without its end (\\n or \\r\\n), and the first of a file without a byte order mark."""
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("is not UTF-8") from None
    return text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text


def checked(kind: str, names: Sequence[str], texts: Sequence[object]) -> Record:
    """The texts as they are, if all can be trained on; `kind` and `names` say what they were called in the file."""
    record = []
    for name, text in zip(names, texts, strict=True):
        if not isinstance(text, str):
            raise Refused(f"{kind} '{name}' is not text")
        if fault := _fault(text):
            raise Refused(f"{kind} '{name}' {fault}")
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


def gathered(rows: Iterable[Record]) -> Iterator[Chunk]:
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

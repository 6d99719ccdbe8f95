"""Files as streams of bytes, decompressed while they are read, so that no layout handles compression."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Protocol, cast

import zstandard

from cpt.corpora.reading.layout import Stored
from cpt.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 1 << 20
PACKED_BYTES = 1 << 15
"""Bytes decompressed at a time: few, since well-compressed text grows a hundredfold."""
LONGEST_WINDOW = 1 << 31
"""By default zstd refuses files compressed with `zstd --long=31`, as large corpora are."""


class Member(Protocol):
    """Decompressor of one member of a .gz file or one frame of a .zst file; a file may hold many."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _gz_member() -> Member:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _zst_member() -> Member:
    return cast("Member", zstandard.ZstdDecompressor(max_window_size=LONGEST_WINDOW).decompressobj())


PACKED: dict[str, Callable[[], Member]] = {".gz": _gz_member, ".zst": _zst_member}
"""By the ending of the file's name."""


def split_ending(path: str) -> tuple[str, Callable[[], Member] | None]:
    """The path in small letters without .gz or .zst, and what unpacks the file if it had one of them."""
    plain = (path.partition("?")[0] if "://" in path else path).lower()  # a web address may end in a query
    for ending, member in PACKED.items():
        if plain.endswith(ending):
            return plain.removesuffix(ending), member
    return plain, None


def stored_bytes(stored: Stored) -> IO[bytes]:
    """The file's bytes as they are stored."""
    try:
        return stored.open()
    except OSError as error:
        raise UserError(f"{stored.name}: cannot be opened ({error.strerror or error}); check the path") from error


def opened(stored: Stored) -> IO[bytes]:
    """The file's bytes, unpacked if its name ends in .gz or .zst.

    Always a `BufferedReader`, for where `readlines(hint)` stops differs between kinds of streams (and streams of a hub
    ignore the hint).
    """
    file = stored_bytes(stored)
    _, member = split_ending(stored.path)
    raw = cast("io.RawIOBase", file) if member is None else _Unpacked(stored.name, file, member)
    return io.BufferedReader(raw, BUFFER_BYTES)


class _Unpacked(io.RawIOBase):
    def __init__(self, name: str, file: IO[bytes], member: Callable[[], Member]) -> None:
        self._file = file
        self._blocks = _blocks(name, file, member)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer)
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _blocks(name: str, file: IO[bytes], fresh: Callable[[], Member]) -> Iterator[bytes]:
    """The decompressed content in pieces; none is empty, since that would mean the end."""
    member: Member | None = fresh()  # already expected: even an empty text has a header when packed
    while data := file.read(PACKED_BYTES):
        while data:
            member = member or fresh()
            try:
                block = member.decompress(data)
            except (zlib.error, zstandard.ZstdError) as error:
                raise UserError(
                    f"{name}: damaged or not a compressed file ({error}); download or pack it again"
                ) from error
            if block:
                yield block
            data, member = (member.unused_data, None) if member.eof else (b"", member)
    if member is not None:
        raise UserError(f"{name}: ends in the middle of its compressed data; download or pack it again")

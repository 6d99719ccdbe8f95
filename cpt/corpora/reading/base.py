"""What every file layout gives: chunks, cut by one process, and the records in them, parsed by many."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from cpt.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
        return self.hub or self.path.startswith(("https://", "http://"))

    def open(self) -> IO[bytes]:
        """Its bytes as stored; those of a file elsewhere are streamed as they are read."""
        if self.remote:
            return cast("IO[bytes]", _Streamed(self))
        if self.size is None:
            return Path(self.path).open("rb")
        with Path(self.path).open("rb") as file:
            file.seek(self.begin)
            return io.BytesIO(file.read(self.size))


class _Streamed(io.RawIOBase):
    """A file elsewhere, fetched block by block as it is read; where that ends early, the reader is told so."""

    def __init__(self, stored: Stored) -> None:
        self._name = stored.name
        # The hub's client tries again by itself, for half a minute.
        self._waits = () if stored.hub else WEB_WAITS
        try:
            self._file = _hub_file(stored.path) if stored.hub else web_files(stored.path).open(stored.path, "rb")
        except Exception as error:  # each transport has its own
            raise UserError(f"{self._name}: cannot be opened ({_kind(error)}); {GOES_ON}") from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        data = self._read(len(target))
        target[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        for wait in (*self._waits, None):
            try:
                data: bytes = self._file.read(size)
                break
            except Exception as error:
                if wait is None:
                    raise self._broken(_kind(error)) from error
                time.sleep(wait)
        if size and not data and self.tell() < (self._file.size or 0):
            raise self._broken(f"it has {self._file.size:,}")
        return data

    def _broken(self, why: str) -> UserError:
        return UserError(f"{self._name}: the connection broke after {self.tell():,} bytes ({why}); {GOES_ON}")

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()


GOES_ON = "what was fetched before is kept; launch again where there is a network, it goes on from there"
WEB_WAITS = (1, 2, 4, 8)
"""Seconds before a web address is asked again for what did not come."""


def _hub_file(path: str) -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem().open(path, "rb")


def web_files(address: str) -> Any:
    """What reads a web address: with no limit on how long a stream may take, and through a proxy where one is set."""
    import aiohttp
    import fsspec

    # A server that packs for the way must not unpack a file that is stored packed, nor may the client.
    accepted = "gzip" if urlsplit(address).path.endswith(".gz") else "identity"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
    client = {"timeout": timeout, "trust_env": True, "auto_decompress": False}
    return fsspec.filesystem("https", client_kwargs=client, headers={"Accept-Encoding": accepted})


def shown_address(path: str) -> str:
    """A path as it may be shown: of a web address no password and no query, which may be a signature."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?…' if parts.query else ''}"


def _kind(error: Exception) -> str:
    """What went wrong; never the transport's own words, which may quote a token."""
    cause = error.__cause__ or error
    status = getattr(cause, "status", None) or getattr(getattr(cause, "response", None), "status_code", None)
    if type(cause).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE=1 keeps it out of reach"
    return f"the server answered {status}" if status else type(cause).__name__


@dataclass(frozen=True)
class Volume:
    """The smallest readable part of a source: one file, or the two files of a pair."""

    layout: str
    """A name in `LAYOUTS`."""
    files: tuple[Stored, ...]
    fields: tuple[str, ...]
    """What holds the texts: JSON fields, table columns, or the language codes a TMX file uses."""
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


class Layout(Protocol):
    """One file of this folder each."""

    endings: tuple[str, ...]
    """Of file names, before .gz or .zst."""

    def chunks(self, volume: Volume) -> Iterator[Chunk]: ...

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]: ...

"""Folders of files that only grow, by whole pieces, and whose marker is always correct.

    <name>.bin …     the content, piece after piece
    journal.jsonl    one line per piece: the end of each file, checksums of what was added, and facts
    marker.json      written last and by rename: the number of settled pieces, and the facts of the whole

Readers use the marker alone, so a folder can grow while it is read. The process that grows it continues after the last
whole piece: a half-written piece is cut off, and pieces that were never settled are checked against their checksums.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import read_json, write_json

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MARKER, JOURNAL = "marker.json", "journal.jsonl"
READ_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Piece:
    """A stretch of every file, and what is known of it."""

    ends: dict[str, int]
    sums: dict[str, str]
    facts: dict[str, Any]


@dataclass
class Growing:
    """A folder in the one process that holds its lock and makes it grow."""

    folder: Path
    names: tuple[str, ...]
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settled = settled_pieces(self.folder)
        self.pieces = self._whole(read_journal(self.folder), settled)
        if len(self.pieces) < settled:  # damaged since: settled again when it has grown again
            (self.folder / MARKER).unlink()
        for name in self.names:
            with (self.folder / name).open("ab") as file:
                file.truncate(self.end(name))
        self._cut_journal()

    def _cut_journal(self) -> None:
        """Keep the lines of whole pieces, and read the facts of the last one."""
        path = self.folder / JOURNAL
        lines = path.read_bytes().splitlines(keepends=True)[: len(self.pieces)] if path.exists() else []
        with path.open("ab") as file:
            file.truncate(sum(map(len, lines)))
        if lines:
            last = json.loads(lines[-1])
            self.pieces[-1] = Piece(last["ends"], last["sums"], last["facts"])

    def end(self, name: str) -> int:
        return self.pieces[-1].ends[name] if self.pieces else 0

    def _whole(self, pieces: list[Piece], settled: int) -> list[Piece]:
        """The pieces up to the first that is not all there; settled ones are taken at their size."""
        sizes = {name: _size(self.folder / name) for name in self.names}
        for number, piece in enumerate(pieces):
            there = all(piece.ends[name] <= sizes[name] for name in self.names)
            if not there or (number >= settled and damaged_files(self.folder, pieces, number)):
                return pieces[:number]
        return pieces

    def append(self, contents: dict[str, bytes], **facts: Any) -> None:
        """Add a piece; on a full disk only the pieces before it remain."""
        ends = {name: self.end(name) + len(contents[name]) for name in self.names}
        sums = {name: hashlib.sha256(contents[name]).hexdigest()[:16] for name in self.names}
        piece = Piece(ends, sums, facts)
        try:
            for name in self.names:
                with (self.folder / name).open("ab") as file:
                    file.write(contents[name])
            with (self.folder / JOURNAL).open("ab") as file:
                file.write(_line(piece).encode())
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"{self.folder}: no room left to write ({error.strerror}) after {len(self.pieces)} pieces; make room "
                "(`cpt data` lists and removes shards) and launch again, it resumes from there"
            ) from error
        if self.pieces:
            self.pieces[-1] = Piece(self.pieces[-1].ends, self.pieces[-1].sums, {})
        self.pieces.append(piece)

    def settle(self, **facts: Any) -> None:
        """Everything on the disk for good, then the marker."""
        for name in (*self.names, JOURNAL):
            with (self.folder / name).open("ab") as file:
                os.fsync(file.fileno())
        ends = {name: self.end(name) for name in self.names} | {JOURNAL: _size(self.folder / JOURNAL)}
        write_json(self.folder / MARKER, {"pieces": len(self.pieces), "ends": ends, **facts})


def marker(folder: Path) -> dict[str, Any] | None:
    """The facts of a folder; none if nothing was settled, or files were damaged since."""
    if not (folder / MARKER).exists():
        return None
    facts: dict[str, Any] = read_json(folder / MARKER)
    return facts if all(_size(folder / name) >= end for name, end in facts["ends"].items()) else None


def settled_pieces(folder: Path) -> int:
    return int(read_json(folder / MARKER)["pieces"]) if (folder / MARKER).exists() else 0


def read_journal(folder: Path) -> list[Piece]:
    """The pieces of a journal, up to a line that is not whole. Facts are totals, so only the last piece has them."""
    pieces: list[Piece] = []
    path = folder / JOURNAL
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        try:
            record = json.loads(line)
            piece = Piece(record["ends"], record["sums"], record["facts"])
        except (ValueError, KeyError, TypeError):
            break
        if not line.endswith(b"\n") or line != _line(piece).encode():
            break
        if pieces:
            pieces[-1] = Piece(pieces[-1].ends, pieces[-1].sums, {})
        pieces.append(piece)
    return pieces


def settled_ends(folder: Path, name: str) -> list[int]:
    """The end of each settled piece of a file."""
    pieces, settled = read_journal(folder), settled_pieces(folder)
    if len(pieces) < settled:
        reason = f"its journal names {len(pieces)} of {settled} pieces"
        raise UserError(f"{folder}: damaged, {reason}; remove it with `cpt data remove {folder.name}` and launch again")
    return [piece.ends[name] for piece in pieces[:settled]]


def damaged_files(folder: Path, pieces: list[Piece], number: int) -> list[str]:
    """Files whose bytes in a piece differ from what was written."""
    begins = pieces[number - 1].ends if number else dict.fromkeys(pieces[0].ends, 0)
    piece = pieces[number]
    return [name for name in piece.ends if _sum(folder / name, begins[name], piece.ends[name]) != piece.sums[name]]


def verify(folder: Path) -> Iterator[str]:
    """Check every settled piece against its checksums; yields a message per difference."""
    pieces, settled = read_journal(folder), settled_pieces(folder)
    if len(pieces) < settled:
        yield f"{folder / JOURNAL}: {len(pieces)} of {settled} pieces are named there"
    for number in range(min(settled, len(pieces))):
        for name in damaged_files(folder, pieces, number):
            begin = pieces[number - 1].ends[name] if number else 0
            yield f"{folder / name}: damaged between bytes {begin:,} and {pieces[number].ends[name]:,} (piece {number})"


def _line(piece: Piece) -> str:
    return json.dumps({"ends": piece.ends, "sums": piece.sums, "facts": piece.facts}, ensure_ascii=False) + "\n"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sum(path: Path, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(begin)
        left = end - begin
        while left > 0 and (part := file.read(min(left, READ_AT_ONCE))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()[:16] if left == 0 else ""

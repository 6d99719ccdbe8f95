"""What folders hold, counted on the disk itself: a quota is about all of it, whoever put it there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpt.study.plan.tokens_and_disk import NOTHING, Room

WALK_SECONDS = 20.0
"""How long the folders may take to be counted; a file system of many millions of files is never counted whole."""


@dataclass(frozen=True)
class Held:
    """What folders hold, and the folders in folders of them (a run's, a shard's) each."""

    room: Room
    folders: Mapping[Path, Room]
    whole: bool
    """Whether all was counted, within the time there was."""


def held(roots: Sequence[Path], seconds: float = WALK_SECONDS) -> Held:
    """Bytes and files of folders, one that lies in another once. Links are counted, not followed."""
    end = time.monotonic() + seconds
    given = sorted({root.expanduser().resolve() for root in roots})
    outer = [root for root in given if not any(other in root.parents for other in given)]
    folders: dict[Path, Room] = {}
    total, whole = NOTHING, True
    for root in outer:
        for folder, found in _walk(root, end):
            if found is None:
                whole = False
                break
            total += found
            # Of a folder in a root that lies in another root, its own place counts too.
            for base in given:
                inside = folder.relative_to(base).parts if folder.is_relative_to(base) else ()
                if len(inside) >= 2:
                    place = base.joinpath(*inside[:2])
                    folders[place] = folders.get(place, NOTHING) + found
    return Held(total, folders, whole)


def _walk(root: Path, end: float) -> Iterator[tuple[Path, Room | None]]:
    """Every folder with what is directly in it; none in place of a room once time is up."""
    todo = [root]
    while todo:
        if time.monotonic() > end:
            yield root, None
            return
        folder, size, count = todo.pop(), 0, 1
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                        count += 1
        except OSError:  # gone meanwhile, or not ours to read
            continue
        yield folder, Room(size, count)

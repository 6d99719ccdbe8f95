"""How much disk things take: models, checkpoints and runs by arithmetic, folders by measuring them.

Sizes that are assumed here err on the large side, because they are compared with a quota.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpt.config import StudyConfig

MEASURE_SECONDS = 20.0
"""The longest that measuring folders may take: a file system with many millions of files is never measured whole."""
BYTES_PER_TOKEN = 5
"""Of a shard: a token takes 2 or 4 bytes, plus the index of documents."""
BYTES_PER_WORD = 8
"""Of stored text, compressed; or per token, where the budget is in tokens."""
BYTES_PER_STEP = 1_000
"""A step's line in the log and in its mirror."""
BYTES_PER_UNIT, BYTES_PER_TOY_UNIT = 500_000, 20_000
"""Questions, answers and scores of a unit of evaluation, compressed."""
TOKENIZER_BYTES = 20_000_000
FILES_PER_RUN = 40
"""Frozen configuration, markers, logs, results, tokenizer, tracking folder, and the files of its jobs."""
FILES_PER_SHARD = 9
"""With its folder and its lock."""
FILES_PER_TEXT = 6
MODEL_FILE_BYTES = 4 * 10**9
CHECKPOINT_FILE_BYTES = 2 * 2**30
"""The sizes at which cpt/train/final_model.py and cpt/train/checkpoint.py start another file."""


@dataclass(frozen=True)
class DiskSize:
    """Bytes and files on a disk; folders count as files."""

    bytes: int = 0
    files: int = 0

    def __add__(self, other: DiskSize) -> DiskSize:
        return DiskSize(self.bytes + other.bytes, self.files + other.files)

    def __mul__(self, times: int) -> DiskSize:
        return DiskSize(self.bytes * times, self.files * times)

    def beyond(self, other: DiskSize) -> DiskSize:
        """What is still needed where `other` exists already."""
        return DiskSize(max(self.bytes - other.bytes, 0), max(self.files - other.files, 0))

    def most(self, other: DiskSize) -> DiskSize:
        return DiskSize(max(self.bytes, other.bytes), max(self.files, other.files))


NOTHING = DiskSize()


def model_size(parameters: float) -> DiskSize:
    """A trained model, which is saved in bf16 whatever the precision of its training."""
    size = round(2 * parameters)
    return DiskSize(size, math.ceil(size / MODEL_FILE_BYTES) + 2)


def checkpoint_size(parameters: float, processes: int, moments: bool = True) -> DiskSize:
    """Weights and two moments in fp32. Every process writes files for its share, and one with random states."""
    kinds = (4, 8) if moments else (4,)
    files = sum(math.ceil(size * parameters / processes / CHECKPOINT_FILE_BYTES) for size in kinds) + moments
    return DiskSize(round(sum(kinds) * parameters), files * processes + 2)


@dataclass(frozen=True)
class RunSize:
    """How much disk the folder of a run takes."""

    running: DiskSize
    """Its maximum during training: a checkpoint is written before an older one is removed, and the model last."""
    stopped: DiskSize
    """While it waits to resume."""
    after: DiskSize
    """When it is finished: the model, checkpoints that are retained, logs and results."""

    @property
    def peak(self) -> DiskSize:
        return self.running.most(self.after)


def run_size(config: StudyConfig, steps: int, results: DiskSize, processes: int) -> RunSize:
    """The size of a run that trains; logs and results are included from the start."""
    train, parameters = config.train, config.model.parameters
    saves = max(math.ceil(steps / train.save_every), 1)
    retained = 0
    if train.keep_every:
        retained = steps // math.lcm(train.save_every, train.keep_every)
        # The last step is always saved.
        retained += steps % train.save_every > 0 and steps % train.keep_every == 0
    one, model = checkpoint_size(parameters, processes), model_size(parameters)
    stopped = one * min(saves, retained + train.keep_last)
    running = (one * min(saves, retained + train.keep_last + 1)).most(stopped + model)
    after = model + checkpoint_size(parameters, processes, moments=False) * retained
    return RunSize(running + results, stopped + results, after + results)


def results_size(scale: str, steps: int, units: int, processes: int) -> DiskSize:
    """Everything in a run's folder beside its model. Each evaluating process writes one file for each unit."""
    size = BYTES_PER_STEP * steps
    size += BYTES_PER_TOY_UNIT * units if scale == "toy" else BYTES_PER_UNIT * units + TOKENIZER_BYTES
    return DiskSize(size, FILES_PER_RUN + units * (processes + 1))


@dataclass(frozen=True)
class FolderSizes:
    """The size of some folders, and of every folder two levels below them (a run's, a shard's)."""

    total: DiskSize
    folders: Mapping[Path, DiskSize]
    complete: bool
    """False if time ran out before everything was measured."""


def measure_folders(roots: Sequence[Path], seconds: float = MEASURE_SECONDS) -> FolderSizes:
    """Bytes and files of folders; a folder inside another counts once. Links are counted, not followed."""
    end = time.monotonic() + seconds
    resolved = sorted({root.expanduser().resolve() for root in roots})
    outer = [root for root in resolved if not any(other in root.parents for other in resolved)]
    folders: dict[Path, DiskSize] = {}
    total, complete = NOTHING, True
    for root in outer:
        for folder, size in _walk(root, end):
            if size is None:
                complete = False
                break
            total += size
            # A folder inside two nested roots belongs to a folder of each.
            for base in resolved:
                inside = folder.relative_to(base).parts if folder.is_relative_to(base) else ()
                if len(inside) >= 2:
                    key = base.joinpath(*inside[:2])
                    folders[key] = folders.get(key, NOTHING) + size
    return FolderSizes(total, folders, complete)


def _walk(root: Path, end: float) -> Iterator[tuple[Path, DiskSize | None]]:
    """Every folder with the size of its direct content; None instead of a size when time is up."""
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
        except OSError:  # removed meanwhile, or not readable
            continue
        yield folder, DiskSize(size, count)

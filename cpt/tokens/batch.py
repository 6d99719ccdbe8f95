"""A batch of training sequences, and how documents are laid into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""Label of a position whose next token belongs to another document."""


@dataclass(frozen=True)
class Batch:
    """Packed sequences: [sequences, length] each. `documents` numbers the documents inside each sequence, `sources`
    says which source each belongs to."""

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    documents: NDArray[np.int64]
    positions: NDArray[np.int64]
    sources: NDArray[np.int64]

    @property
    def targets(self) -> int:
        """Positions that carry a loss."""
        return int((self.labels != IGNORED).sum())

    def rows(self, first: int, last: int) -> Batch:
        """Some of the sequences."""
        part = slice(first, last)
        arrays = (self.inputs, self.labels, self.documents, self.positions, self.sources)
        return Batch(*(array[part] for array in arrays))


Row = tuple[NDArray[np.int64], ...]
"""One sequence: inputs, labels, documents, positions, sources."""


def stacked(rows: Sequence[Row]) -> Batch:
    return Batch(*(np.stack(arrays) for arrays in zip(*rows, strict=True)))


def joined(batches: Sequence[Batch]) -> Batch:
    """Concatenate batches."""
    if len(batches) == 1:
        return batches[0]
    names = ("inputs", "labels", "documents", "positions", "sources")
    return Batch(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in names))


def masked_row(tokens: NDArray[np.int64], sizes: NDArray[np.int64], sources: NDArray[np.int64]) -> Row:
    """A sequence and the token after it, made of parts of documents that never see one another."""
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    labels = np.where(numbers[1:] == numbers[:-1], tokens[1:], IGNORED)
    positions = np.arange(len(tokens) - 1) - begins[:-1]
    return tokens[:-1], labels, numbers[:-1], positions, np.repeat(sources, sizes)[:-1]


def pack(documents: Sequence[tuple[int, NDArray[np.int64]]], length: int) -> Batch:
    """Pack whole documents, each with the index of its source, into sequences; the last one is padded."""
    sources = np.asarray([source for source, _ in documents])
    sizes = np.asarray([len(tokens) for _, tokens in documents])
    total = int(sizes.sum())
    rows = -(-(total - 1) // length)
    padding = rows * length + 1 - total
    tokens = np.concatenate([*(tokens for _, tokens in documents), np.zeros(padding, np.int64)])
    inputs, labels, numbers, positions, origin = masked_row(tokens, np.append(sizes, padding), np.append(sources, 0))
    labels[total - 1 :] = IGNORED
    arrays = (array.reshape(rows, length) for array in (inputs, labels, numbers, positions, origin))
    batch = Batch(*arrays)
    # A document that continues in the next sequence starts again there, as in training.
    starts = np.maximum.accumulate(
        np.where(np.diff(batch.documents, axis=1, prepend=-1) != 0, np.arange(length), 0), axis=1
    )
    return Batch(batch.inputs, batch.labels, batch.documents, np.arange(length) - starts, batch.sources)

"""Parquet, the layout of most data sets on the Hugging Face hub: named columns of rows, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cpt.corpora.reading.layout import Chunk, Record, RecordError, Stored, Unreadable, Volume, checked, into_chunks
from cpt.corpora.reading.opening import stored_bytes
from cpt.errors import UserError

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 20
"""With a buffer pages are read one by one; without, a whole column of a row group at once, which may be gigabytes."""


class Parquet:
    """`fields` are columns; `translation.en` is the column `en` in `translation`."""

    endings: tuple[str, ...] = (".parquet",)

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        (stored,) = volume.files
        return into_chunks(_rows(stored, _names(volume)))

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]:
        (stored,) = volume.files
        names = _names(volume)
        for number, row in enumerate(chunk.rows, start=chunk.first):
            try:
                yield checked("column", names, row)
            except RecordError as refused:
                yield Unreadable(f"{stored.name}: row {number}", str(refused))


def _names(volume: Volume) -> tuple[str, ...]:
    return volume.fields or ("text",)


def _rows(stored: Stored, names: tuple[str, ...]) -> Iterator[Record]:
    try:
        with stored_bytes(stored) as file:
            for batch in _batches(stored, file, names):
                yield from zip(*(_texts(_column(batch, name)) for name in names), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{stored.name}: cannot be read as Parquet ({error}); if it is damaged, fetch it again"
        ) from error


def _batches(stored: Stored, file: IO[bytes], names: tuple[str, ...]) -> Iterator[Any]:
    table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    leaves = [table.schema.column(number).path for number in range(len(table.schema))]
    for name in names:
        if name not in leaves:
            raise UserError(f"{stored.name}: no column '{name}'; it has {', '.join(leaves)}")
    return iter(table.iter_batches(batch_size=BATCH_ROWS, columns=list(names)))


def _column(batch: Any, name: str) -> Any:
    if name in batch.schema.names:
        return batch.column(name)
    head, *steps = name.split(".")
    return pc.struct_field(batch.column(head), steps)


def _texts(column: Any) -> list[str]:
    """Empty for a value that is null or no text; invalid UTF-8 becomes surrogates, which `checked` refuses."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = [
            value if value is None else value.decode("utf-8", "surrogateescape")
            for value in column.cast(pa.large_binary()).to_pylist()
        ]
    return [value if isinstance(value, str) else "" for value in values]

"""Shards: the tokens of one source's chosen documents under one tokenizer, memory-mapped, made once.

A shard's folder is named by a hash of what is in it, so every run that needs the same tokens finds them:

    tokens.bin    all documents end to end (uint16, or uint32 for vocabularies above 65,536)
    starts.npy    where each document starts, and the end
    amounts.npy   words and tokens of each document by language: [documents, languages, 2]
    shard.json    what it is

The folder is renamed into place when complete, so a shard that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.source import Doc, Source
from cpt.errors import UserError
from cpt.files import locked, read_json, replacing_folder, write_json
from cpt.keys import DATA_VERSION
from cpt.tokens.budget import Budget, choose, measure_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDS, TOKENS = 0, 1
"""Columns of `amounts`."""
BATCH_DOCS = 1_000


def shard_key(source: Source, budget: Budget, tokenizer_fingerprint: str) -> str:
    """What a shard holds, in one hash: source with its content, budget, tokenizer."""
    parts = [DATA_VERSION, source.name, source.fingerprint, asdict(budget), tokenizer_fingerprint]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """An opened shard; the arrays are memory-mapped, so opening costs nothing."""

    source: str
    languages: tuple[str, ...]
    tokens: NDArray[Any]
    starts: NDArray[np.int64]
    amounts: NDArray[np.int64]
    vocabulary: int

    @property
    def documents(self) -> int:
        return len(self.starts) - 1

    def total(self, column: int) -> dict[str, int]:
        """Words or tokens by language."""
        sums = self.amounts[:, :, column].sum(axis=0)
        return {code: int(amount) for code, amount in zip(self.languages, sums, strict=True)}


def open_shard(folder: Path) -> Shard:
    meta = read_json(folder / "shard.json")
    return Shard(
        source=meta["source"],
        languages=tuple(meta["languages"]),
        tokens=np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r"),
        starts=np.load(folder / "starts.npy", mmap_mode="r"),
        amounts=np.load(folder / "amounts.npy", mmap_mode="r"),
        vocabulary=meta["vocabulary"],
    )


def _whole(folder: Path) -> bool:
    """Whether a shard is there with every token it says it has; a damaged one is made again."""
    if not (folder / "shard.json").exists():
        return False
    size = (folder / "tokens.bin").stat().st_size // np.dtype(read_json(folder / "shard.json")["dtype"]).itemsize
    return bool(size == np.load(folder / "starts.npy", mmap_mode="r")[-1])


def token_counter(tokenizer: PreTrainedTokenizerFast) -> Any:
    """Counts a document's tokens, without the ones a tokenizer adds around it."""
    return lambda doc: len(tokenizer.backend_tokenizer.encode(doc.text, add_special_tokens=False).ids)


def make_shard(
    folder: Path,
    source: Source,
    budget: Budget,
    tokenizer: PreTrainedTokenizerFast,
    counter: PreTrainedTokenizerFast | None,
) -> Shard:
    """The shard in `folder`, tokenised first when no run has needed it yet. `counter` counts a budget of tokens."""
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not _whole(folder):
            measure = measure_of(budget, token_counter(counter or tokenizer))
            _write_shard(folder, source, choose(source.docs(), budget, measure), tokenizer)
    return open_shard(folder)


def _write_shard(folder: Path, source: Source, docs: Iterator[Doc], tokenizer: PreTrainedTokenizerFast) -> None:
    end = tokenizer.eos_token_id
    if end is None:
        name = tokenizer.name_or_path
        raise UserError(f"the tokenizer {name} has no end-of-text token, so documents cannot be told apart")
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    column = {code: index for index, code in enumerate(source.languages)}
    starts, amounts = [0], []
    with replacing_folder(folder) as temporary:
        with (temporary / "tokens.bin").open("wb") as file:
            while batch := list(islice(docs, BATCH_DOCS)):
                encodings = tokenizer.backend_tokenizer.encode_batch([doc.text for doc in batch])
                for doc, encoding in zip(batch, encodings, strict=True):
                    ids = encoding.ids if encoding.ids[-1:] == [end] else [*encoding.ids, end]
                    np.asarray(ids, dtype=dtype).tofile(file)
                    starts.append(starts[-1] + len(ids))
                    amounts.append(_amounts(doc, encoding.offsets, len(ids), column))
        if not amounts:
            raise UserError(f"source {source.name} has no documents; a run cannot train on an empty source")
        np.save(temporary / "starts.npy", np.asarray(starts, dtype=np.int64))
        np.save(temporary / "amounts.npy", np.asarray(amounts, dtype=np.int64))
        meta = {"source": source.name, "languages": source.languages, "fingerprint": source.fingerprint}
        write_json(temporary / "shard.json", {**meta, "dtype": np.dtype(dtype).name, "vocabulary": len(tokenizer)})


def _amounts(doc: Doc, offsets: list[tuple[int, int]], size: int, column: dict[str, int]) -> NDArray[np.int64]:
    """Words and tokens of one document by language; a token belongs to the part its last character is in."""
    result = np.zeros((len(column), 2), dtype=np.int64)
    for code, words in doc.words().items():
        result[column[code], WORDS] += words
    codes = [code for code, _ in doc.parts]
    for index in reversed(range(len(codes) - 1)):
        codes[index] = codes[index] or codes[index + 1]  # markup belongs to the text behind it
    ends = np.cumsum([len(text) for _, text in doc.parts])
    part_of = np.searchsorted(ends, np.asarray([max(end - 1, 0) for _, end in offsets], dtype=np.int64), side="right")
    columns = np.asarray([column[code] for code in codes])
    np.add.at(result[:, TOKENS], columns[np.minimum(part_of, len(columns) - 1)], 1)
    result[columns[-1], TOKENS] += size - len(offsets)  # the end-of-text token, where the tokenizer adds none itself
    return cast("NDArray[np.int64]", result)

"""Shards: the tokens of one source under one tokenizer, memory-mapped, made once for all runs.

The name of a shard's folder is a hash of its source with content, cleaning and form, and of its tokenizer. It holds the
source's documents in order, as many as any run has needed so far; a run that needs more extends it.

    tokens.bin       all documents end to end (uint16, or uint32 for vocabularies above 65,536)
    ends.bin         where each document ends
    amounts.bin      words, bytes and tokens of each document by language: [documents, languages, 3]
    stretches.bin    of documents in several languages, their runs of tokens in one; stretch_ends.bin counts them
    journal.jsonl    checksums piece by piece; marker.json what there is for good (cpt/growing_folder.py)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.chunks import PIECE_CHUNKS, START, Ahead, Position, Reading, chunks_from, position_from_json
from cpt.corpora.collected_text import TextFolder
from cpt.corpora.source import Amount, Source
from cpt.errors import UserError
from cpt.files import locked
from cpt.growing_folder import Growing, marker
from cpt.processes import WorkerPool
from cpt.run_keys import DATA_VERSION
from cpt.tokens.encode import BYTES, TOKENS, WORDS, Encoded, EncodeTask, TokenizerFile, encode

FILES = ("tokens.bin", "ends.bin", "amounts.bin", "stretches.bin", "stretch_ends.bin")
SAMPLES = 20

ProgressCallback = Callable[[str, int, int], None]
"""Called during work on a source with its name and its documents and tokens (or words) so far."""


def shard_key(source: Source, tokenizer_fingerprint: str) -> str:
    """A hash over everything that decides the content of a shard."""
    form = source.form.fingerprint if source.form else ""
    parts = [DATA_VERSION, *source.text_parts, form, tokenizer_fingerprint]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """An opened shard; the arrays are memory-mapped, so opening costs nothing."""

    source: str
    languages: tuple[str, ...]
    tokens: NDArray[Any]
    ends: NDArray[np.int64]
    amounts: NDArray[np.uint32]
    stretches: NDArray[np.uint32]
    stretch_ends: NDArray[np.int64]
    vocabulary: int
    start: int | None
    """The token every document begins with, if one does."""
    end: int
    habits: tuple[bool, bool]
    """Whether the tokenizer adds a start token by default, and whether it pads with the end token."""
    whole: bool
    """Whether it holds all there is of its source."""
    totals: NDArray[np.int64] | None = None
    """[languages, 3], of all its documents; none where that has to be added up."""

    @property
    def documents(self) -> int:
        return len(self.ends)

    def starts(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first token of documents."""
        previous = self.ends[np.maximum(documents - 1, 0)]
        return np.where(documents > 0, previous, 0)

    def total(self, column: int, documents: int | None = None) -> dict[str, int]:
        """Words, bytes or tokens by language, of all documents or the first ones."""
        count = self.documents if documents is None else documents
        sums = np.zeros(len(self.languages), dtype=np.int64)
        if self.totals is not None and count == self.documents:
            sums = self.totals[:, column]
        else:
            for part in blocks(count):
                sums = sums + self.amounts[part, :, column].sum(axis=0, dtype=np.int64)
        return {code: int(amount) for code, amount in zip(self.languages, sums, strict=True)}


def blocks(count: int, size: int = 1 << 20) -> Iterator[slice]:
    """A large array in parts that fit the memory."""
    return (slice(begin, min(begin + size, count)) for begin in range(0, count, size))


def open_shard(folder: Path) -> Shard:
    facts = marker(folder)
    if facts is None:
        raise UserError(f"{folder}: no whole shard there; launch again to make it")
    languages = tuple(facts["languages"])

    def mapped(name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        if not shape[0]:
            return np.zeros(shape, dtype)
        return np.memmap(folder / name, dtype=dtype, mode="r", shape=shape)

    count, several = facts["documents"], len(languages) > 1
    return Shard(
        source=facts["source"],
        languages=languages,
        tokens=mapped("tokens.bin", facts["dtype"], (sum(facts["tokens"].values()),)),
        ends=mapped("ends.bin", np.int64, (count,)),
        amounts=mapped("amounts.bin", np.uint32, (count, len(languages), 3)),
        stretches=mapped("stretches.bin", np.uint32, (facts["ends"]["stretches.bin"] // 4,)),
        stretch_ends=mapped("stretch_ends.bin", np.int64, (count if several else 0,)),
        vocabulary=facts["vocabulary"],
        start=facts["start"],
        end=facts["end"],
        habits=tuple(facts["habits"]),
        whole=facts["whole"],
        totals=np.asarray([[facts[name][code] for name in ("words", "bytes", "tokens")] for code in languages]),
    )


@dataclass(frozen=True)
class ShardMaker:
    """Makes or extends the shard of a source under a tokenizer."""

    folder: Path
    source: Source
    tokenizer: TokenizerFile
    text: TextFolder | None
    """The stored text of the source, if it is stored."""

    def ensure(self, need: Amount, pool: WorkerPool, progress: ProgressCallback | None = None) -> Shard:
        """The shard with at least this amount. One process tokenises, others wait."""
        if not self._enough(need):
            with locked(self.folder.with_name(f"{self.folder.name}.lock")):
                times = 0
                while not self._enough(need):
                    # The stored text may be enough; how much more is needed is known only after tokenising.
                    if self.text and (times or not self.text.exists):
                        self.text.ensure(need.of_text(max(times, 1), self._records_a_document), pool, progress)
                    self._grow(need, pool, progress)
                    times = max(2 * times, 1)
        return open_shard(self.folder)

    @property
    def _records_a_document(self) -> int:
        return self.source.form.size if self.source.form else 1

    def _enough(self, need: Amount) -> bool:
        facts = marker(self.folder)
        return facts is not None and "habits" in facts and (facts["whole"] or need.met(facts))

    def _grow(self, need: Amount, pool: WorkerPool, progress: ProgressCallback | None) -> None:
        growing = Growing(self.folder, FILES)
        state = _ShardState.of(growing, self.source.languages)
        volumes, whole = self.text.volumes() if self.text else (self.source.volumes(), True)
        # Stored text has its line breaks already.
        reading = Reading(self.source.languages, self.source.form, "" if self.text else self.source.newline)
        work = Ahead(
            (position, EncodeTask(reading, volume, chunk, self.tokenizer))
            for position, volume, chunk in chunks_from(volumes, state.position)
        )
        with closing(pool.run(encode, work.items())) as encoded:
            while not (state.documents and need.met(state.facts())):
                if not (results := list(islice(encoded, PIECE_CHUNKS))):
                    break
                state.take(growing, results, work.done(len(results)))
                if progress:
                    progress(self.source.name, state.documents, state.tokens)
        if whole and work.over and not state.documents:
            raise UserError(f"source {self.source.name} has no documents; a run cannot train on an empty source")
        growing.settle(
            source=self.source.name,
            languages=list(self.source.languages),
            dtype=np.dtype(self.tokenizer.dtype).name,
            vocabulary=self.tokenizer.vocabulary,
            start=self.tokenizer.start,
            end=self.tokenizer.end,
            habits=self.tokenizer.habits,
            tokenizer=self.tokenizer.fingerprint,
            whole=whole and work.over,
            unreadable=state.unreadable,
            samples=state.samples,
            **state.facts(),
        )


@dataclass
class _ShardState:
    """Progress of a shard."""

    languages: tuple[str, ...]
    documents: int
    totals: NDArray[np.int64]
    """[languages, 3]"""
    position: Position
    unreadable: int
    samples: list[str]

    @classmethod
    def of(cls, growing: Growing, languages: tuple[str, ...]) -> _ShardState:
        facts = growing.pieces[-1].facts if growing.pieces else {}
        totals = np.asarray(facts.get("totals", np.zeros((len(languages), 3))), dtype=np.int64)
        position = position_from_json(facts.get("place", START))
        documents, unreadable = facts.get("documents", 0), facts.get("unreadable", 0)
        return cls(languages, documents, totals, position, unreadable, facts.get("samples", []))

    @property
    def tokens(self) -> int:
        return int(self.totals[:, TOKENS].sum())

    def facts(self) -> dict[str, Any]:
        sums = {
            name: {code: int(total) for code, total in zip(self.languages, self.totals[:, column], strict=True)}
            for name, column in (("words", WORDS), ("bytes", BYTES), ("tokens", TOKENS))
        }
        return {"documents": self.documents, **sums}

    def take(self, growing: Growing, results: list[Encoded], position: Position) -> None:
        """Append a piece."""
        sizes = np.concatenate([result.sizes for result in results])
        counts = np.concatenate([result.stretch_counts for result in results])
        stored = growing.end("stretches.bin") // np.dtype(np.uint32).itemsize
        contents = {
            "tokens.bin": b"".join(result.tokens.tobytes() for result in results),
            "ends.bin": (np.cumsum(sizes, dtype=np.int64) + self.tokens).tobytes(),
            "amounts.bin": b"".join(result.amounts.tobytes() for result in results),
            "stretches.bin": b"".join(result.stretches.tobytes() for result in results),
            "stretch_ends.bin": (np.cumsum(counts, dtype=np.int64) + stored).tobytes(),
        }
        bad = [line for result in results for line in result.unreadable]
        self.documents += len(sizes)
        self.totals = self.totals + sum(result.amounts.sum(axis=0, dtype=np.int64) for result in results)
        self.unreadable += len(bad)
        self.samples = [*self.samples, *(f"{line.where}: {line.why}" for line in bad)][:SAMPLES]
        self.position = position
        growing.append(
            contents,
            documents=self.documents,
            totals=self.totals.tolist(),
            place=position,
            unreadable=self.unreadable,
            samples=self.samples,
        )

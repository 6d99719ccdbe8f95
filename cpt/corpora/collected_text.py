"""The text of a source as runs read it: downloaded once, cleaned once, stored for every tokenizer.

text.jsonl.zst   all records, one compressed frame per piece
marker.json      amounts, and what cleaning removed, with samples
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import zstandard

from cpt.corpora.chunks import PIECE_CHUNKS, START, Ahead, Position, Reading, chunks_from, position_from_json
from cpt.corpora.cleaning import CleanedRecord, Cleaning, Gate
from cpt.corpora.reading import LAYOUTS
from cpt.corpora.reading.layout import Chunk, Record, Stored, Unreadable, Volume
from cpt.corpora.source import Amount, Source
from cpt.files import locked, read_json, write_json
from cpt.growing_folder import Growing, marker, settled_ends
from cpt.processes import WorkerPool, load_shared
from cpt.run_keys import DATA_VERSION

FILE, SHOWN = "text.jsonl.zst", "samples.json"
SAMPLES = 20
ProgressCallback = Callable[[str, int, int], None]


def text_key(source: Source) -> str:
    return hashlib.sha256(json.dumps([DATA_VERSION, "text", *source.text_parts]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CleanTask:
    reading: Reading
    volume: Volume
    chunk: Chunk
    cleaning: Path
    """File of the cleaning that the pool shares."""


def clean(task: CleanTask) -> tuple[list[CleanedRecord], list[Unreadable]]:
    """The records of a chunk, each cleaned independently."""
    cleaning: Cleaning = load_shared(task.cleaning)
    cleaned, unreadable = [], []
    for record in task.reading.records(task.volume, task.chunk):
        if isinstance(record, Unreadable):
            unreadable.append(record)
        else:
            cleaned.append(cleaning.apply(record, task.reading.languages))
    return cleaned, unreadable


@dataclass(frozen=True)
class TextFolder:
    """A source's text on this machine."""

    folder: Path
    source: Source

    @property
    def _fields(self) -> tuple[str, ...]:
        return ("text",) if len(self.source.languages) == 1 else ("source", "target")

    def ensure(self, need: Amount, pool: WorkerPool, progress: ProgressCallback | None = None) -> None:
        """Collect the text up to the amount. One process collects, others wait."""
        if not self._enough(need):
            with locked(self.folder.with_name(f"{self.folder.name}.lock")):
                if not self._enough(need):
                    self._grow(need, pool, progress)

    @property
    def exists(self) -> bool:
        return marker(self.folder) is not None

    def _enough(self, need: Amount) -> bool:
        facts = marker(self.folder)
        return facts is not None and (facts["whole"] or need.met(facts))

    def volumes(self) -> tuple[tuple[Volume, ...], bool]:
        """Volumes to read, one per piece; and whether they are the whole source."""
        facts = marker(self.folder)
        assert facts is not None, "text is read only when it has been collected"
        ends = settled_ends(self.folder, FILE)
        return tuple(self._frame_at(begin, end) for begin, end in pairwise([0, *ends])), facts["whole"]

    def _frame_at(self, begin: int, end: int) -> Volume:
        return Volume("jsonl", (Stored(str(self.folder / FILE), begin=begin, size=end - begin),), self._fields)

    def _grow(self, need: Amount, pool: WorkerPool, progress: ProgressCallback | None) -> None:
        growing, cleaning = Growing(self.folder, (FILE,)), self._cleaning()
        gate, state = Gate(cleaning), _TextState.of(growing)
        if growing.pieces:
            report = with_samples(growing.pieces[-1].facts["report"], self._samples())
            gate.restore(self._stored_records(growing), self.source.languages, report)
        reading, shared = Reading(self.source.languages, None, self.source.newline), pool.share(cleaning)
        work = Ahead(
            (position, CleanTask(reading, volume, chunk, shared))
            for position, volume, chunk in chunks_from(self.source.volumes(), state.place)
        )
        with closing(pool.run(clean, work.items())) as cleaned:
            while not (state.documents and need.met(state.facts())):
                if not (results := list(islice(cleaned, PIECE_CHUNKS))):
                    break
                passed = [record for records, _ in results for record in records if gate.admit(record)]
                state.take(passed, [line for _, bad in results for line in bad], work.done(len(results)))
                report = gate.report()
                growing.append({FILE: self._frame(passed)}, report=with_samples(report, {}), **state.record())
                write_json(self.folder / SHOWN, {name: step["samples"] for name, step in report["steps"].items()})
                if progress:
                    progress(self.source.name, state.documents, state.words)
        growing.settle(
            source=self.source.name,
            languages=list(self.source.languages),
            whole=work.over,
            unreadable=state.unreadable,
            samples=state.samples,
            cleaning=gate.report(),
            steps=cleaning.fingerprint,
            **state.facts(),
        )

    def _cleaning(self) -> Cleaning:
        return self.source.cleaning() if self.source.cleaning else Cleaning(())

    def _samples(self) -> dict[str, list[Any]]:
        """Samples of removed records as last written; a kill may lose the latest few."""
        path = self.folder / SHOWN
        return dict(read_json(path)) if path.exists() else {}

    def _frame(self, records: list[CleanedRecord]) -> bytes:
        lines = (
            json.dumps(dict(zip(self._fields, record.texts, strict=True)), ensure_ascii=False) for record in records
        )
        return zstandard.compress("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def _stored_records(self, growing: Growing) -> Iterator[Record]:
        """The stored records, so that their duplicates are recognised after a restart."""
        ends = [piece.ends[FILE] for piece in growing.pieces]
        for begin, end in pairwise([0, *ends]):
            volume = self._frame_at(begin, end)
            for chunk in LAYOUTS["jsonl"].chunks(volume):
                for record in LAYOUTS["jsonl"].records(volume, chunk):
                    assert not isinstance(record, Unreadable), "what was written can be read"
                    yield record


def with_samples(report: dict[str, Any], samples: dict[str, list[Any]]) -> dict[str, Any]:
    """A report with other samples, which are stored once instead of with every piece."""
    steps = {name: {**step, "samples": samples.get(name, [])} for name, step in report["steps"].items()}
    return {**report, "steps": steps}


@dataclass
class _TextState:
    """Progress of a text. Field names are those of the journal on disk."""

    documents: int = 0
    words: int = 0
    bytes: int = 0
    place: Position = START
    unreadable: int = 0
    samples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, growing: Growing) -> _TextState:
        if not growing.pieces:
            return cls()
        facts = {item.name: growing.pieces[-1].facts[item.name] for item in fields(cls)}
        return cls(**{**facts, "place": position_from_json(facts["place"])})

    def take(self, passed: list[CleanedRecord], bad: list[Unreadable], place: Position) -> None:
        self.documents += len(passed)
        self.words += sum(record.words for record in passed)
        self.bytes += sum(len(text.encode()) for record in passed for text in record.texts)
        self.unreadable += len(bad)
        self.samples = [*self.samples, *(f"{line.where}: {line.why}" for line in bad)][:SAMPLES]
        self.place = place

    def record(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def facts(self) -> dict[str, Any]:
        """Amounts so far; both sides of pairs together."""
        return {"documents": self.documents, "words": {"all": self.words}, "bytes": {"all": self.bytes}}

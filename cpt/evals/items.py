"""The questions of a unit with their answers, written to disk batch by batch.

    items/<task>.<language>.<direction>.<protocol>-<key>.<rank>.jsonl.zst

A batch is one zstd frame, so an incomplete one can be cut off, and every rank has a file of its own. Any zstd reads
them: `zstdcat … | jq .answer`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zstandard

from cpt.evals.benchmark import Item, Question, Unit
from cpt.evals.metrics.measured import Measured
from cpt.evals.questions import as_record, from_record
from cpt.files import replacing

log = logging.getLogger(__name__)

LEVEL = 6
"""zstd compression level: few-shot prompts repeat themselves and shrink to a sixth."""


class Items:
    """The answers of one unit by all ranks."""

    def __init__(self, folder: Path, unit: Unit, key: str) -> None:
        self._stem = f"{unit_name(unit)}-{key[:8]}"
        self.folder = folder
        self._repaired: set[int] = set()

    def path(self, rank: int) -> Path:
        return self.folder / f"{self._stem}.{rank}.jsonl.zst"

    def records(self) -> dict[int, dict[str, Any]]:
        """The stored records by item number; of two answers to one question, the lower rank's counts."""
        records: dict[int, dict[str, Any]] = {}
        paths = self.folder.glob(f"{self._stem}.*.jsonl.zst")
        for path in sorted(paths, key=lambda path: int(path.name.split(".")[-3]), reverse=True):
            for record in frames(path)[0]:
                records[record["item"]] = record
        return dict(sorted(records.items()))

    def known(self, questions: Sequence[Question]) -> set[int]:
        """Numbers of the questions with an answer to exactly this request."""
        records = self.records()
        return {n for n, question in enumerate(questions) if n in records and _same(records[n], question)}

    def complete(self) -> list[Item] | None:
        """All items in order, or None while answers are missing."""
        records = self.records()
        if not records or len(records) < next(iter(records.values()))["of"]:
            return None
        return [Item(from_record(r["ask"]), r["facts"], r["answer"]) for r in records.values()]

    def append(self, rank: int, numbers: Sequence[int], questions: Sequence[Question], answers: Sequence[Any]) -> None:
        lines = [
            {
                "item": number,
                "of": len(questions),
                "ask": as_record(questions[number].request),
                "facts": questions[number].facts,
                "answer": answer,
            }
            for number, answer in zip(numbers, answers, strict=True)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(
            text.encode("utf-8", "surrogatepass")
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(rank)
        if rank not in self._repaired:
            repair(path)
            self._repaired.add(rank)
        with path.open("ab") as file:
            file.write(frame)

    def discard_outdated(self, number_of_questions: int) -> None:
        """Set aside answers to another number of questions: the questions have changed."""
        for path in self.folder.glob(f"{self._stem}.*.jsonl.zst"):
            records, _ = frames(path)
            if any(record["of"] != number_of_questions for record in records):
                log.warning("%s: answers to other questions; set aside", path)
                path.replace(path.with_suffix(".old"))


def write_item_scores(path: Path, measured: Sequence[Measured]) -> None:
    """Write each item's own score in every metric, one line per item; null where a metric does not apply."""
    counted = {each.metric: each.counted for each in measured}
    lines = []
    for number in range(max((len(each.statistics) for each in measured), default=0)):
        scores = {
            each.metric: each.score(each.statistics[number]) if counted[each.metric][number] else None
            for each in measured
        }
        lines.append(json.dumps({"item": number, "scores": scores}) + "\n")
    with replacing(path) as file:
        file.write(zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress("".join(lines).encode()))


def unit_name(unit: Unit) -> str:
    """A unit's name in files."""
    return unit.title.replace(" ", ".")


def _same(record: dict[str, Any], question: Question) -> bool:
    return from_record(record["ask"]) == question.request and bool(record["facts"] == question.facts)


def frames(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of all complete frames, and the size of these in bytes."""
    data = path.read_bytes() if path.exists() else b""
    records: list[dict[str, Any]] = []
    whole = 0
    while whole < len(data):
        reader = zstandard.ZstdDecompressor().decompressobj()
        try:
            text = reader.decompress(data[whole:]).decode("utf-8", "surrogatepass")
            # Lines end at line feeds only: texts may contain other separators.
            lines = [json.loads(line) for line in text.split("\n") if line] if reader.eof else []
        except (zstandard.ZstdError, ValueError):
            break
        if not reader.eof:
            break
        records += lines
        whole = len(data) - len(reader.unused_data)
    return records, whole


def repair(path: Path) -> None:
    """Cut off incomplete or damaged frames; their questions are answered again."""
    if path.exists():
        _, whole = frames(path)
        if whole < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(whole)

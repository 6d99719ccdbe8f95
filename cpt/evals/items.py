"""Every question of a unit with its answer, on disk as soon as it is answered.

    items/<task>.<language>.<direction>.<protocol>-<key>.<rank>.jsonl.zst

A batch of questions is one zstd frame, written at once: what a kill left half written is cut off, and every process
that asks has a file of its own. Any zstd reads them: `zstdcat … | jq .answer`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zstandard

from cpt.evals.benchmark import Item, Measured, Question, Unit
from cpt.evals.questions import as_record, from_record
from cpt.files import replacing

log = logging.getLogger(__name__)

LEVEL = 6
"""Of compression: few-shot prompts repeat themselves, a sixth of their size is left."""


class Items:
    """The answers of one unit, by however many processes."""

    def __init__(self, folder: Path, unit: Unit, key: str) -> None:
        self._stem = f"{called(unit)}-{key[:8]}"
        self.folder = folder
        self._mended: set[int] = set()

    def path(self, rank: int) -> Path:
        return self.folder / f"{self._stem}.{rank}.jsonl.zst"

    def records(self) -> dict[int, dict[str, Any]]:
        """What is kept, by the number of the item; of two answers to one question the lower rank's counts."""
        found: dict[int, dict[str, Any]] = {}
        paths = self.folder.glob(f"{self._stem}.*.jsonl.zst")
        for path in sorted(paths, key=lambda path: int(path.name.split(".")[-3]), reverse=True):
            for record in frames(path)[0]:
                found[record["item"]] = record
        return dict(sorted(found.items()))

    def known(self, questions: Sequence[Question]) -> set[int]:
        """Numbers of these very questions that are answered; one that was asked otherwise is not."""
        records = self.records()
        return {n for n, question in enumerate(questions) if n in records and _same(records[n], question)}

    def complete(self) -> list[Item] | None:
        """All items in their order, once there is an answer to each."""
        records = self.records()
        if not records or len(records) < next(iter(records.values()))["of"]:
            return None
        return [Item(from_record(r["ask"]), r["facts"], r["answer"]) for r in records.values()]

    def append(self, rank: int, numbers: Sequence[int], questions: Sequence[Question], answers: Sequence[Any]) -> None:
        lines = [
            {
                "item": number,
                "of": len(questions),
                "ask": as_record(questions[number].ask),
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
        if rank not in self._mended:
            mend(path)
            self._mended.add(rank)
        with path.open("ab") as file:
            file.write(frame)

    def forget(self, number_of_questions: int) -> None:
        """Drop what was asked of another number of items: its questions are not these."""
        for path in self.folder.glob(f"{self._stem}.*.jsonl.zst"):
            found, _ = frames(path)
            if any(record["of"] != number_of_questions for record in found):
                log.warning("%s: of other questions than are asked now; set aside", path)
                path.replace(path.with_suffix(".old"))


def write_item_scores(path: Path, measured: Sequence[Measured]) -> None:
    """What every item by itself comes to in every metric, a line an item; nothing where a metric does not count it."""
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


def called(unit: Unit) -> str:
    """A unit's name in files."""
    return unit.title.replace(" ", ".")


def _same(record: dict[str, Any], question: Question) -> bool:
    return from_record(record["ask"]) == question.ask and bool(record["facts"] == question.facts)


def frames(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of every whole frame, and how many bytes these take."""
    data = path.read_bytes() if path.exists() else b""
    records: list[dict[str, Any]] = []
    whole = 0
    while whole < len(data):
        reader = zstandard.ZstdDecompressor().decompressobj()
        try:
            text = reader.decompress(data[whole:]).decode("utf-8", "surrogatepass")
            # Only line feeds end a line: texts hold other separators as they are.
            found = [json.loads(line) for line in text.split("\n") if line] if reader.eof else []
        except (zstandard.ZstdError, ValueError):
            break
        if not reader.eof:
            break
        records += found
        whole = len(data) - len(reader.unused_data)
    return records, whole


def mend(path: Path) -> None:
    """Cut off what a kill or a damaged disk left that is not whole; it is asked again."""
    if path.exists():
        _, whole = frames(path)
        if whole < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(whole)

"""Bits per byte of unseen text: what a model has learnt of a language, comparable across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpt.config import BenchmarkConfig
from cpt.corpora.document import CODE
from cpt.corpora.source import json_lines
from cpt.errors import UserError
from cpt.evals.aids import Aids
from cpt.evals.benchmark import Encode, Item, Measured, Question, Unit
from cpt.evals.benchmarks.flores200 import read_sentences
from cpt.evals.questions import Likelihood


class BitsPerByte:
    """Reads `<folder>/<language>.jsonl` and `<folder>/code.jsonl`, one document a line."""

    task = "bpb"

    def __init__(self, config: BenchmarkConfig, folder: Path, aids: Aids) -> None:
        self.config, self.folder = config, folder

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit(self.task, language, "", "") for language in (*languages, CODE)]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / f"{unit.language}.jsonl"]

    def check(self, unit: Unit) -> None:
        texts = self._texts(unit)
        if not texts or not all(texts):
            raise UserError(f"{self.files(unit)[0]}: no text, or an empty one; bits per byte need held-out text")

    def _texts(self, unit: Unit) -> list[str]:
        return [text for (text,) in json_lines(self.files(unit)[0], "text")][: self.config.items]

    def wording(self, unit: Unit) -> str:
        return ""

    def variant(self, unit: Unit) -> str:
        return ""

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        self.check(unit)
        return [Question(Likelihood(text)) for text in self._texts(unit)]

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        rows = [[item.answer, len(item.ask.text.encode())] for item in items if isinstance(item.ask, Likelihood)]
        return [Measured("bits_per_byte", np.array(rows, dtype=np.float64), _of_sums)]


class FloresBitsPerByte(BitsPerByte):
    """Of FLORES-200's devtest, the same sentences in every language, each read alone."""

    task = "bpb_flores"

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit(self.task, language, "", "") for language in languages]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / "devtest" / f"{unit.language}.devtest"]

    def _texts(self, unit: Unit) -> list[str]:
        return read_sentences(self.files(unit)[0])[: self.config.items]


def _of_sums(sums: NDArray[np.float64]) -> float:
    return bits_per_byte(sums[0], sums[1])


def bits_per_byte(nats: float, size: float) -> float:
    """Bits a model spends on each byte of a text of `size` bytes."""
    return float(nats / math.log(2) / size)

"""Bits per byte of held-out text, comparable across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.document import CODE
from cpt.corpora.source import json_lines
from cpt.errors import UserError
from cpt.evals.benchmark import Benchmark, Encode, Item, Question, Unit, register
from cpt.evals.benchmarks.flores200 import read_sentences
from cpt.evals.metrics.measured import Measured
from cpt.evals.questions import Likelihood


@register
class BitsPerByte(Benchmark):
    """Reads `<folder>/<language>.jsonl` and `<folder>/code.jsonl`, one document per line."""

    name = "bpb"
    paths_key = "heldout"

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit(self.name, language, "", "") for language in (*languages, CODE)]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / f"{unit.language}.jsonl"]

    def check(self, unit: Unit) -> None:
        texts = self._texts(unit)
        if not texts or not all(texts):
            raise UserError(f"{self.files(unit)[0]}: no text, or an empty one; bits per byte need held-out text")

    def _texts(self, unit: Unit) -> list[str]:
        return [text for (text,) in json_lines(self.files(unit)[0], "text")][: self.config.items]

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        self.check(unit)
        return [Question(Likelihood(text)) for text in self._texts(unit)]

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        rows = [
            [item.answer, len(item.request.text.encode())] for item in items if isinstance(item.request, Likelihood)
        ]
        return [Measured("bits_per_byte", np.array(rows, dtype=np.float64), _bits_per_byte)]


@register
class FloresBitsPerByte(BitsPerByte):
    """Over FLORES-200's devtest: the same sentences in every language, each by itself."""

    name = "bpb_flores"
    paths_key = "flores200"

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit(self.name, language, "", "") for language in languages]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / "devtest" / f"{unit.language}.devtest"]

    def _texts(self, unit: Unit) -> list[str]:
        return read_sentences(self.files(unit)[0])[: self.config.items]


def bits_per_byte(nats: float, size: float) -> float:
    """A negative log-likelihood in nats as bits per byte of a text of `size` bytes."""
    return float(nats / math.log(2) / size)


def _bits_per_byte(sums: NDArray[np.float64]) -> float:
    return bits_per_byte(sums[0], sums[1])

"""Bits per byte of held-out text: what a model has learnt of a language, comparable across tokenizers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpt.config import BenchmarkConfig
from cpt.corpora.source import CODE, json_lines
from cpt.errors import UserError
from cpt.evals.benchmark import Score, Unit
from cpt.evals.bootstrap import interval

if TYPE_CHECKING:
    from cpt.evals.scorer import Scorer


class BitsPerByte:
    """Reads `<folder>/<language>.jsonl` and `<folder>/code.jsonl`, one document a line."""

    def __init__(self, config: BenchmarkConfig, folder: Path, bootstrap: int) -> None:
        self.config, self.folder, self.bootstrap = config, folder, bootstrap

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit("bpb", language, "", "") for language in (*languages, CODE)]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / f"{unit.language}.jsonl"]

    def variant(self, unit: Unit) -> str:
        return ""

    def score(self, unit: Unit, scorer: Scorer) -> list[Score]:
        texts = [text for (text,) in json_lines(self.files(unit)[0], "text")][: self.config.items]
        if not all(texts) or not texts:
            raise UserError(f"{self.files(unit)[0]}: no text, or an empty one; bits per byte need held-out text")
        nats = scorer.nats(texts, self.config.batch)
        statistics = np.array([[loss, len(text.encode())] for loss, text in zip(nats, texts, strict=True)])
        low, high = interval(statistics, lambda sums: bits_per_byte(sums[0], sums[1]), self.bootstrap)
        total = statistics.sum(axis=0)
        return [Score("bits_per_byte", bits_per_byte(total[0], total[1]), len(texts), low, high)]


def bits_per_byte(nats: float, size: int) -> float:
    """Bits a model spends on each byte of a text of `size` bytes."""
    return nats / math.log(2) / size

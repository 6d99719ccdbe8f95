"""What single items come to, as an evaluation keeps them: without them nothing is known of what languages share.

The same sentence is asked in every language of a benchmark, so languages are not independent samples of its items.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from cpt.evals.benchmark import Unit
from cpt.evals.items import unit_name

SCORES = "scores"
Values = NDArray[np.float64]


class ItemScores:
    """Of every run and base model of a study."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self._known: dict[Path, dict[str, Values]] = {}
        self._of = ("", "", "")
        """What is in memory: one benchmark's, for of a thousand runs all would be gigabytes."""

    def of(self, run_id: str, task: str, language: str, direction: str, protocol: str, metric: str) -> Values | None:
        """A value an item, in the order of the benchmark, not a number where the metric does not count it.

        None where nothing is kept. What a corpus score such as BLEU comes to on one item is the score of that item.
        """
        unit = Unit(task, language, direction, protocol)
        path = self._study / run_id / SCORES / f"{unit_name(unit)}.jsonl.zst"
        if self._of != (task, direction, protocol):
            self._of = (task, direction, protocol)
            self._known.clear()
        if path not in self._known:
            self._known[path] = _read(path)
        return self._known[path].get(metric)


def _read(path: Path) -> dict[str, Values]:
    """Every metric of one unit; empty where there is no whole file."""
    try:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        # As one list: lines parsed one by one take three times as long, and a large study has millions.
        scores = [line["scores"] for line in json.loads(b"[" + b",".join(data.splitlines()) + b"]")]
    except (FileNotFoundError, zstandard.ZstdError, ValueError, KeyError):
        return {}
    if not scores:
        return {}
    named = {metric: [line[metric] for line in scores] for metric in scores[0]}
    return {metric: np.array(values, dtype="float64") for metric, values in named.items()}

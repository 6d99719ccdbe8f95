"""Read the scores of single items that evaluations store.

A benchmark has the same sentences in every language, so languages are not independent samples of its items.
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
    """Item scores of all runs and base models of a study."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self._known: dict[tuple[str, str], dict[str, Values]] = {}
        self._exists: dict[str, bool] = {}
        """Whether a run has item scores."""
        self._of = ("", "", "")
        """The benchmark in memory; only one at a time, because all of a thousand runs would be gigabytes."""

    def of(self, run_id: str, task: str, language: str, direction: str, protocol: str, metric: str) -> Values | None:
        """One value per item in the order of the benchmark, NaN if the metric does not count it; None if not stored.

        For corpus scores such as BLEU, the value is the score of the item alone.
        """
        if self._of != (task, direction, protocol):
            self._of = (task, direction, protocol)
            self.clear()
        key = run_id, language
        if key not in self._known:
            unit = Unit(task, language, direction, protocol)
            path = self._folder(run_id) / f"{unit_name(unit)}.jsonl.zst"
            self._known[key] = _read(path) if self._exists[run_id] else {}
        return self._known[key].get(metric)

    def clear(self) -> None:
        """Release what was read."""
        self._known.clear()

    def _folder(self, run_id: str) -> Path:
        folder = self._study / run_id / SCORES
        if run_id not in self._exists:
            self._exists[run_id] = folder.is_dir()
        return folder


def _read(path: Path) -> dict[str, Values]:
    """Every metric of one unit; empty if there is no complete file."""
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

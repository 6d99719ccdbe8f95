"""A sacrebleu score as statistics of single sentences: corpus statistics are their sums, so they can be resampled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.evals.benchmark import Measured


def corpus_measured(name: str, metric: Any, outputs: list[str], references: list[str]) -> Measured:
    """`metric` of sacrebleu over outputs with one reference each."""
    statistics = np.array(metric._extract_corpus_statistics(outputs, [references]), dtype=np.float64)
    return Measured(name, statistics, partial(_score, metric), str(metric.get_signature()))


def _score(metric: Any, sums: NDArray[np.float64]) -> float:
    return float(metric._compute_score_from_stats(sums.tolist()).score)

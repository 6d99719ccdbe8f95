"""Continual pretraining of language models as a factorial study."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpt.results.analysis.study_results import StudyResults

__all__ = ["load_study"]


def load_study(folder: str | PathLike[str]) -> StudyResults:
    """Load the results of a study from its folder, such as `runs/toy`, as pandas frames.

    The frames are `rows`, `effects`, `forgetting`, `best`, `ledgers` and `curves`; docs/analysis.md describes them.
    Saved tables are used if no score has changed since, else they are computed again. Nothing is written.
    """
    from pathlib import Path

    from cpt.results.analysis.study_results import StudyResults
    from cpt.study.compare.forgetting_table import current_forgetting

    study = Path(folder)
    if not study.is_dir():
        raise FileNotFoundError(f"{study} is no folder of a study")
    return StudyResults.compute(study, current_forgetting)

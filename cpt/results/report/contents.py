"""The results of a study with what only the page's older sections need."""

from __future__ import annotations

from dataclasses import dataclass

from cpt.results.analysis.study_results import Axes, StudyResults, run_order
from cpt.results.report.markup import Cell
from cpt.results.rows.banners import BANNERS, PUBLISHED, PUBLISHED_LABEL, TOY, TOY_LABEL

__all__ = ["BANNERS", "PUBLISHED", "PUBLISHED_LABEL", "TOY", "TOY_LABEL", "Axes", "Contents", "run_order"]


@dataclass(frozen=True)
class Contents(StudyResults):
    def named(self, run_id: str, langcat: str = "") -> Cell:
        """The cell that names the run of a line, by which the line is filtered."""
        style = "base" if run_id in self.bases else None
        return Cell(self.labels[run_id], title=run_id, style=style, point=self.point(run_id, langcat))

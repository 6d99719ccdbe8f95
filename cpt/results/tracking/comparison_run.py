"""The comparison run of a study: a run in the mirror that holds the tables, the report and its plots."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import change_of_groups
from cpt.results.analysis.study_results import StudyResults
from cpt.results.rows.table import MEASURE, RUN_ORDER

FOLDER = ".comparison"
"""In the study's folder: the record of what was sent, and files of the mirror."""
JOB_TYPE = "comparison"
LARGEST = 8 << 20
"""Bytes; larger pages are not sent."""


@dataclass(frozen=True)
class ComparisonArtifacts:
    """Tables and pages of a comparison."""

    rows: pd.DataFrame
    computed: dict[str, pd.DataFrame]
    """Effects and forgetting, if they are not empty."""
    pages: dict[str, Path] = field(default_factory=dict)
    """The report and plots: HTML and SVG."""

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables, with the means of each run and the changes against the base model."""
        rows = self.rows
        return {"rows": rows, "means": means(rows), "change": change_of_groups(rows)} | self.computed

    @cached_property
    def digest(self) -> str:
        """Digest of the numbers and plots; everything else, the report too, follows from them."""
        hashed = hashlib.sha256()
        for name, table in ({"rows": self.rows} | self.computed).items():
            hashed.update(f"{name}\n{table.to_csv(index=False)}".encode())
        for name, path in self.pages.items():
            if name != "report":
                hashed.update(name.encode() + path.read_bytes())
        return hashed.hexdigest()[:16]


def comparison_artifacts(results: StudyResults, study: Path) -> ComparisonArtifacts | None:
    """The tables of a study and the plots in its folder; None before anything is scored."""
    if results.rows.empty:
        return None
    computed = {"effects": results.effects, "forgetting": results.forgetting}
    computed = {name: table for name, table in computed.items() if not table.empty}
    files = {"report": study / "report.html"}
    files |= {f"{path.stem}_drawing": path for path in sorted((study / "plots").glob("*.svg"))}
    pages = {name: path for name, path in files.items() if path.exists() and path.stat().st_size <= LARGEST}
    return ComparisonArtifacts(results.rows, computed, pages)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of each run, measure and role over its languages, and the number of languages."""
    by = ["run", *RUN_ORDER, "role", *MEASURE]
    grouped = rows.groupby(by, sort=False, dropna=False)["value"]
    return grouped.agg(value="mean", languages="size").reset_index()


def axes_of(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """The factors of the study, with the levels of its runs."""
    trained = rows[rows["data"] != "base"]
    axes = {name: sorted(trained[name].dropna().unique().tolist()) for name in ("model", "data", "code", "langcat")}
    return axes | {"seed": sorted(int(seed) for seed in trained["seed"].dropna().unique())}

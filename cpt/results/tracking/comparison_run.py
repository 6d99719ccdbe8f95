"""A study's comparison in its mirror: one run beside the others that holds the tables and the report's drawings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt.results.analysis.change.against_base import change_of_groups
from cpt.results.analysis.study_results import StudyResults
from cpt.results.rows.table import MEASURE, RUN_ORDER
from cpt.results.tracking.sent_record import Owner, Recorded, key_of, read_record

if TYPE_CHECKING:
    from cpt.results.tracking.mirror import Destination, Identity

FOLDER = ".comparison"
"""In the study's folder: what was sent, and the files of a mirror that keeps some."""
JOB_TYPE = "comparison"
LARGEST = 8 << 20
"""Bytes of a page beyond which it is left to be opened from disk."""
_REPORT, _PLOTS = "report.html", "plots"


@dataclass(frozen=True)
class Exhibits:
    """What a comparison shows."""

    rows: pd.DataFrame
    computed: dict[str, pd.DataFrame]
    """Effects and forgetting, as far as they are there."""
    pages: dict[str, Path] = field(default_factory=dict)
    """The report and drawings: HTML and SVG."""

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """With means of each run, and changes against the base."""
        rows = self.rows
        return {"rows": rows, "means": means(rows), "change": change_of_groups(rows)} | self.computed

    @cached_property
    def digest(self) -> str:
        """Of the numbers and drawings, without what follows from them; the report says the same in other words."""
        found = hashlib.sha256()
        for name, table in ({"rows": self.rows} | self.computed).items():
            found.update(f"{name}\n{table.to_csv(index=False)}".encode())
        for name, path in self.pages.items():
            if name != "report":
                found.update(name.encode() + path.read_bytes())
        return found.hexdigest()[:16]


def exhibits_of(results: StudyResults, study: Path) -> Exhibits | None:
    """The tables of a study and the drawings in its folder; None while nothing is scored."""
    if results.rows.empty:
        return None
    computed = {"effects": results.effects, "forgetting": results.forgetting}
    computed = {name: table for name, table in computed.items() if not table.empty}
    drawings = {f"{path.stem}_drawing": path for path in sorted((study / _PLOTS).glob("*.svg"))}
    found = {"report": study / _REPORT} | drawings
    pages = {name: path for name, path in found.items() if path.exists() and path.stat().st_size <= LARGEST}
    return Exhibits(results.rows, computed, pages)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of each run in each measure over the languages of each role, with how many they are."""
    by = ["run", *RUN_ORDER, "role", *MEASURE]
    grouped = rows.groupby(by, sort=False, dropna=False)["value"]
    return grouped.agg(value="mean", languages="size").reset_index()


def axes_of(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """What the study's runs differ in, and the values they take."""
    trained = rows[rows["data"] != "base"]
    axes = {name: sorted(trained[name].dropna().unique().tolist()) for name in ("model", "data", "code", "langcat")}
    return axes | {"seed": sorted(int(seed) for seed in trained["seed"].dropna().unique())}


def lacks_comparison(study: Path, exhibits: Exhibits, owner: Owner, place: Destination) -> bool:
    """Whether a mirror lacks the comparison as it is now, by what is remembered."""
    return read_record(study / FOLDER, key_of(place, owner)).summary != exhibits.digest


def send_comparison(study: Path, exhibits: Exhibits, identity: Identity, place: Destination) -> bool:
    """Send the comparison to a mirror that lacks it as it is now; returns whether it did.

    Concluded again it goes on under the same id, a step further, and the last one is what a mirror shows.
    """
    if not lacks_comparison(study, exhibits, identity, place):
        return False
    folder = study / FOLDER
    sink = Recorded(folder, identity, place, folder)
    try:
        sink.show(exhibits)
    except BaseException:
        sink.give_up()
        raise
    sink.close(failed=False)
    return True

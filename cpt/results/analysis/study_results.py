"""The results of a study: computed from its rows once, and read by the report, plots, terminal and mirrors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd

from cpt.results.analysis.change.forgetting import no_lines, read_forgetting
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.change.mono_bi_pairs import SIDES, Pairs, pairs
from cpt.results.analysis.choice.tradeoff import Pareto, pareto, spent
from cpt.results.analysis.effects.effects_table import effects, read_effects
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.banners import BANNERS, PUBLISHED
from cpt.results.rows.measures import MIXING, Measure
from cpt.results.rows.run_folders import RunFolder, labels, read_plan, run_folders
from cpt.results.rows.table import DATA_ORDER, MEASURE, read_table


@dataclass(frozen=True)
class Axes:
    """Where a run stands in the study."""

    model: str
    data: str
    code: bool
    langcat: str


@dataclass(frozen=True)
class StudyResults:
    name: str
    scale: str
    provenance: dict[str, str]
    table: pd.DataFrame
    folders: list[RunFolder]
    plan: list[dict[str, str]]
    labels: dict[str, str]
    """What each run is called, by run id."""
    axes: dict[str, Axes]
    """By run id, for the runs whose rows or plan tell."""
    forgetting: pd.DataFrame
    """Of `forgetting.csv`; empty where there is none."""
    effects: pd.DataFrame
    """Of `effects.csv`; empty where there is none."""
    set_aside: pd.DataFrame
    """Rows known to be out of line, with why as `odd`: listed, but in no table and no comparison."""

    @property
    def published(self) -> bool:
        return self.scale == PUBLISHED

    @property
    def banner(self) -> str:
        return BANNERS.get(self.scale, "")

    @property
    def tag(self) -> str:
        """The word that marks every table of numbers that must not pass as real results of ours; empty for those."""
        return self.scale if self.banner else ""

    @property
    def planned(self) -> set[str]:
        """Ids of all runs and base models the study is known to consist of."""
        return {folder.run_id for folder in self.folders} | {row["run_id"] for row in self.plan if row.get("run_id")}

    @cached_property
    def bases(self) -> set[str]:
        """Ids of the base models that have been scored."""
        return {run_id for run_id, axes in self.axes.items() if axes.data == "base"}

    @property
    def trained(self) -> list[str]:
        """Ids of the runs that are not base models, as far as their rows or the plan tell."""
        return [run_id for run_id, axes in self.axes.items() if axes.data != "base"]

    @cached_property
    def points(self) -> list[Axes]:
        """The study's points in order, whatever the seed; a base model is at one in each category."""
        categories = {axes.langcat for axes in self.axes.values()}
        bases = {replace(self.axes[run], langcat=langcat) for run in self.bases for langcat in categories}
        return sorted(bases | set(self.axes.values()), key=run_order)

    @cached_property
    def _places(self) -> dict[Axes, int]:
        return {axes: place for place, axes in enumerate(self.points)}

    def point(self, run_id: str, langcat: str = "") -> int | None:
        """Where among the points a run is: what is marked with it (`data-a`) is shown or not by the page's filter.

        A base model's line in a table of one category is at that category's point. None for what nothing is known of.
        """
        axes = self.axes.get(run_id)
        if axes is None:
            return None
        return self._places.get(replace(axes, langcat=langcat) if langcat else axes)

    @cached_property
    def quality(self) -> Self:
        """Without the shares of outputs that have something wrong with them, which have a section of their own."""
        return replace(self, table=self.table[~self.table["metric"].isin(MIXING)].reset_index(drop=True))

    @cached_property
    def pairs(self) -> dict[str, Pairs]:
        """By axis, the runs that differ in it alone: drawn in the page, and as files."""
        return {axis: Pairs(pairs(self.table, axis)) for axis in SIDES}

    @cached_property
    def pareto(self) -> Pareto | None:
        """What each run gains, forgets and costs; told in the page, and drawn as a file."""
        items = ItemScores(self.folders[0].path.parent) if self.folders else None
        return pareto(self.table, self.forgetting, spent(self.folders, self.plan), items)

    def measures(self) -> list[Measure]:
        """What was measured, headline protocols first, in the order of the table."""
        found = self.table[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)
        headline = headline_protocols(self.table)
        measures = [Measure(*measure) for measure in found]
        return sorted(measures, key=lambda measure: measure.protocol != headline[measure.task])

    @classmethod
    def read(
        cls, study: Path, name: str, scale: str, provenance: dict[str, str], table: pd.DataFrame | None = None
    ) -> Self:
        """The results in a study's folder; `table` if its rows have been read already."""
        table = with_python_strings(read_table(study) if table is None else table)
        folders, plan = run_folders(study), read_plan(study)
        names = [(row.get("run", ""), row["run_id"]) for row in plan if row.get("run_id")]
        names += table[["run", "run_id"]].drop_duplicates().itertuples(index=False, name=None)
        names += [(folder.run, folder.run_id) for folder in folders]
        return cls(
            *(name, scale, provenance, table, folders, plan),
            *(labels(names), _axes(table, plan), read_forgetting(study), read_effects(study)),
            set_aside=table.iloc[:0].assign(odd=""),
        )

    @classmethod
    def of_rows(
        cls, table: pd.DataFrame, set_aside: pd.DataFrame, name: str, scale: str, provenance: dict[str, str]
    ) -> Self:
        """The results of rows alone: without folders and a plan, nothing is known of how the runs went."""
        table = with_python_strings(table)
        names = table[["run", "run_id"]].drop_duplicates().itertuples(index=False, name=None)
        return cls(
            *(name, scale, provenance, table, [], []),
            *(labels(names), _axes(table, []), no_lines(), effects(table)),
            set_aside=set_aside,
        )


def with_python_strings(table: pd.DataFrame) -> pd.DataFrame:
    """The table with words as Python's own: a page is written row by row, and Arrow's are made anew at each look."""
    return table.astype({name: object for name in table if pd.api.types.is_string_dtype(table[name])})


def _axes(table: pd.DataFrame, plan: list[dict[str, str]]) -> dict[str, Axes]:
    planned = {
        row["run_id"]: Axes(row["model"], row["data"], row["code"].lower() == "true", row["langcat"])
        for row in plan
        if {"run_id", "model", "data", "code", "langcat"} <= row.keys()
    }
    scored = table[["run_id", "model", "data", "code", "langcat"]].drop_duplicates("run_id")
    return planned | {run_id: Axes(*axes) for run_id, *axes in scored.itertuples(index=False, name=None)}


def run_order(axes: Axes) -> tuple[str, str, int, str, bool]:
    """Sort key of runs: by model and category, then base, mono, bi, without and with code."""
    place = DATA_ORDER.index(axes.data) if axes.data in DATA_ORDER else len(DATA_ORDER)
    return axes.model, axes.langcat, place, axes.data, axes.code

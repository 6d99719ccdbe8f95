"""The results of a study: computed from its rows once, and read by the report, plots, terminal and mirrors.

Tables are pandas frames. Slow ones (effects, forgetting, the best mix of each language) are saved as CSV in the
study's folder, and computed again only when scores change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from cpt.results.analysis.change.against_base import change_of_groups, change_of_resources, changes, left_out
from cpt.results.analysis.change.forgetting import FORGETTING
from cpt.results.analysis.change.heat_maps import HeatMap, heat_maps, uncompared
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.change.mono_bi_pairs import SIDES, Pairs, pairs, unpaired
from cpt.results.analysis.choice.best_table import BEST, best_lines
from cpt.results.analysis.choice.ranking import BestMix, mixes
from cpt.results.analysis.choice.tradeoff import Pareto, pareto, spent
from cpt.results.analysis.claims import claims
from cpt.results.analysis.conclusions import Answer, Finding, answers, findings, headline
from cpt.results.analysis.data_consumed import by_language, consumption
from cpt.results.analysis.effects.effects_table import EFFECTS, current_effects, effects
from cpt.results.analysis.language_confusion import against_quality, confusion_shares
from cpt.results.analysis.summary import MeanColumn, columns, headline_protocols, summary
from cpt.results.rows.banners import BANNERS, PUBLISHED
from cpt.results.rows.measures import MIXING, Measure
from cpt.results.rows.run_folders import (
    RunFolder,
    labels,
    read_curves,
    read_ledger,
    read_losses,
    read_plan,
    run_folders,
    scale_of,
)
from cpt.results.rows.table import DATA_ORDER, MEASURE, of_measures, read_table, write_comparison

CURVES = ("run_id", "curve", "step", "value")
Update = Callable[[Path, pd.DataFrame, pd.DataFrame], pd.DataFrame]
"""Computes a table of a study from its folder and rows, reusing saved lines of the same scores."""


@dataclass(frozen=True)
class Axes:
    """The point of the study that a run is at."""

    model: str
    data: str
    code: bool
    langcat: str


@dataclass(frozen=True)
class StudyResults:
    """All tables of a study. Frames are shared by everything that reads them: copy before changing one."""

    name: str
    scale: str
    rows: pd.DataFrame
    """Every score of every finished run and base model; docs/results-table.md describes the columns."""
    effects: pd.DataFrame
    """The effect of each axis on each measure with its interval; docs/analysis.md describes the columns."""
    forgetting: pd.DataFrame
    """Each run in English and code against its base model, over the same items."""
    set_aside: pd.DataFrame
    """Rows known to be out of line, with the reason as `odd`: listed, but in no table and no comparison."""
    provenance: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Where the runs are; None for rows alone."""
    folders: list[RunFolder] = field(default_factory=list)
    plan: list[dict[str, str]] = field(default_factory=list)
    """The rows of `plan.csv`."""

    @classmethod
    def read(cls, study: Path, name: str = "", scale: str = "", provenance: dict[str, str] | None = None) -> Self:
        """The results in a study's folder, with effects and forgetting as they were saved last."""
        folders = run_folders(study)
        scale = scale or scale_of(study)
        rows = with_python_strings(read_table(study, folders, scale))
        return cls(
            name=name or study.absolute().name,
            scale=scale,
            rows=rows,
            effects=EFFECTS.read(study),
            forgetting=FORGETTING.read(study),
            set_aside=rows.iloc[:0].assign(odd=""),
            provenance=provenance or {},
            folder=study,
            folders=folders,
            plan=read_plan(study),
        )

    @classmethod
    def compute(cls, study: Path, forgetting: Update, provenance: dict[str, str] | None = None) -> Self:
        """The results in a study's folder as they are now: saved effects and forgetting are updated, not yet saved."""
        saved = cls.read(study, provenance=provenance)
        return replace(
            saved,
            effects=current_effects(study, saved.rows, saved.effects),
            forgetting=forgetting(study, saved.rows, saved.forgetting),
        )

    @classmethod
    def of_rows(
        cls, rows: pd.DataFrame, set_aside: pd.DataFrame, name: str, scale: str, provenance: dict[str, str]
    ) -> Self:
        """The results of rows alone: without folders and a plan, nothing is known of how the runs went."""
        rows = with_python_strings(rows)
        return cls(name, scale, rows, effects(rows), FORGETTING.empty(), set_aside, provenance)

    def save(self, study: Path) -> dict[str, Path]:
        """Write the tables as CSV files into a study's folder; the files that there are, by name of the table."""
        saved = {"rows": write_comparison(study, self.rows)}
        for name, kind, table in (
            ("forgetting", FORGETTING, self.forgetting),
            ("effects", EFFECTS, self.effects),
            ("best", BEST, self.best),
        ):
            if path := kind.write(study, table):
                saved[name] = path
        return saved

    @property
    def published(self) -> bool:
        return self.scale == PUBLISHED

    @property
    def banner(self) -> str:
        return BANNERS.get(self.scale, "")

    @property
    def tag(self) -> str:
        """The word that marks tables of numbers that must not pass as real results of ours; empty for others."""
        return self.scale if self.banner else ""

    @cached_property
    def labels(self) -> dict[str, str]:
        """The name to show for each run, by run id."""
        names = [(row.get("run", ""), row["run_id"]) for row in self.plan if row.get("run_id")]
        names += self.rows[["run", "run_id"]].drop_duplicates().itertuples(index=False, name=None)
        names += [(folder.run, folder.run_id) for folder in self.folders]
        return labels(names)

    @cached_property
    def axes(self) -> dict[str, Axes]:
        """The point of each run, by run id, for runs that have rows or are in the plan."""
        return _axes(self.rows, self.plan)

    @property
    def planned(self) -> set[str]:
        """Ids of all runs and base models of the study."""
        return {folder.run_id for folder in self.folders} | {row["run_id"] for row in self.plan if row.get("run_id")}

    @cached_property
    def bases(self) -> set[str]:
        """Ids of the base models that have been scored."""
        return {run_id for run_id, axes in self.axes.items() if axes.data == "base"}

    @property
    def trained(self) -> list[str]:
        """Ids of the runs that are not base models."""
        return [run_id for run_id, axes in self.axes.items() if axes.data != "base"]

    @cached_property
    def points(self) -> list[Axes]:
        """The study's points in order, whatever the seed; a base model is at one in each category."""
        categories = {axes.langcat for axes in self.axes.values()}
        bases = {replace(self.axes[run], langcat=langcat) for run in self.bases for langcat in categories}
        return sorted(bases | set(self.axes.values()), key=run_order)

    @cached_property
    def _index_of_point(self) -> dict[Axes, int]:
        return {axes: index for index, axes in enumerate(self.points)}

    def point(self, run_id: str, langcat: str = "") -> int | None:
        """The index of a run's point, which the page's filter uses; None if not known.

        In a table of one category a base model is at that category's point.
        """
        axes = self.axes.get(run_id)
        if axes is None:
            return None
        return self._index_of_point.get(replace(axes, langcat=langcat) if langcat else axes)

    @cached_property
    def quality_rows(self) -> pd.DataFrame:
        """The rows without shares of confused outputs, which have a section of their own."""
        return self.rows[~self.rows["metric"].isin(MIXING)].reset_index(drop=True)

    @cached_property
    def headline_protocols(self) -> dict[str, str]:
        return headline_protocols(self.rows)

    @cached_property
    def measures(self) -> list[Measure]:
        """All measures, headline protocols first, in the order of the rows."""
        return _measures(self.rows)

    @cached_property
    def quality_measures(self) -> list[Measure]:
        return _measures(self.quality_rows)

    @cached_property
    def headline(self) -> list[Measure]:
        """The headline measures, without shares of confused outputs."""
        return headline(self.quality_rows)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The means of `summary_columns` for each run."""
        return summary(self.rows)

    @cached_property
    def summary_columns(self) -> list[MeanColumn]:
        return columns(self.rows)

    @cached_property
    def changes(self) -> pd.DataFrame:
        """Every score of a run beside its base model's."""
        return changes(self.quality_rows)

    @cached_property
    def group_changes(self) -> pd.DataFrame:
        """Change of the mean of each run, measure and group of languages against the base."""
        return change_of_groups(self.quality_rows)

    @cached_property
    def resource_changes(self) -> pd.DataFrame:
        """The same of the headline measures by level of resources of the languages."""
        return change_of_resources(of_measures(self.quality_rows, self.headline))

    @cached_property
    def left_out(self) -> list[str]:
        """Why runs or scores could not be compared with a base model."""
        return left_out(pd.concat([self.quality_rows, self.set_aside]))

    @cached_property
    def uncompared(self) -> pd.DataFrame:
        """Rows of measures in which no run was compared with its base."""
        return uncompared(self.quality_rows, self.changes)

    @cached_property
    def heat_maps(self) -> list[HeatMap]:
        return heat_maps(self.quality_rows, self.changes, self.quality_measures)

    @cached_property
    def pairs(self) -> dict[str, Pairs]:
        """By axis, the runs that differ in it alone."""
        return {axis: Pairs(pairs(self.quality_rows, axis)) for axis in SIDES}

    def unpaired(self, axis: str) -> list[str]:
        """Why runs or scores are in no pair of an axis."""
        return unpaired(self.quality_rows, axis, self.pairs[axis].lines)

    @cached_property
    def answers(self) -> list[Answer]:
        return answers(self.effects, self.rows)

    @cached_property
    def findings(self) -> list[Finding]:
        """The published study's findings, compared with these effects."""
        return findings(self.effects, self.rows)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """Whether runs meet the claim of their language category."""
        return claims(self.rows)

    @cached_property
    def confusion_shares(self) -> pd.DataFrame:
        """Language confusion: shares of outputs in a wrong language or script, copied, empty or repeated."""
        return confusion_shares(self.rows)

    @cached_property
    def confusion_against_quality(self) -> pd.DataFrame:
        """The relation between language confusion and translation quality."""
        return against_quality(self.rows)

    @cached_property
    def best(self) -> pd.DataFrame:
        """The best mix from each base model for each language; saved lines of unchanged scores are reused."""
        return best_lines(self.rows, self.folder, BEST.read(self.folder) if self.folder else None)

    @cached_property
    def mixes(self) -> list[BestMix]:
        """The best mix for the languages of each category, from each base model and in each headline measure."""
        return mixes(self.quality_rows, self.headline, self._items)

    @cached_property
    def pareto(self) -> Pareto | None:
        return pareto(self.quality_rows, self.forgetting, spent(self._finished_ledgers, self.plan), self._items)

    @property
    def _items(self) -> ItemScores | None:
        return ItemScores(self.folder) if self.folder else None

    @cached_property
    def ledger_of(self) -> dict[str, dict[str, Any]]:
        """The ledger of each run by run id, for runs that have trained."""
        ledgers = {folder.run_id: read_ledger(folder.path) for folder in self.folders}
        return {run_id: ledger for run_id, ledger in ledgers.items() if ledger}

    @property
    def _finished_ledgers(self) -> dict[str, dict[str, Any]]:
        finished = {folder.run_id for folder in self.folders if folder.finished}
        return {run_id: ledger for run_id, ledger in self.ledger_of.items() if run_id in finished}

    @property
    def ledgers(self) -> pd.DataFrame:
        """One row for each run that has trained: steps, epochs, tokens, FLOPs, time, device."""
        records = [{"run_id": run_id} | ledger for run_id, ledger in self.ledger_of.items()]
        return pd.DataFrame(records).drop(columns=["sources", "packing"], errors="ignore")

    @cached_property
    def consumption(self) -> pd.DataFrame:
        return consumption(self.plan, self.ledger_of)

    @cached_property
    def consumed_by_language(self) -> pd.DataFrame:
        return by_language(self.ledger_of)

    @property
    def curves(self) -> pd.DataFrame:
        """Curves over training, one row a point: `loss`, and mean bits per byte of each role's languages."""
        records: list[tuple[str, str, int, float]] = []
        for folder in self.folders:
            curves = {"loss": read_losses(folder.path)} | read_curves(folder.path)
            records += [(folder.run_id, name, *point) for name, points in curves.items() for point in points]
        return pd.DataFrame(records, columns=list(CURVES))


def _measures(rows: pd.DataFrame) -> list[Measure]:
    measures = [Measure(*names) for names in rows[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)]
    protocols = headline_protocols(rows)
    return sorted(measures, key=lambda measure: measure.protocol != protocols[measure.task])


def with_python_strings(table: pd.DataFrame) -> pd.DataFrame:
    """The table with Python's own strings: pages are written row by row, and Arrow creates strings at each access."""
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
    order = DATA_ORDER.index(axes.data) if axes.data in DATA_ORDER else len(DATA_ORDER)
    return axes.model, axes.langcat, order, axes.data, axes.code

"""Values of the sections on the best mixes and on the trade-off between adaptation, forgetting and cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.results.analysis.choice.best_table import shown_measures
from cpt.results.analysis.choice.candidates import Candidate
from cpt.results.analysis.choice.noise import UNKNOWN
from cpt.results.analysis.choice.ranking import BestMix, Standing
from cpt.results.analysis.choice.tradeoff import FLOPS, Pareto
from cpt.results.analysis.study_results import StudyResults, run_order
from cpt.results.figures.drawing import Figure
from cpt.results.figures.pareto import pareto as drawing
from cpt.results.report.cells import Cell, Head, Table, TableRow, measure_head, measure_of, run_row, span
from cpt.results.rows.measures import NONE, Measure, language_name, language_order, number, resamples

ALONE = "nothing to compare with"
"""The note of a single candidate."""


@dataclass(frozen=True)
class Tradeoff:
    figure: Figure | None
    table: Table


@dataclass(frozen=True)
class BestRuns:
    by_base: dict[str, Table]
    """By base model, the best mix for each language in each measure."""
    one_seed: bool
    """Whether every mix was trained with one seed."""
    tradeoff: Tradeoff | None


def mixes_table(results: StudyResults) -> Table | None:
    """The best mix for the languages of each category: a row per category and base, a column per measure."""
    measures = results.headline
    lines: dict[tuple[str, str], dict[Measure, BestMix]] = {}
    for mix in results.mixes:
        lines.setdefault((mix.langcat, mix.model), {})[mix.best.measure] = mix
    if not lines:
        return None
    body = []
    for (langcat, model), of_measure in sorted(lines.items()):
        languages = ", ".join(language_name(code) for code in next(iter(of_measure.values())).languages)
        cells = [_mix(of_measure.get(measure), measure) for measure in measures]
        body.append(TableRow(langcat, [Cell(model), *cells], title=languages))
    return Table(body, ["Languages", "Base", *(measure_head(measure, measure.better) for measure in measures)])


def mix_name(candidate: Candidate) -> str:
    """The name of a mix without base and category, which are in the row head."""
    if candidate.is_base:
        return "untouched base"
    return f"{candidate.data}{' + code' if candidate.code else ''}"


def _mix(mix: BestMix | None, measure: Measure) -> Cell:
    if mix is None:
        return Cell(NONE)
    standings, leader = mix.best.standings, mix.best.leader
    others = [mix_name(each.candidate) for each in standings[1:] if each.held]
    alone = len(standings) == 1
    note = [_gain(leader, measure)]
    if alone:
        note.append(ALONE)
    elif math.isnan(leader.share):
        note.append("how sure is not known")
    else:
        note += [resamples(leader.share), *([f"or {len(others)} more"] if others else [])]
    return Cell(
        mix_name(leader.candidate),
        "; ".join(note),
        sort=leader.score.value,
        title=f"not to be told from it: {', '.join(others)}" if others else "",
        strong=not (others or alone),
    )


def _gain(leader: Standing, measure: Measure) -> str:
    """The gain over the base; the score if there is no base or the base leads."""
    if math.isnan(leader.gain.value):
        return f"score {measure.value(leader.score.value)}"
    gain = measure.difference(leader.gain.value)
    return gain if math.isnan(leader.gain.low) else f"{gain} ({measure.span(leader.gain.low, leader.gain.high)})"


def best_runs(results: StudyResults) -> BestRuns | None:
    """The best mix of each language, and adaptation against forgetting and cost; None if there is nothing to choose."""
    lines = results.best
    measures = shown_measures(results.rows)
    by_base = {str(model): _best_of_base(rows, measures) for model, rows in lines.groupby("model")}
    tradeoff = None if results.pareto is None else _tradeoff(results, results.pareto)
    if not by_base and tradeoff is None:
        return None
    return BestRuns(by_base, not _several_seeds(results.rows), tradeoff)


def _several_seeds(table: pd.DataFrame) -> bool:
    runs = table.loc[table["data"] != "base", ["run", "run_id", "seed"]].drop_duplicates()
    return bool((runs.groupby("run")["seed"].nunique() > 1).any())


def _best_of_base(rows: pd.DataFrame, measures: list[Measure]) -> Table:
    lines: dict[str, dict[Measure, Any]] = {}
    counts: dict[Measure, list[float]] = {}
    for row in rows.itertuples(index=False):
        measure = measure_of(row)
        lines.setdefault(str(row.language), {})[measure] = row
        counts.setdefault(measure, []).append(row.n)  # type: ignore[arg-type]
    shown = [measure for measure in measures if measure in counts]
    body = [
        TableRow(language_name(code), [_best(lines[code].get(measure), measure) for measure in shown])
        for code in sorted(lines, key=language_order)
    ]
    notes = [f"{each.better}, n = {span(min(counts[each]), max(counts[each]))}" for each in shown]
    return Table(body, ["Language", *map(measure_head, shown, notes)])


def _best(row: Any | None, measure: Measure) -> Cell:
    """The best candidate, sorted by its share of resamples, or by its score if that is unknown."""
    if row is None:
        return Cell(NONE)
    note = [f"{measure.value(row.value)} {measure.shown.unit}".rstrip()]
    if not math.isnan(row.gain):
        interval = "" if math.isnan(row.gain_low) else f" ({measure.span(row.gain_low, row.gain_high)})"
        note.append(f"{measure.difference(row.gain)}{interval}")
    others = len(row.held.split())
    chosen, known = row.candidates > 1, row.basis != UNKNOWN
    if not chosen:
        note.append(ALONE)
        title = f"the only one scored, n = {number(row.n, 0)}"
    elif not known:
        title = f"best of {row.candidates}; how sure that is is not known"
    else:
        note += [resamples(row.share), *([f"or {others} more"] if others else [])]
        title = f"best of {row.candidates}, n = {number(row.n, 0)}; not to be told from it: {row.held or 'none'}"
    sort = row.share if known else row.value
    return Cell(row.run, "; ".join(note), sort=sort, title=title, strong=chosen and known and not others)


def _tradeoff(results: StudyResults, pareto: Pareto) -> Tradeoff:
    rows = [row for row in pareto.points.to_dict("records") if row["data"] != "base"]
    rows.sort(key=lambda row: run_order(results.axes[row["run_id"]]))
    columns = [
        ("adaptation", pareto.adaptation, "gain, trained languages"),
        ("forgetting", pareto.forgetting, "loss, English"),
    ]
    if any(pd.notna(row["code_forgetting"]) for row in rows):
        columns.append(("code_forgetting", pareto.code, "loss, code"))
    body = []
    for row in rows:
        cells = [Cell(row["langcat"]), *(_point(row, name, measure) for name, measure, _ in columns)]
        cells += [_cost(row)] if pareto.cost_unit else []
        body.append(run_row(results, row["run_id"], [*cells, _front(row)]))
    heads = [_point_head(measure, note) for _, measure, note in columns]
    heads += [Head(["Cost"], pareto.cost_unit)] if pareto.cost_unit else []
    table = Table(body, ["Run", "Category", *heads, "On the front"])
    return Tradeoff(drawing(pareto, results.tag), table)


def _point_head(measure: Measure | None, note: str) -> Head:
    return Head(["Forgetting"], "English was not scored") if measure is None else measure_head(measure, note)


def _point(row: dict[Any, Any], name: str, measure: Measure | None) -> Cell:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if measure is None or pd.isna(value):
        return Cell(NONE)
    interval = measure.span(low, high) if pd.notna(low) else ""
    title = f"mean over {row['languages']} languages, n = {number(row['items'], 0)} in each"
    return Cell(measure.difference(value), interval, sort=value, title=title if name == "adaptation" else "")


def _cost(row: dict[Any, Any]) -> Cell:
    value = row["cost"]
    if pd.isna(value):
        return Cell(NONE)
    text = f"{value:.2e}" if row["cost_unit"] == FLOPS else number(value, 0 if value >= 100 else 2)
    return Cell(text, sort=value)


def _front(row: dict[Any, Any]) -> Cell:
    """The mark of a run on the front, with a title for screen readers."""
    if pd.isna(row["adaptation"]) or pd.isna(row["forgetting"]):
        return Cell(NONE, title="not known: the base or English was not scored")
    if not row["front"]:
        return Cell("", sort=0)
    unsure = [name for name in ("adaptation", "forgetting") if not (row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0)]
    title = f"yes; not sure to be other than zero: {', '.join(unsure)}" if unsure else "yes"
    return Cell("○" if unsure else "●", sort=1, title=title)

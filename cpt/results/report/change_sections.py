"""Values of the sections on changes against base and on scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS, RESOURCES
from cpt.results.analysis.change.heat_maps import (
    Column,
    Grid,
    HeatMap,
    arranged,
    level,
    scale_of,
)
from cpt.results.analysis.change.paired_test import UNCLEAR
from cpt.results.analysis.claims import MARGIN, STATED, tally
from cpt.results.analysis.study_results import StudyResults
from cpt.results.report.cells import EMPTY, Cell, Table, TableRow, measure_head, measure_of, run_row, span
from cpt.results.rows.measures import NONE, ROLE_LABELS, Measure, language_name, number, signed
from cpt.results.rows.table import MEASURE

CLAIM_STYLES = {"yes": "b2", "no": "w2"}
LABELS = [ROLE_LABELS[role] for role in GROUPS]


@dataclass(frozen=True)
class Claims:
    protocol: str
    margin: float
    stated: list[str]
    tally: list[str]
    table: Table


@dataclass(frozen=True)
class LanguageRow:
    """A column of a table by language."""

    short: str
    name: str
    starts_group: bool


@dataclass(frozen=True)
class LanguageTable:
    """The runs of one category by language, in one measure."""

    category: str
    rows: list[TableRow]
    groups: dict[str, int]
    """How many columns each group of languages has."""
    languages: list[LanguageRow]


@dataclass(frozen=True)
class MeasureTables:
    """A table for each category in one measure."""

    measure: Measure
    tables: list[LanguageTable]
    ends: tuple[str, str] | None = None
    """The worst and the best change on the scale of colours."""


def _table(
    results: StudyResults,
    changes: pd.DataFrame,
    columns: Iterable[tuple[Measure, str]],
    name: str,
    change: str,
    cell: Callable[[Any, Measure, float], Cell],
    note: Callable[[Measure, str, list[Any]], str],
    missing: str = "",
) -> Table | None:
    """A row for each run; a column for each measure and value of `name`, with a scale of colours for its `change`."""
    of_column: dict[tuple[Measure, str], dict[str, Any]] = defaultdict(dict)
    for row in changes.itertuples(index=False):
        of_column[measure_of(row), str(getattr(row, name))][str(row.run_id)] = row
    shown = {column: of_column[column] for column in columns if column in of_column}
    run_ids = [run_id for run_id in changes["run_id"].unique() if any(run_id in rows for rows in shown.values())]
    cells, heads = [], []
    for (measure, value), rows in shown.items():
        scale = scale_of(pd.Series([getattr(row, change) for row in rows.values()]))
        heads.append(measure_head(measure, note(measure, value, list(rows.values()))))
        cells.append([cell(rows[run], measure, scale) if run in rows else Cell(missing) for run in run_ids])
    body = [
        run_row(results, run_id, list(line)) for run_id, line in zip(run_ids, zip(*cells, strict=True), strict=True)
    ]
    return Table(body, ["Run", *heads]) if body else None


def groups(results: StudyResults) -> Table | None:
    """Change against base by group of languages."""
    columns = product(results.quality_measures, GROUPS)
    return _table(
        results, results.group_changes, columns, "role", "change", _group, lambda _, role, __: ROLE_LABELS[role]
    )


def _group(row: Any, measure: Measure, scale: float) -> Cell:
    title = f"mean {measure.value(row.mean)}, base {measure.value(row.base_mean)}, over {row.n} languages"
    title += f"; left out: {row.missing}" if row.missing else ""
    change = signed(row.change, 1) + ("*" if row.missing else "")
    return Cell(change, sort=row.change, title=title, style=level(measure.gain(row.change), scale))


def resources(results: StudyResults) -> list[tuple[str, Table]] | None:
    """Change by resource level: one table for trained and one for related languages."""
    changes = results.resource_changes
    tables = []
    for role in GROUPS:
        columns = product(results.headline, RESOURCES)
        of_role = changes[changes["role"] == role]
        if table := _table(results, of_role, columns, "resource", "change", _resource, lambda _, level, __: level):
            tables.append((ROLE_LABELS[role], table))
    return tables or None


def _resource(row: Any, measure: Measure, scale: float) -> Cell:
    title = (
        f"95 % {signed(row.change_low, 1)} to {signed(row.change_high, 1)} %; {measure.difference(row.difference)} "
        f"({measure.span(row.difference_low, row.difference_high)}), from {measure.value(row.base_mean)}, "
        f"over {number(row.n, 0)} languages"
    )
    return Cell(signed(row.change, 1), sort=row.change, title=title, style=level(measure.gain(row.change), scale))


def forgetting(results: StudyResults) -> Table | None:
    """A row for each run, a column for each measure in English and in code; None if no run has a base."""
    differences = results.forgetting[results.forgetting["run_id"].isin(results.labels)]
    columns = [(measure_of(row), str(row.role)) for row in differences.itertuples(index=False)]
    columns = sorted(dict.fromkeys(columns), key=lambda column: column[1] == "code")
    cell = partial(_forgotten, results.labels)
    return _table(results, differences, columns, "role", "difference", cell, _forgetting_note, NONE)


def _forgetting_note(measure: Measure, role: str, rows: list[Any]) -> str:
    unit = f"{measure.shown.change_unit}, " if measure.shown.change_unit else ""
    return f"{ROLE_LABELS[role]}, {unit}n = {span(min(row.n for row in rows), max(row.n for row in rows))}"


def _forgotten(labels: dict[str, str], row: Any, measure: Measure, scale: float) -> Cell:
    scores = f"{measure.value(row.value)}, base {measure.value(row.base)}, n = {number(row.n, 0)}"
    return Cell(
        measure.difference(row.difference),
        measure.span(row.ci_low, row.ci_high),
        sort=row.difference,
        title=f"{labels[row.run_id]}: {scores}: {row.verdict}",
        style="" if row.verdict == UNCLEAR else level(measure.gain(row.difference), scale),
    )


def category_claims(results: StudyResults) -> Claims | None:
    """The claims of the categories, how many runs meet each, and a row per run."""
    claims = results.claims
    if claims.empty:
        return None
    stated = [f"{claim}: {what}" for claim, what in STATED.items() if claim in set(claims["claim"])]
    scales = {group: scale_of(claims[f"{group}_change"]) for group in LABELS}
    body = []
    for row in claims.to_dict("records"):
        changes = [_claimed(row, group, scale) for group, scale in scales.items()]
        verdicts = (row["met"], row["at_face_value"])
        judged = [Cell(word, style=CLAIM_STYLES.get(word, ""), title=row["why"]) for word in verdicts]
        body.append(run_row(results, row["run_id"], [Cell(row["claim"]), *changes, *judged]))
    return Claims(claims["protocol"].iloc[0], MARGIN, stated, tally(claims), Table(body))


def _claimed(row: dict[Any, Any], group: str, scale: float) -> Cell:
    value, low, high = (row[f"{group}_{what}"] for what in ("change", "low", "high"))
    title = f"over {number(row[f'{group}_languages'], 0)} languages"
    interval = f"{signed(low, 1)} to {signed(high, 1)}"
    return Cell(signed(value, 1), interval, sort=value, title=title, style=level(value, scale))


def languages(results: StudyResults) -> list[MeasureTables] | None:
    """Change against base by language, as tables with coloured cells, which can be searched and read aloud.

    One table per category, because categories share few languages; one colour scale per measure.
    """
    return [_heat_map(results, heat) for heat in results.heat_maps] or None


def _heat_map(results: StudyResults, heat: HeatMap) -> MeasureTables:
    measure, most = heat.measure, abs(heat.scale)
    down, up = (-most, most) if measure.gain(1.0) >= 0 else (most, -most)
    tables = [_changes(results, heat, langcat, grid) for langcat, grid in sorted(heat.grids.items())]
    return MeasureTables(measure, tables, (measure.change(down), measure.change(up)))


def _changes(results: StudyResults, heat: HeatMap, langcat: str, grid: Grid) -> LanguageTable:
    """The rows of a category, with the base model's own scores above the runs that are compared with it."""
    columns, starts = arranged(grid.columns)
    body, model = [], None
    for run_id, scores in grid.runs.items():
        first = next(iter(scores.values()))
        if first.model != model:
            model = str(first.model)
            base_id, bases = grid.base_ids[model], grid.bases[model]
            cells = [_score(heat.measure, bases.get(column)) for column in columns]
            name = f"{results.labels[base_id]} score"
            body.append(TableRow(name, cells, point=results.point(base_id, langcat), base=True))
        body.append(run_row(results, run_id, [_change(heat, scores.get(column)) for column in columns]))
    return _language_table(langcat, columns, starts, body)


def _change(heat: HeatMap, row: Any | None) -> Cell:
    if row is None:
        return EMPTY
    measure = heat.measure
    apart = row.ci_low > row.base_high or row.ci_high < row.base_low
    title = f"{_with_interval(measure, row)}; base {measure.value(row.base)} ({signed(row.relative, 1)} %)"
    style = level(measure.gain(row.difference), heat.scale)
    return Cell(measure.change(row.difference), title=title, style=style, strong=bool(apart))


def _score(measure: Measure, row: Any | None) -> Cell:
    return EMPTY if row is None else Cell(measure.value(row.value), title=_with_interval(measure, row))


def _with_interval(measure: Measure, row: Any) -> str:
    """A score with its interval if it has one, and the number of items it is over."""
    ends = "" if math.isnan(row.ci_low) else f" (95 % {measure.value(row.ci_low)} to {measure.value(row.ci_high)})"
    return f"{measure.value(row.value)}{ends}, n = {number(row.n, 0)}"


def scores(results: StudyResults) -> list[MeasureTables] | None:
    """Scores of models and runs without a base to compare with, which are in no table of changes."""
    of_measure = dict(iter(results.uncompared.groupby(list(MEASURE), sort=False)))
    tables = [
        MeasureTables(measure, [_scores(results, measure, str(name), part) for name, part in rows.groupby("langcat")])
        for measure in results.quality_measures
        if (rows := of_measure.get(tuple(measure))) is not None
    ]
    return tables or None


def _scores(results: StudyResults, measure: Measure, langcat: str, rows: pd.DataFrame) -> LanguageTable:
    lines: dict[str, dict[Column, Any]] = {}
    for row in rows.itertuples(index=False):
        lines.setdefault(str(row.run_id), {})[str(row.role), str(row.language)] = row
    columns, starts = arranged({column for line in lines.values() for column in line})
    body = [
        run_row(results, run_id, [_score(measure, line.get(column)) for column in columns], langcat)
        for run_id, line in lines.items()
    ]
    return _language_table(langcat, columns, starts, body)


def _language_table(langcat: str, columns: list[Column], starts: set[Column], body: list[TableRow]) -> LanguageTable:
    groups: dict[str, int] = defaultdict(int)
    for role, _ in columns:
        groups[ROLE_LABELS.get(role, role)] += 1
    edges = [i for i, column in enumerate(columns) if column in starts]
    for row in body:
        for i in edges:
            cell = row.cells[i]
            row.cells[i] = replace(cell, style=f"{cell.style} e".lstrip())
    short = [code.split("_")[0] for _, code in columns]
    languages = [
        LanguageRow(
            brief if short.count(brief) == 1 else code, f"{language_name(code)} ({code})", (role, code) in starts
        )
        for (role, code), brief in zip(columns, short, strict=True)
    ]
    return LanguageTable(langcat, body, groups, languages)

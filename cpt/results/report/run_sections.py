"""Values of the sections on the runs: overview, summary, failures, consumption, provenance."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.evals.rows import HIGHER_IS_BETTER, ROLES
from cpt.results.analysis import summary as means
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.data_consumed import WITHIN
from cpt.results.analysis.study_results import StudyResults
from cpt.results.report.cells import Cell, Head, Table, TableRow, amount, measure_of, run_row, texts
from cpt.results.rows.measures import (
    METRICS,
    NONE,
    ROLE_LABELS,
    Measure,
    language_name,
    language_order,
    number,
    words,
)
from cpt.results.rows.run_folders import RunFolder
from cpt.results.rows.schema import VERSION
from cpt.results.rows.table import MEASURE

QUANTITIES = {"words": 0, "tokens": 0, "steps": 0, "device_minutes": 2}
"""What is planned and consumed, and the digits it is shown with."""
LEDGER = {"epochs": 2, "tokens_seen": 0, "trainable_parameters": 0}
PUBLISHED = ("published_steps", "steps_ratio", "steps_flag")
"""Columns of the plan: the steps of the published run, how many times that is planned, and whether that is far off."""


@dataclass(frozen=True)
class Overview:
    axes: dict[str, Counter[str]]
    """By axis, how many runs have each value."""
    languages: list[tuple[str, list[str]]]
    """By category and role, the codes of the evaluated languages."""
    measured: list[tuple[Measure, Any]]
    """Measures with how many languages and scores they have, and the fewest and most items a language."""


@dataclass(frozen=True)
class Unfinished:
    begun: list[tuple[TableRow, RunFolder]]
    waiting: list[str]


@dataclass(frozen=True)
class Summary:
    protocols: list[str]
    """Tasks with the protocol that their means are of."""
    table: Table


@dataclass(frozen=True)
class Consumption:
    table: Table
    published: list[str]
    """Columns of the plan about the published run that are filled."""
    languages: Table | None
    assumed: list[str]
    limits: dict[str, float]


def progress(results: StudyResults) -> str:
    """The progress of the study, in a sentence."""
    if results.published:
        return f"{_runs_and_bases(results, set(results.axes))}, none of them ours"
    finished = {folder.run_id for folder in results.folders if folder.finished}
    others = Counter(folder.standing for folder in results.folders if not folder.finished)
    unstarted = len(results.planned) - len(results.folders)
    if unstarted:
        others["planned"] += unstarted
    done = f"{len(finished)} of {len(results.planned)} finished"
    if finished & results.bases:
        done += f" ({_runs_and_bases(results, finished)})"
    return ", ".join([done, *(f"{count} {state}" for state, count in sorted(others.items()))])


def _runs_and_bases(results: StudyResults, run_ids: set[str]) -> str:
    """The numbers of runs and base models in words; of models only if nothing was trained."""
    bases = len(run_ids & results.bases)
    if not results.trained:
        return f"{_counted(bases, 'model')} as {'it is' if bases == 1 else 'they are'}"
    return f"{_counted(len(run_ids) - bases, 'run')} and {_counted(bases, 'untouched base model')}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def overview(results: StudyResults) -> Overview:
    """The axes, languages and measures of the study."""
    axes = [results.axes[run_id] for run_id in results.trained or results.axes]
    values: dict[str, Counter[str]] = {"Model": Counter(item.model for item in axes)}
    if results.trained:
        values |= {
            "Data": Counter(item.data for item in axes),
            "Code": Counter("with" if item.code else "without" for item in axes),
            "Category": Counter(item.langcat for item in axes),
            "Seed": Counter(results.rows.drop_duplicates("run_id")["seed"].dropna().astype(str)),
        }
    table = results.quality_rows
    counts = table.groupby(list(MEASURE), sort=True).agg(
        languages=("language", "nunique"), fewest=("n", "min"), most=("n", "max"), scores=("n", "size")
    )
    measured = [(measure_of(row), row) for row in counts.reset_index().itertuples(index=False)]
    return Overview(values, _languages(table), measured)


def _languages(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Evaluated languages by category and role, without English and code."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    rows = table.loc[table["role"].isin(GROUPS), ["langcat", "role", "language"]].drop_duplicates()
    for langcat, role, language in sorted(
        rows.itertuples(index=False, name=None), key=lambda row: (row[0], ROLES.index(row[1]), language_order(row[2]))
    ):
        groups[langcat, role].append(language)
    return [(f"{langcat}, {ROLE_LABELS.get(role, role)}", codes) for (langcat, role), codes in groups.items()]


def odd_values(results: StudyResults) -> list[tuple[TableRow, Measure, Any]] | None:
    """Published values known to be out of line: for each run and measure their count, range and reasons."""
    if results.set_aside.empty:
        return None
    values = results.set_aside.groupby(["run_id", *MEASURE], sort=False).agg(
        count=("value", "size"), least=("value", "min"), most=("value", "max"), reasons=("odd", _joined)
    )
    rows = values.reset_index().to_dict("records")
    return [(run_row(results, row["run_id"], []), Measure(*(row[name] for name in MEASURE)), row) for row in rows]


def _joined(reasons: pd.Series[str]) -> str:
    return "; ".join(reasons.unique())


def unfinished(results: StudyResults) -> Unfinished | None:
    """Runs that are not finished or failed: failures first, and last those that have not begun."""
    folders = [folder for folder in results.folders if folder.state == "failed" or not folder.finished]
    if not folders:
        return None
    begun = [folder for folder in folders if folder.state != "planned"]
    begun.sort(key=lambda folder: (folder.state != "failed", folder.run_id))
    waiting = sorted(results.labels[folder.run_id] for folder in folders if folder.state == "planned")
    return Unfinished([(run_row(results, folder.run_id, []), folder) for folder in begun], waiting)


def summary(results: StudyResults) -> Summary | None:
    """The main means of each run."""
    if results.rows.empty:
        return None
    rows, columns = results.summary, results.summary_columns
    seeds = rows["seed"].nunique() > 1
    body = []
    for row in rows.to_dict("records"):
        axes = [row["model"], row["data"], "with" if row["code"] else "without", row["langcat"]]
        if seeds:
            axes.append(NONE if pd.isna(row["seed"]) else str(row["seed"]))
        scores = [_mean(row, column) for column in columns]
        body.append(run_row(results, row["run_id"], [*texts(*axes), *scores], row["langcat"]))
    names = ["Run", "Model", "Data", "Code", "Category", *(["Seed"] if seeds else [])]
    protocols = [f"{task} {name}" for task, name in results.headline_protocols.items() if name]
    return Summary(protocols, Table(body, [*names, *map(_mean_head, columns)]))


def _mean_head(column: means.MeanColumn) -> Head:
    shown = METRICS[column.metric]
    *before, last = words(column.task, column.direction or "", shown.label)
    arrow = "↑" if HIGHER_IS_BETTER[column.metric] else "↓"
    return Head([*before, "\N{NO-BREAK SPACE}".join(filter(None, [last, shown.unit, arrow]))], column.group)


def _mean(row: dict[Any, Any], column: means.MeanColumn) -> Cell:
    measure = Measure(column.task, column.direction or "", "", column.metric)
    value, missing = row[column.name], means.missing_in(column, row["partial"])
    if pd.isna(value):
        return Cell(NONE)
    low, high = (measure.value(row[f"{column.name}_{end}"]) for end in ("low", "high"))
    interval = "" if NONE in (low, high) else f"95 % {low} to {high} over the items of these "
    title = "; ".join(filter(None, [missing, f"{interval}{row[f'{column.name}_languages']} languages"]))
    return Cell(measure.value(value) + ("*" if missing else ""), sort=value, title=title)


def plan_and_ledger(results: StudyResults) -> Consumption | None:
    """A row per planned or trained run: its plan and its ledger."""
    ledgers = results.ledger_of
    lines: dict[str, dict[str, Any]] = {}
    for row in results.consumption.itertuples(index=False):
        lines.setdefault(str(row.run_id), {})[str(row.quantity)] = row
    lines |= {run_id: {} for run_id in ledgers if run_id not in lines}
    if not lines:
        return None
    plan = {row["run_id"]: row for row in results.plan if row.get("run_id")}
    published = [key for key in PUBLISHED if any(row.get(key) for row in results.plan)]
    body = []
    for run_id, line in lines.items():
        cells = [_against_plan(line.get(quantity), digits) for quantity, digits in QUANTITIES.items()]
        cells += [_planned(key, plan.get(run_id, {}).get(key, "")) for key in published]
        body.append(run_row(results, run_id, [*cells, *_ledger(ledgers.get(run_id, {}))]))
    assumed = dict.fromkeys(row["assumption"] for row in results.plan if row.get("assumption"))
    return Consumption(Table(body), published, _tokens_by_language(results), list(assumed), WITHIN)


def _against_plan(row: Any | None, digits: int) -> Cell:
    if row is None:
        return Cell(NONE)
    ratio = f", × {number(row.ratio, 2)}" if math.isfinite(row.ratio) else ""
    consumed = number(row.consumed, digits) + (" !" if row.off else "")
    style = "failed" if row.off else ""
    return Cell(consumed, f"of {number(row.planned, digits)}{ratio}", sort=row.consumed, style=style)


def _planned(key: str, value: str) -> Cell:
    if key.endswith("_flag") and value:
        return Cell(value, style="failed")
    try:
        planned = float(value)
    except ValueError:
        return Cell(value or NONE)
    return amount(planned, 0 if planned.is_integer() else 2)


def _ledger(ledger: dict[str, Any]) -> list[Cell]:
    flops, seed = ledger.get("flops"), ledger.get("seed")
    work = Cell(NONE) if flops is None else Cell(f"{flops:.2e}", sort=flops)
    return [
        *(amount(ledger.get(key), digits) for key, digits in LEDGER.items()),
        work,
        Cell(str(NONE if seed is None else seed)),
    ]


def _tokens_by_language(results: StudyResults) -> Table | None:
    """Tokens seen by run and language."""
    seen = results.consumed_by_language
    if seen.empty:
        return None
    lines: dict[str, dict[str, Any]] = {}
    for row in seen.itertuples(index=False):
        lines.setdefault(str(row.run_id), {})[str(row.language)] = row
    columns = sorted(seen["language"].unique(), key=language_order)
    body = [run_row(results, run_id, [_seen(line.get(code)) for code in columns]) for run_id, line in lines.items()]
    return Table(body, ["Run", *map(language_name, columns)])


def _seen(row: Any | None) -> Cell:
    if row is None:
        return Cell("", sort=0)
    of_words = f"; {number(row.words_seen, 0)} words" if row.words_seen else ""
    return Cell(
        number(row.tokens_seen, 0), sort=row.tokens_seen, title=f"{number(row.tokens_unique, 0)} unique{of_words}"
    )


def provenance(results: StudyResults) -> dict[str, str]:
    """Protocols, seeds and versions that the numbers come from."""
    table = results.rows
    protocols = table.loc[table["protocol"] != "", ["task", "protocol"]].drop_duplicates()
    facts = {
        "protocols": ", ".join(f"{task} {protocol}" for task, protocol in protocols.itertuples(index=False, name=None)),
        "seeds": ", ".join(str(seed) for seed in sorted(table["seed"].dropna().unique())),
        "schema of the rows": str(VERSION),
        "computed by": "; ".join(sorted(filter(None, table["signature"].unique()))),
    }
    return {name: value for name, value in facts.items() if value} | results.provenance

"""Compare a study score by score with the published numbers, to validate evaluations of the released models.

Only scores under protocol `paper` are compared, and never those of toy studies or of random weights. Both are over the
same items, so for the same model they should differ by less than the interval over items: `inside` is a mild test.
Values known to be odd are listed, but are in no summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from cpt.evals.rows import EN_X, X_EN
from cpt.files import write_text
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.terminal import print_plain, print_words
from cpt.results.rows.banners import TOY
from cpt.results.rows.measures import METRICS, NONE, number
from cpt.results.rows.published import ITEMS, ROUNDING, SOURCE, read_published
from cpt.results.rows.run_folders import labels
from cpt.results.rows.table import MEASURE

BESIDE = "published.csv"
MODEL = ["model", "data", "code", "langcat"]
"""The columns that identify a published model and table."""
OWNER = ["run", "run_id", *MODEL]
SCORE = ["task", "direction", "metric"]
CELL = [*MODEL, "language", *MEASURE]
"""The columns that a score shares with its published counterpart."""
COLUMNS = [*OWNER, "language", "role", *SCORE, "published", "ours", "n", "ci_low", "ci_high", "difference", "inside"]
SUMS = ["cells", "inside", "mean", "median", "correlation", "odd", "missing"]
ALL = "all"
FEWEST = 3
"""The fewest languages for a correlation."""


def study_beside(results: StudyResults) -> pd.DataFrame:
    """The scores of a study that have published counterparts; none of a toy study."""
    return beside(results.rows.iloc[:0] if results.scale == TOY else results.rows)


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Every score with a published counterpart, in the order of the table."""
    published = read_published()[[*CELL, "value", "odd"]].rename(columns={"value": "published"})
    ours = _of_known_weights(table).rename(columns={"value": "ours"})
    matched = ours.merge(published, on=CELL, how="inner", validate="many_to_one")
    matched["difference"] = matched["ours"] - matched["published"]
    slack = matched["metric"].map(ROUNDING).astype("float64")
    matched["inside"] = matched["published"].between(matched["ci_low"] - slack, matched["ci_high"] + slack)
    return matched[[*COLUMNS, "odd"]]


def missing(table: pd.DataFrame) -> pd.DataFrame:
    """The published rows without a counterpart in the table."""
    published = read_published()
    scored = set(_of_known_weights(table)[CELL].itertuples(index=False, name=None))
    is_missing = [cell not in scored for cell in published[CELL].itertuples(index=False, name=None)]
    return published[is_missing].reset_index(drop=True)


def _of_known_weights(table: pd.DataFrame) -> pd.DataFrame:
    """Rows over all items of runs named by the study's models; models with random weights have other names."""
    named = [
        run.startswith(f"{model.upper()}-") for run, model in table[["run", "model"]].itertuples(index=False, name=None)
    ]
    whole = table["n"] == table["task"].map(ITEMS)
    return table[pd.Series(named, index=table.index, dtype="bool") & whole]


def summary(matched: pd.DataFrame) -> pd.DataFrame:
    """Differences: a line for each run (base models: in each category) and score, then one for all runs.

    `missing` counts published values of this model that have no score of ours; of all runs, those of any model.
    """
    published = read_published()
    of_model = dict(iter(published.groupby(MODEL)))
    records = []
    for owner, rows in matched.groupby(OWNER, sort=False):
        named = dict(zip(OWNER, owner, strict=True))
        printed = of_model[tuple(named[column] for column in MODEL)]
        records += [named | line for line in _lines(rows, printed)]
    records += [{"run": ALL, "run_id": "", "langcat": ""} | line for line in _lines(matched, published)]
    return pd.DataFrame(records, columns=["run", "run_id", "langcat", *SCORE, *SUMS])


def _lines(matched: pd.DataFrame, published: pd.DataFrame) -> Iterator[dict[str, Any]]:
    of_score = dict(iter(matched.groupby(SCORE)))
    for score, printed in published.groupby(SCORE, sort=False):
        rows = of_score.get(score, matched.iloc[:0])
        used = rows[rows["odd"] == ""]
        yield dict(zip(SCORE, score, strict=True)) | {
            "cells": len(used),
            "inside": int(used["inside"].sum()),
            "mean": used["difference"].abs().mean(),
            "median": used["difference"].abs().median(),
            "correlation": used["ours"].corr(used["published"], min_periods=FEWEST),
            "odd": len(rows) - len(used),
            "missing": len(printed) - len(rows[[*MODEL, "language"]].drop_duplicates()),
        }


def write_beside(study: Path, matched: pd.DataFrame) -> Path | None:
    """Write `published.csv` into the study's folder; None if no score has a published counterpart."""
    if matched.empty:
        return None
    words = {column: matched[column].map({True: "true", False: "false"}) for column in ("code", "inside")}
    path = study / BESIDE
    write_text(path, matched.assign(**words).to_csv(index=False, lineterminator="\n"))
    return path


def print_beside(name: str, matched: pd.DataFrame, console: Console) -> None:
    """Print the summary, a line for each run; nothing if no score has a published counterpart."""
    if matched.empty:
        return
    totals = summary(matched)
    heads, lines = ["run", "category", *_heads(totals)], _words(totals)
    title = f"{name}: beside the published numbers ({SOURCE})"
    if not console.is_terminal:
        print_plain(console, title)
    print_words(console, title, heads, lines)
    print_plain(
        console,
        "inside: published values within our 95 % intervals; |Δ|: mean/median absolute difference; "
        "r: correlation over languages; odd: published values known to be out of line, left out",
    )
    overall = totals[totals["run"] == ALL]
    if missing_count := int(overall["missing"].sum()):
        print_plain(console, f"{missing_count:,} of the {len(read_published()):,} published values have no score here")


def _heads(totals: pd.DataFrame) -> list[str]:
    heads = []
    for task, direction, metric in totals[SCORE].drop_duplicates().itertuples(index=False, name=None):
        way = {EN_X: " en→x", X_EN: " x→en"}.get(direction, "")
        label = f"{task} %" if metric == "accuracy" else METRICS[metric].label
        heads += [f"{label}{way}\n{head}" for head in ("inside", "|Δ|", "r")]
    return [*heads, "odd", "missing"]


def _words(totals: pd.DataFrame) -> list[list[str]]:
    run_names = labels(totals[["run", "run_id"]].itertuples(index=False, name=None))
    lines = []
    for (run_id, langcat), rows in totals.groupby(["run_id", "langcat"], sort=False):
        words = [run_names[str(run_id)], str(langcat)]
        for row in rows.to_dict("records"):
            shown = METRICS[row["metric"]]
            mean, median = (number(row[name] * shown.factor, shown.digits) for name in ("mean", "median"))
            inside = f"{row['inside']}/{row['cells']}" if row["cells"] else NONE
            words += [inside, f"{mean}/{median}", number(row["correlation"], 2)]
        lines.append([*words, str(rows["odd"].sum()), str(rows["missing"].sum())])
    return lines

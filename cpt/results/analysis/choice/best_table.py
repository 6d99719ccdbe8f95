"""`best.csv`: the best mix for each language and base model, by the headline measures.

Reading all item scores of a large study is slow, so this is done once when a study ends. The key of a line is a hash of
its scores; a line is computed again only when they have changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cpt.evals.rows import COLUMNS as COLUMNS_OF_ROWS
from cpt.evals.rows import EN_X, X_EN
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.noise import FEWER
from cpt.results.analysis.choice.query import METRICS_FIRST
from cpt.results.analysis.choice.ranking import Best, best_of
from cpt.results.analysis.saved_tables import SavedTable
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.measures import Measure
from cpt.results.rows.table import MEASURE, of_measures

SHOWN = ((("flores200", EN_X),), (("flores200", X_EN),), (("sib200", ""),), (("bpb_flores", ""), ("bpb", "")))
"""Tasks and directions; of each tuple the first that was scored, in its first metric."""
NUMBERS = ("value", "ci_low", "ci_high", "gain", "gain_low", "gain_high", "share")
NAMES = ("model", "language", *MEASURE, "run", "run_id", "langcat", "role")
COLUMNS = (*NAMES, *NUMBERS, "n", "held", "candidates", "basis", "key")
"""`gain` is against the base, in the metric's unit; `share` of resamples in which the mix is the best; `held` the other
candidates in the confidence set; `candidates` their number, with the untouched base."""
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(NUMBERS, "float64") | {"n": "int64", "candidates": "int64"}
BEST = SavedTable("best.csv", _DTYPES, nullable=NUMBERS)


def best_lines(table: pd.DataFrame, study: Path | None = None, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """A line per base model, language and measure; `study` is the folder with items, `known` the previous lines."""
    before = {} if known is None else {line["key"]: line for line in known.to_dict("records")}
    measures = {tuple(measure): measure for measure in shown_measures(table)}
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in of_measures(table, measures).itertuples(index=False):
        measure = str(row.task), str(row.direction), str(row.protocol), str(row.metric)
        groups.setdefault((measure, row.model, row.language), []).append(row)
    records, items = [], None if study is None else ItemScores(study)
    for (measure, model, language), rows in groups.items():
        key = _key(rows)
        if key in before:
            records.append(before[key])
            continue
        if items:
            items.clear()  # the items of a whole study do not fit the memory
        best = best_of(rows, [language], measures[measure], items, samples=FEWER)
        if best is not None and len(best.standings) > 1:
            records.append(_record(model, language, best) | {"key": key})
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(_DTYPES)


def shown_measures(table: pd.DataFrame) -> list[Measure]:
    """The measures of `SHOWN` that a table has, under the headline protocols."""
    protocols = headline_protocols(table)
    scored = {Measure(*each) for each in table[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)}
    measures = []
    for benchmarks in SHOWN:
        wanted = (
            Measure(task, direction, protocols.get(task, ""), metric)
            for task, direction in benchmarks
            for metric in METRICS_FIRST
        )
        measures += [each for each in wanted if each in scored][:1]
    return measures


def _record(model: str, language: str, best: Best) -> dict[Hashable, Any]:
    leader, own = best.leader, best.leader.candidate
    named = (model, language, *best.measure, own.name, " ".join(own.run_ids), own.langcat, own.roles[0])
    spans = (leader.score, leader.gain)
    numbers = (*(part for span in spans for part in (span.value, span.low, span.high)), leader.share)
    record: dict[Hashable, Any] = dict(zip(NAMES, named, strict=True)) | dict(zip(NUMBERS, numbers, strict=True))
    held = " ".join(each.candidate.name for each in best.held) if best.known else ""
    return record | {
        "n": int(own.counts.min()),
        "held": held,
        "candidates": len(best.standings),
        "basis": best.basis,
    }


def _key(rows: Sequence[Any]) -> str:
    """A hash of all rows that a line is computed from."""
    values = sorted(str([getattr(row, name) for name in COLUMNS_OF_ROWS]) for row in rows)
    return hashlib.sha256("\n".join([str(FEWER), *values]).encode()).hexdigest()[:16]

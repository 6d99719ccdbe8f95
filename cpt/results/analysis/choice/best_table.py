"""Which mix to use for each single language from each base, by the measures people look at first: `best.csv`.

Reading what every run made of every item takes a while in a large study, so it is done when a study ends. A line says
by its key of which scores it is, and is reckoned anew only when these have changed.
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
"""Tasks and directions of the lines, of each the first that was scored, in its first metric."""
NUMBERS = ("value", "ci_low", "ci_high", "gain", "gain_low", "gain_high", "share")
NAMES = ("model", "language", *MEASURE, "run", "run_id", "langcat", "role")
COLUMNS = (*NAMES, *NUMBERS, "n", "held", "candidates", "basis", "key")
"""`gain` is less the base, in the metric's own unit; `share` of resamples in which it is the best; `held` the
others that cannot be told from it, with blanks between; `candidates` how many there are, with the untouched base."""
_DTYPES = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(NUMBERS, "float64") | {"n": "int64", "candidates": "int64"}
BEST = SavedTable("best.csv", _DTYPES, nullable=NUMBERS)


def best_lines(table: pd.DataFrame, study: Path | None = None, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """A line for each base, language and measure; `study` is the folder that keeps items, `known` lines of before."""
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
            items.clear()  # those of a whole study are more than memory holds
        found = best_of(rows, [language], measures[measure], items, samples=FEWER)
        if found is not None and len(found.standings) > 1:
            records.append(_record(model, language, found) | {"key": key})
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(_DTYPES)


def shown_measures(table: pd.DataFrame) -> list[Measure]:
    """What of `SHOWN` a table has, under the headline's protocols."""
    protocols = headline_protocols(table)
    there = {Measure(*each) for each in table[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)}
    found = []
    for places in SHOWN:
        wanted = (
            Measure(task, direction, protocols.get(task, ""), metric)
            for task, direction in places
            for metric in METRICS_FIRST
        )
        found += [each for each in wanted if each in there][:1]
    return found


def _record(model: str, language: str, found: Best) -> dict[Hashable, Any]:
    leader, own = found.leader, found.leader.candidate
    named = (model, language, *found.measure, own.name, " ".join(own.run_ids), own.langcat, own.roles[0])
    spans = (leader.score, leader.gain)
    numbers = (*(part for span in spans for part in (span.value, span.low, span.high)), leader.share)
    told: dict[Hashable, Any] = dict(zip(NAMES, named, strict=True)) | dict(zip(NUMBERS, numbers, strict=True))
    held = " ".join(each.candidate.name for each in found.held) if found.known else ""
    return told | {
        "n": int(own.counts.min()),
        "held": held,
        "candidates": len(found.standings),
        "basis": found.basis,
    }


def _key(rows: Sequence[Any]) -> str:
    """Of all that a line is made of, as far as rows tell, and of how."""
    told = sorted(str([getattr(row, name) for name in COLUMNS_OF_ROWS]) for row in rows)
    return hashlib.sha256("\n".join([str(FEWER), *told]).encode()).hexdigest()[:16]

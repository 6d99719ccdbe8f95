"""What each run gains, what it forgets for that, and what it costs; and which runs no other beats in all three.

Adaptation is the mean gain over the base in the trained languages, in one measure for all; forgetting the loss in
English against the base, over the same items; both turned so that a larger number is more of it. The untouched base is
a point as well, at zero in everything: a run that another, or training nothing, is no worse than in all three and
better than in one, is not on the front. Fronts are of one base and one category, whose gains are over the same
languages; intervals say which places on them chance may have given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt.languages import ENGLISH
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.candidates import Floats
from cpt.results.analysis.choice.noise import FEWER
from cpt.results.analysis.choice.query import preferred
from cpt.results.analysis.choice.ranking import ScoreInterval, Standing, best
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.measures import MIXING, Measure
from cpt.results.rows.table import MEASURE

NAMES = ("run_id", "run", "model", "data", "code", "langcat")
SPANS = tuple(
    f"{name}{end}" for name in ("adaptation", "forgetting", "code_forgetting") for end in ("", "_low", "_high")
)
COLUMNS = (*NAMES, *SPANS, "cost", "cost_unit", "front", "languages", "items")
"""`languages` are the trained ones that adaptation is the mean over, `items` those of each."""
OF_ENGLISH = ("bpb", "bpb_flores", "sib200")
"""The task that forgetting is told in: the first of these that English was scored in."""
GROUP = ["model", "langcat"]
FLOPS, DEVICE_HOURS, STEPS = "FLOPs", "device hours", "steps"


@dataclass(frozen=True)
class Pareto:
    points: pd.DataFrame
    """Of `COLUMNS`; what is not known is not a number, and a run of which something is not known is on no front."""
    adaptation: Measure
    forgetting: Measure | None
    """None where English was not scored."""
    cost_unit: str
    """Empty where no cost is known: then the front is of adaptation and forgetting alone."""
    code: Measure | None = None
    """What forgetting of code is in, which is told but of no front."""


def pareto(
    table: pd.DataFrame,
    forgetting: pd.DataFrame,
    spent: tuple[Mapping[str, float], str],
    items: ItemScores | None = None,
) -> Pareto | None:
    """The points of every run and base model; None where no run has a base to be compared with.

    `forgetting` are the lines of `forgetting.csv`; where there are none, English is compared from the table.
    """
    gained = _headline(table)
    if gained is None:
        return None
    costs, unit = spent
    lost, losses = _losses(table, forgetting, "english")
    code, code_losses = _losses(table, forgetting, "code")
    records: list[dict[str, Any]] = []
    for (_, langcat), rows in table.groupby(GROUP, sort=False):
        trained = list(dict.fromkeys(rows.loc[rows["role"] == "train", "language"]))
        found = best(rows, trained, gained, items, FEWER)
        group = [
            _point(str(langcat), each, gained, losses, code_losses, costs)
            for each in (found.standings if found else ())
        ]
        compared = _compared(group, unit)
        # A base by itself has nobody to be compared with.
        fit = any(
            point["data"] != "base" for point, row in zip(group, compared, strict=True) if not np.isnan(row).any()
        )
        for point, on_front in zip(group, front(compared), strict=True):
            records.append(point | {"cost_unit": unit, "front": bool(fit and on_front), "languages": len(trained)})
    points = pd.DataFrame(records, columns=list(COLUMNS)).astype({"front": "bool"})
    return None if (points["data"] == "base").all() else Pareto(points, gained, lost, unit, code)


def front(points: Floats) -> NDArray[np.bool_]:
    """Which rows no other row beats, more being better in every column: no worse in all of them and better in one.

    Rows that are the same stand or fall together. A row with something unknown is not on the front, and beats nobody.
    """
    known = np.array([not np.isnan(point).any() for point in points], np.bool_)
    on_front = known.copy()
    for place in np.flatnonzero(known):
        others = points[known]
        on_front[place] = not ((others >= points[place]).all(axis=1) & (others > points[place]).any(axis=1)).any()
    return on_front


def spent(ledgers: Mapping[str, Mapping[str, Any]], plan: Sequence[Mapping[str, str]]) -> tuple[dict[str, float], str]:
    """The cost of each finished run and its unit: FLOPs if all ledgers have them, else hours of devices, else steps."""
    hours = {row["run_id"]: float(row["device_hours"]) for row in plan if row.get("run_id") and row.get("device_hours")}
    for unit, found in (
        (FLOPS, {run_id: float(ledger.get("flops") or math.nan) for run_id, ledger in ledgers.items()}),
        (DEVICE_HOURS, {run_id: hours.get(run_id, math.nan) for run_id in ledgers}),
        (STEPS, {run_id: float(ledger.get("steps") or math.nan) for run_id, ledger in ledgers.items()}),
    ):
        if found and all(map(math.isfinite, found.values())):
            return found, unit
    return {}, ""


def _headline(table: pd.DataFrame) -> Measure | None:
    """The measure that every base was scored in, in trained languages, that comes first by the rule for questions."""
    protocols = headline_protocols(table)
    rows = table[(table["data"] == "base") & (table["role"] == "train") & ~table["metric"].isin(MIXING)]
    found = [set(each[list(MEASURE)].itertuples(index=False, name=None)) for _, each in rows.groupby(GROUP)]
    shared = sorted(Measure(*each) for each in set.intersection(*found)) if found else []
    return next(iter(preferred([each for each in shared if each.protocol == protocols[each.task]])), None)


def _losses(
    table: pd.DataFrame, forgetting: pd.DataFrame, role: str
) -> tuple[Measure | None, dict[str, ScoreInterval]]:
    """By run, how much worse it is than its base, and in what."""
    lines = forgetting[forgetting["role"] == role]
    lines = lines[lines["run_id"].isin(table["run_id"])]
    source = table[table["role"] == role] if lines.empty else lines
    protocols = headline_protocols(source)
    there = {Measure(*each) for each in source[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)}
    fitting = [
        each for task in OF_ENGLISH for each in sorted(there) if each.task == task and each.protocol == protocols[task]
    ]
    if not fitting:
        return None, {}
    measure = fitting[0]
    if not lines.empty:
        lines = lines[(lines[list(MEASURE)] == list(measure)).all(axis=1)]
        spans = lines[["run_id", "difference", "ci_low", "ci_high"]].itertuples(index=False, name=None)
        return measure, {str(run_id): _turned(ScoreInterval(*span), -measure.gain(1.0)) for run_id, *span in spans}
    found: dict[str, ScoreInterval] = {}
    for _, rows in source.groupby(GROUP):
        answer = best(rows, [ENGLISH], measure, samples=FEWER) if role == "english" else None
        for each in answer.standings if answer else ():
            found |= dict.fromkeys(each.candidate.run_ids, _turned(each.gain, -measure.gain(1.0)))
    return measure, found


def _turned(span: ScoreInterval, sign: float) -> ScoreInterval:
    return span if sign > 0 else ScoreInterval(-span.value, -span.high, -span.low)


def _point(
    langcat: str,
    standing: Standing,
    gained: Measure,
    losses: Mapping[str, ScoreInterval],
    code_losses: Mapping[str, ScoreInterval],
    costs: Mapping[str, float],
) -> dict[str, Any]:
    own = standing.candidate
    nothing = ScoreInterval(0.0, 0.0, 0.0)
    gain = nothing if own.is_base else _turned(standing.gain, gained.gain(1.0))
    lost, of_code = (nothing if own.is_base else _mean(found, own.run_ids) for found in (losses, code_losses))
    cost = 0.0 if own.is_base else float(np.mean([costs.get(run_id, math.nan) for run_id in own.run_ids]))
    named = (own.run_ids[0], own.name, own.model, own.data, own.code, langcat)
    spans = [part for span in (gain, lost, of_code) for part in (span.value, span.low, span.high)]
    return (
        dict(zip(NAMES, named, strict=True))
        | dict(zip(SPANS, spans, strict=True))
        | {"cost": cost, "items": int(own.counts.min())}
    )


def _mean(found: Mapping[str, ScoreInterval], run_ids: Sequence[str]) -> ScoreInterval:
    """Over the seeds of a mix, which are asked the same items, so that their intervals do not shrink together."""
    spans = [found.get(run_id, ScoreInterval()) for run_id in run_ids]
    return ScoreInterval(
        *(float(np.mean([getattr(span, name) for span in spans])) for name in ("value", "low", "high"))
    )


def _compared(group: Sequence[dict[str, Any]], unit: str) -> Floats:
    """What is compared, more being better."""
    columns = [(point["adaptation"], -point["forgetting"], -point["cost"] if unit else 0.0) for point in group]
    return np.array(columns, float).reshape(len(group), 3)

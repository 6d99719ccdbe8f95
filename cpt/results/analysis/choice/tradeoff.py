"""The trade-off between adaptation, forgetting and cost, and the Pareto front of each base model and category.

Adaptation is the mean gain over the base in the trained languages, in one measure for all; forgetting is the loss in
English against the base, over the same items. The untouched base is a point too, at zero in all three. A front
compares runs of one base model and one category, whose gains are over the same languages.
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
"""`languages` counts the trained languages that adaptation averages over, `items` the items of each."""
OF_ENGLISH = ("bpb", "bpb_flores", "sib200")
"""Forgetting is measured in the first of these tasks that has English scores."""
GROUP = ["model", "langcat"]
FLOPS, DEVICE_HOURS, STEPS = "FLOPs", "device hours", "steps"


@dataclass(frozen=True)
class Pareto:
    points: pd.DataFrame
    """Columns as in `COLUMNS`; unknown values are NaN, and a run with an unknown value is on no front."""
    adaptation: Measure
    forgetting: Measure | None
    """None if English was not scored."""
    cost_unit: str
    """Empty if no cost is known: then the front uses adaptation and forgetting only."""
    code: Measure | None = None
    """The measure of forgetting in code, which is reported but not part of the front."""


def pareto(
    table: pd.DataFrame,
    forgetting: pd.DataFrame,
    spent: tuple[Mapping[str, float], str],
    items: ItemScores | None = None,
) -> Pareto | None:
    """The points of every run and base model; None if no run has a base model to compare with.

    `forgetting` holds the lines of `forgetting.csv`; if it is empty, English is compared from the table.
    """
    adaptation_measure = _headline(table)
    if adaptation_measure is None:
        return None
    costs, unit = spent
    forgetting_measure, losses = _losses(table, forgetting, "english")
    code_measure, code_losses = _losses(table, forgetting, "code")
    records: list[dict[str, Any]] = []
    for (_, langcat), rows in table.groupby(GROUP, sort=False):
        trained = list(dict.fromkeys(rows.loc[rows["role"] == "train", "language"]))
        best_mix = best(rows, trained, adaptation_measure, items, FEWER)
        group = [
            _point(str(langcat), each, adaptation_measure, losses, code_losses, costs)
            for each in (best_mix.standings if best_mix else ())
        ]
        objectives = _objectives(group, unit)
        # A base model alone has no run to compare with.
        fit = any(
            point["data"] != "base" for point, row in zip(group, objectives, strict=True) if not np.isnan(row).any()
        )
        for point, on_front in zip(group, front(objectives), strict=True):
            records.append(point | {"cost_unit": unit, "front": bool(fit and on_front), "languages": len(trained)})
    points = pd.DataFrame(records, columns=list(COLUMNS)).astype({"front": "bool"})
    if (points["data"] == "base").all():
        return None
    return Pareto(points, adaptation_measure, forgetting_measure, unit, code_measure)


def front(points: Floats) -> NDArray[np.bool_]:
    """Which rows no other row dominates; larger is better in every column. Rows with NaN are ignored."""
    known = np.array([not np.isnan(point).any() for point in points], np.bool_)
    on_front = known.copy()
    for index in np.flatnonzero(known):
        others = points[known]
        on_front[index] = not ((others >= points[index]).all(axis=1) & (others > points[index]).any(axis=1)).any()
    return on_front


def spent(ledgers: Mapping[str, Mapping[str, Any]], plan: Sequence[Mapping[str, str]]) -> tuple[dict[str, float], str]:
    """The cost of each finished run and its unit: FLOPs if all ledgers have them, else hours of devices, else steps."""
    hours = {row["run_id"]: float(row["device_hours"]) for row in plan if row.get("run_id") and row.get("device_hours")}
    for unit, costs in (
        (FLOPS, {run_id: float(ledger.get("flops") or math.nan) for run_id, ledger in ledgers.items()}),
        (DEVICE_HOURS, {run_id: hours.get(run_id, math.nan) for run_id in ledgers}),
        (STEPS, {run_id: float(ledger.get("steps") or math.nan) for run_id, ledger in ledgers.items()}),
    ):
        if costs and all(map(math.isfinite, costs.values())):
            return costs, unit
    return {}, ""


def _headline(table: pd.DataFrame) -> Measure | None:
    """The preferred measure among those in which every base model was scored in trained languages."""
    protocols = headline_protocols(table)
    rows = table[(table["data"] == "base") & (table["role"] == "train") & ~table["metric"].isin(MIXING)]
    measures = [set(each[list(MEASURE)].itertuples(index=False, name=None)) for _, each in rows.groupby(GROUP)]
    shared = sorted(Measure(*each) for each in set.intersection(*measures)) if measures else []
    return next(iter(preferred([each for each in shared if each.protocol == protocols[each.task]])), None)


def _losses(
    table: pd.DataFrame, forgetting: pd.DataFrame, role: str
) -> tuple[Measure | None, dict[str, ScoreInterval]]:
    """The measure of forgetting, and by run the loss against its base model."""
    lines = forgetting[forgetting["role"] == role]
    lines = lines[lines["run_id"].isin(table["run_id"])]
    source = table[table["role"] == role] if lines.empty else lines
    protocols = headline_protocols(source)
    measures = {Measure(*each) for each in source[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)}
    headline = sorted(each for each in measures if each.protocol == protocols[each.task])
    measure = next((each for task in OF_ENGLISH for each in headline if each.task == task), None)
    if measure is None:
        return None, {}
    if not lines.empty:
        lines = lines[(lines[list(MEASURE)] == list(measure)).all(axis=1)]
        spans = lines[["run_id", "difference", "ci_low", "ci_high"]].itertuples(index=False, name=None)
        sign = -measure.gain(1.0)
        return measure, {str(run_id): _signed_interval(ScoreInterval(*span), sign) for run_id, *span in spans}
    losses: dict[str, ScoreInterval] = {}
    for _, rows in source.groupby(GROUP):
        answer = best(rows, [ENGLISH], measure, samples=FEWER) if role == "english" else None
        for each in answer.standings if answer else ():
            losses |= dict.fromkeys(each.candidate.run_ids, _signed_interval(each.gain, -measure.gain(1.0)))
    return measure, losses


def _signed_interval(span: ScoreInterval, sign: float) -> ScoreInterval:
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
    gain = nothing if own.is_base else _signed_interval(standing.gain, gained.gain(1.0))
    lost, of_code = (nothing if own.is_base else _mean(of_run, own.run_ids) for of_run in (losses, code_losses))
    cost = 0.0 if own.is_base else float(np.mean([costs.get(run_id, math.nan) for run_id in own.run_ids]))
    named = (own.run_ids[0], own.name, own.model, own.data, own.code, langcat)
    spans = [part for span in (gain, lost, of_code) for part in (span.value, span.low, span.high)]
    return (
        dict(zip(NAMES, named, strict=True))
        | dict(zip(SPANS, spans, strict=True))
        | {"cost": cost, "items": int(own.counts.min())}
    )


def _mean(losses: Mapping[str, ScoreInterval], run_ids: Sequence[str]) -> ScoreInterval:
    """The mean over the seeds of a mix; intervals do not shrink, because the items are the same."""
    spans = [losses.get(run_id, ScoreInterval()) for run_id in run_ids]
    return ScoreInterval(
        *(float(np.mean([getattr(span, name) for span in spans])) for name in ("value", "low", "high"))
    )


def _objectives(group: Sequence[dict[str, Any]], unit: str) -> Floats:
    """Adaptation, forgetting and cost as columns in which larger is better."""
    columns = [(point["adaptation"], -point["forgetting"], -point["cost"] if unit else 0.0) for point in group]
    return np.array(columns, float).reshape(len(group), 3)

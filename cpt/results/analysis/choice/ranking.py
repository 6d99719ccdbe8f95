"""Rank the candidates for some languages and quantify the uncertainty of the ranking.

Candidates are all runs that were scored in every requested language, and the untouched base models. They are ranked by
the mean of one measure over the languages. The uncertainty is given by the share of joint resamples in which each is
the best, and by a confidence set.

The set contains the truly best candidate with 95 % confidence for any number of candidates. A candidate is in it unless
another leads it by more than the largest lead that noise alone would give any candidate in 95 % of resamples
(comparisons with the best, by the maximum of studentised differences).

The share gives no such guarantee: if the true differences are smaller than the noise, the leader's share is too high,
because it leads partly by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.candidates import Candidate, Floats, candidates, one_score
from cpt.results.analysis.choice.noise import INTERVALS, ITEMS, SAMPLES, UNKNOWN, Noise, noise
from cpt.results.rows.measures import Measure
from cpt.results.rows.table import MEASURE

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ScoreInterval:
    """A number with its 95 % interval; NaN if unknown."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def holds_zero(self) -> bool:
        """Whether the interval includes zero; also true if there is no interval."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Standing:
    """One candidate; all differences are in the metric's unit and sign."""

    candidate: Candidate
    score: ScoreInterval
    behind: ScoreInterval
    """Difference to the leader; NaN for the leader."""
    gain: ScoreInterval
    """Difference to its base model; NaN for a base model or if the base was not scored in all the languages."""
    share: float
    """Share of resamples in which it is the best; NaN if the noise is unknown."""
    held: bool
    """Whether it is in the confidence set."""


@dataclass(frozen=True)
class Best:
    measure: Measure
    languages: tuple[str, ...]
    basis: str
    standings: tuple[Standing, ...]
    """Best first."""
    lacking: dict[str, tuple[str, ...]]
    """Runs that were not scored in all the languages, with the missing ones."""

    @property
    def leader(self) -> Standing:
        return self.standings[0]

    @property
    def held(self) -> tuple[Standing, ...]:
        """The other candidates in the confidence set."""
        return tuple(each for each in self.standings[1:] if each.held)

    @property
    def known(self) -> bool:
        return self.basis in (ITEMS, INTERVALS)

    @property
    def seeds(self) -> int:
        """The largest number of seeds of a mix."""
        return max(len(each.candidate.run_ids) for each in self.standings)


def best(
    table: pd.DataFrame,
    languages: Sequence[str],
    measure: Measure,
    items: ItemScores | None = None,
    samples: int = SAMPLES,
) -> Best | None:
    """The ranking of all candidates of a table; None if no run was scored in all the languages."""
    rows = table.iloc[_rows_of(table, measure, set(languages))].itertuples(index=False)
    return best_of(rows, languages, measure, items, table["run_id"].unique(), samples)


def _rows_of(table: pd.DataFrame, measure: Measure, languages: set[str]) -> list[int]:
    """The positions of the rows of a measure in some languages."""
    names = (*MEASURE, "language")
    columns = zip(*(table[name].to_numpy() for name in names), strict=True)
    wanted = {(*measure, language) for language in languages}
    return [position for position, values in enumerate(columns) if values in wanted]


def best_of(
    rows: Iterable[Any],
    languages: Sequence[str],
    measure: Measure,
    items: ItemScores | None = None,
    run_ids: Iterable[str] = (),
    samples: int = SAMPLES,
) -> Best | None:
    """The ranking from the rows of one measure in these languages; other `run_ids` are listed as lacking."""
    scores = one_score(rows)
    result = candidates(scores, languages, None if items is None else partial(_read, items, measure))
    if not result:
        return None
    complete = {run_id for each in result for run_id in each.run_ids}
    incomplete = {
        run_id: tuple(code for code in languages if code not in scores.get(run_id, {}))
        for run_id in dict.fromkeys([*run_ids, *scores])
        if run_id not in complete
    }
    return Best(measure, tuple(languages), *ranked(result, measure, samples), incomplete)


def _read(items: ItemScores, measure: Measure, run_id: str, language: str) -> Floats | None:
    return items.of(run_id, measure.task, language, measure.direction, measure.protocol, measure.metric)


def ranked(entries: Sequence[Candidate], measure: Measure, samples: int = SAMPLES) -> tuple[str, tuple[Standing, ...]]:
    """The basis of the noise, and the candidates in order; of equal ones the base model first."""
    sampled = noise(entries, samples)
    values = np.array([one.value for one in entries])
    sense = measure.gain(1.0)
    order = sorted(range(len(entries)), key=lambda index: (-sense * values[index], not entries[index].is_base))
    is_known = sampled.basis != UNKNOWN
    shares = best_shares(sense * values, sense * sampled.draws) if is_known else np.full(len(entries), math.nan)
    in_set = confidence_set(sense * values, sense * sampled.draws) if is_known else np.ones(len(entries), np.bool_)
    bases = {one.model: index for index, one in enumerate(entries) if one.is_base}
    lines = []
    for index in order:
        candidate = entries[index]
        base = None if candidate.is_base else bases.get(candidate.model)
        lines.append(
            Standing(
                candidate,
                _score(candidate, sampled, index),
                ScoreInterval() if index == order[0] else _difference(values, sampled, index, order[0]),
                ScoreInterval() if base is None else _difference(values, sampled, index, base),
                float(shares[index]),
                bool(in_set[index]),
            )
        )
    return sampled.basis, tuple(lines)


def _score(candidate: Candidate, sampled: Noise, index: int) -> ScoreInterval:
    """The value and interval of one candidate; a single score already has an interval."""
    if candidate.values.size == 1 and not sampled.of_seeds:
        return ScoreInterval(candidate.value, float(candidate.lows[0, 0]), float(candidate.highs[0, 0]))
    return _span(candidate.value, sampled, sampled.draws[:, index])


def _difference(values: Floats, sampled: Noise, one: int, other: int) -> ScoreInterval:
    return _span(float(values[one] - values[other]), sampled, sampled.draws[:, one] - sampled.draws[:, other])


def _span(value: float, sampled: Noise, draws: Floats) -> ScoreInterval:
    if sampled.basis == UNKNOWN:
        return ScoreInterval(value)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ScoreInterval(value, value + float(low), value + float(high))


def best_shares(values: Floats, draws: Floats) -> Floats:
    """The share of resamples in which each is the best; ties share a resample."""
    resampled = values + draws
    first = resampled == resampled.max(axis=1, keepdims=True)
    shares: Floats = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def confidence_set(values: Floats, draws: Floats) -> NDArray[np.bool_]:
    """The 95 % confidence set of the best candidate, as a mask; larger values are better."""
    return np.array([may_be_best(index, values, draws) for index in range(len(values))], np.bool_)


def may_be_best(index: int, values: Floats, draws: Floats) -> bool:
    """Whether no lead over this candidate is larger than noise alone would give if it were the best."""
    relative = draws - draws[:, [index]]
    widths = relative.std(axis=0)
    leads = values - values[index]
    exact = widths <= 1e-12 * max(1.0, float(np.abs(values).max()))
    if exact.all() or (leads[exact] > 0).any():
        return not (leads > 0).any()
    # The tail of a percentile interval towards zero, so that the two agree.
    largest = (-relative[:, ~exact] / widths[~exact]).max(axis=1)
    return bool((leads[~exact] / widths[~exact]).max() <= np.quantile(largest, CONFIDENCE))


@dataclass(frozen=True)
class BestMix:
    """The best of all mixes of one category from one base, over the languages they were trained on."""

    model: str
    langcat: str
    languages: tuple[str, ...]
    best: Best


def mixes(table: pd.DataFrame, measures: Sequence[Measure], items: ItemScores | None = None) -> list[BestMix]:
    """The best mix of every base, category and measure; none if no run was scored in all the languages."""
    best_mixes = []
    for (model, langcat), rows in table.groupby(["model", "langcat"]):
        languages = tuple(dict.fromkeys(rows.loc[rows["role"] == "train", "language"]))
        for measure in measures:
            if languages and (chosen := best(rows, languages, measure, items)):
                best_mixes.append(BestMix(str(model), str(langcat), languages, chosen))
    return best_mixes

"""Which run to use for some languages, and how sure that is.

Candidates are all runs scored in every language asked for, and the untouched base models: to train nothing is an
answer too. They are ranked by the mean of one measure over the languages. How sure the first place is has two answers:
the share of joint resamples in which a candidate is the best, and the set of candidates that cannot be told from it.

The set holds the truly best candidate with 95 % confidence however many there are. Each candidate in turn is supposed
to be the best; it stays unless another is ahead of it by more than the largest lead that noise would give any of them
over it in 95 % of resamples (comparisons with the best, by the maximum of studentised differences).

The share is no such guarantee. It is the probability of being best when nothing else is known of the candidates; where
they truly differ by less than the noise of a score, the leader's share is too high, for it leads by its luck as well.
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
    """A number with its 95 % interval, not numbers where none is known."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def holds_zero(self) -> bool:
        """Also where nothing is known: then nothing speaks against it."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Standing:
    """One candidate, all differences in the metric's own unit and sense."""

    candidate: Candidate
    score: ScoreInterval
    behind: ScoreInterval
    """Less the leader's; nothing for the leader."""
    gain: ScoreInterval
    """Less its base's; nothing for a base, and for a run whose base was not scored in all the languages."""
    share: float
    """Of resamples in which it is the best; not a number where nothing is known of the noise."""
    held: bool
    """Cannot be told from the best."""


@dataclass(frozen=True)
class Best:
    measure: Measure
    languages: tuple[str, ...]
    basis: str
    standings: tuple[Standing, ...]
    """Best first."""
    lacking: dict[str, tuple[str, ...]]
    """Runs that were not scored in all the languages, and in which not."""

    @property
    def leader(self) -> Standing:
        return self.standings[0]

    @property
    def held(self) -> tuple[Standing, ...]:
        """Who else cannot be told from the best."""
        return tuple(each for each in self.standings[1:] if each.held)

    @property
    def known(self) -> bool:
        return self.basis in (ITEMS, INTERVALS)

    @property
    def seeds(self) -> int:
        """The most of one mix."""
        return max(len(each.candidate.run_ids) for each in self.standings)


def best(
    table: pd.DataFrame,
    languages: Sequence[str],
    measure: Measure,
    items: ItemScores | None = None,
    samples: int = SAMPLES,
) -> Best | None:
    """Every candidate of a table in its place; None where nobody was scored in all the languages."""
    rows = table.iloc[_rows_of(table, measure, set(languages))].itertuples(index=False)
    return best_of(rows, languages, measure, items, table["run_id"].unique(), samples)


def _rows_of(table: pd.DataFrame, measure: Measure, languages: set[str]) -> list[int]:
    """Positions of the rows of a measure in some languages."""
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
    """From the rows of one measure in these languages; whoever else of `run_ids` there is lacks them."""
    scores = one_score(rows)
    found = candidates(scores, languages, None if items is None else partial(_read, items, measure))
    if not found:
        return None
    have = {run_id for each in found for run_id in each.run_ids}
    lacking = {
        run_id: tuple(code for code in languages if code not in scores.get(run_id, {}))
        for run_id in dict.fromkeys([*run_ids, *scores])
        if run_id not in have
    }
    return Best(measure, tuple(languages), *ranked(found, measure, samples), lacking)


def _read(items: ItemScores, measure: Measure, run_id: str, language: str) -> Floats | None:
    return items.of(run_id, measure.task, language, measure.direction, measure.protocol, measure.metric)


def ranked(found: Sequence[Candidate], measure: Measure, samples: int = SAMPLES) -> tuple[str, tuple[Standing, ...]]:
    """On what the noise rests, and the candidates in their order; of equal ones an untouched base first."""
    known = noise(found, samples)
    values = np.array([each.value for each in found])
    sense = measure.gain(1.0)
    order = sorted(range(len(found)), key=lambda place: (-sense * values[place], not found[place].is_base))
    sure = known.basis != UNKNOWN
    shares = best_shares(sense * values, sense * known.draws) if sure else np.full(len(found), math.nan)
    held = confidence_set(sense * values, sense * known.draws) if sure else np.ones(len(found), np.bool_)
    bases = {each.model: place for place, each in enumerate(found) if each.is_base}
    lines = []
    for place in order:
        own = found[place]
        base = None if own.is_base else bases.get(own.model)
        lines.append(
            Standing(
                own,
                _score(own, known, place),
                ScoreInterval() if place == order[0] else _difference(values, known, place, order[0]),
                ScoreInterval() if base is None else _difference(values, known, place, base),
                float(shares[place]),
                bool(held[place]),
            )
        )
    return known.basis, tuple(lines)


def _score(candidate: Candidate, known: Noise, place: int) -> ScoreInterval:
    """A single score has an interval of its own already."""
    if candidate.values.size == 1 and not known.of_seeds:
        return ScoreInterval(candidate.value, float(candidate.lows[0, 0]), float(candidate.highs[0, 0]))
    return _span(candidate.value, known, known.draws[:, place])


def _difference(values: Floats, known: Noise, one: int, other: int) -> ScoreInterval:
    return _span(float(values[one] - values[other]), known, known.draws[:, one] - known.draws[:, other])


def _span(value: float, known: Noise, draws: Floats) -> ScoreInterval:
    if known.basis == UNKNOWN:
        return ScoreInterval(value)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ScoreInterval(value, value + float(low), value + float(high))


def best_shares(values: Floats, draws: Floats) -> Floats:
    """In what share of resamples each is the best; those that are equally good share the resample."""
    resampled = values + draws
    first = resampled == resampled.max(axis=1, keepdims=True)
    shares: Floats = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def confidence_set(values: Floats, draws: Floats) -> NDArray[np.bool_]:
    """Whether each may be the truly best, more being better: the truly best is among them with 95 % confidence."""
    return np.array([may_be_best(place, values, draws) for place in range(len(values))], np.bool_)


def may_be_best(place: int, values: Floats, draws: Floats) -> bool:
    """Whether none is ahead of this one by more than noise would put any of them, were it the best."""
    apart = draws - draws[:, [place]]
    widths = apart.std(axis=0)
    leads = values - values[place]
    exact = widths <= 1e-12 * max(1.0, float(np.abs(values).max()))
    if exact.all() or (leads[exact] > 0).any():
        return not (leads > 0).any()
    # Of the tail that a percentile interval has towards zero, so that the two agree.
    largest = (-apart[:, ~exact] / widths[~exact]).max(axis=1)
    return bool((leads[~exact] / widths[~exact]).max() <= np.quantile(largest, CONFIDENCE))


@dataclass(frozen=True)
class BestMix:
    """The best of all mixes of one category from one base, over the languages they were trained on."""

    model: str
    langcat: str
    languages: tuple[str, ...]
    found: Best


def mixes(table: pd.DataFrame, measures: Sequence[Measure], items: ItemScores | None = None) -> list[BestMix]:
    """For every base and category, and each measure; nothing where no run was scored in all the languages."""
    found = []
    for (model, langcat), rows in table.groupby(["model", "langcat"]):
        languages = tuple(dict.fromkeys(rows.loc[rows["role"] == "train", "language"]))
        for measure in measures:
            if languages and (chosen := best(rows, languages, measure, items)):
                found.append(BestMix(str(model), str(langcat), languages, chosen))
    return found

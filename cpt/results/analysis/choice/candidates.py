"""Who can be named for some languages: every mix and every untouched base model that was scored in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.evals.metrics.bootstrap import Z

Floats = NDArray[np.float64]
Read = Callable[[str, str], Floats | None]
"""The single items of a run's score in a language."""
Scores = dict[str, dict[str, Any]]
"""Rows of one measure, by run and language."""


@dataclass(frozen=True)
class Candidate:
    """One mix from one base, trained with one seed or several; or an untouched base model."""

    name: str
    run_ids: tuple[str, ...]
    """One for each seed."""
    model: str
    data: str
    code: bool
    langcat: str
    """Empty for a base model, which no category trained."""
    roles: tuple[str, ...]
    """What the languages asked for are to it: trained, related …; one each."""
    values: Floats
    """Seeds by languages."""
    lows: Floats
    highs: Floats
    counts: NDArray[np.int64]
    """Items behind each value."""
    items: tuple[tuple[Floats | None, ...], ...] = ()
    """Seeds by languages: what single items come to; empty where nobody looked."""

    @property
    def is_base(self) -> bool:
        return self.data == "base"

    @property
    def value(self) -> float:
        """The mean over seeds and languages, each counting alike."""
        return float(self.values.mean())

    @property
    def errors(self) -> Floats:
        """Standard errors, as the intervals of the scores have them."""
        return (self.highs - self.lows) / (2 * Z)


def one_score(rows: Iterable[Any]) -> Scores:
    """By run and language; a base model has a row in each category, and no score where these differ."""
    found: Scores = {}
    differing: set[tuple[str, str]] = set()
    for row in rows:
        first = found.setdefault(row.run_id, {}).setdefault(row.language, row)
        if first.value != row.value:
            differing.add((row.run_id, row.language))
    for run_id, language in differing:
        del found[run_id][language]
    return found


def candidates(scores: Scores, languages: Sequence[str], read: Read | None = None) -> list[Candidate]:
    """Whoever has all the languages.

    A mix trained with several seeds is one candidate. Runs of one name that share a seed differ in something that the
    table does not tell, so each is a candidate of its own.
    """
    whole = {
        run_id: [have[code] for code in languages] for run_id, have in scores.items() if have.keys() >= {*languages}
    }
    cells = _cells({run_id: line[0] for run_id, line in whole.items()})
    found = [_candidate(run_ids, [whole[run_id] for run_id in run_ids], read) for run_ids in cells]
    names = Counter(each.name for each in found)
    return [each if names[each.name] == 1 else replace(each, name=each.run_ids[0]) for each in found]


def _cells(of_run: dict[str, Any]) -> list[list[str]]:
    """Runs that differ in nothing but the seed, together."""
    cells: dict[Any, list[str]] = {}
    for run_id, row in of_run.items():
        category = "" if row.data == "base" else row.langcat
        cells.setdefault((row.run, row.model, row.data, row.code, category), []).append(run_id)
    found = []
    for run_ids in cells.values():
        seeds = {str(of_run[run_id].seed) for run_id in run_ids}
        found += [run_ids] if len(seeds) == len(run_ids) else [[run_id] for run_id in run_ids]
    return found


def _candidate(run_ids: list[str], rows: list[list[Any]], read: Read | None) -> Candidate:
    first = rows[0][0]
    columns = ("value", "ci_low", "ci_high")
    values, lows, highs = (np.array([[getattr(row, name) for row in line] for line in rows], float) for name in columns)
    return Candidate(
        name=str(first.run),
        run_ids=tuple(run_ids),
        model=str(first.model),
        data=str(first.data),
        code=bool(first.code),
        langcat="" if first.data == "base" else str(first.langcat),
        roles=tuple(str(row.role) for row in rows[0]),
        values=values,
        lows=lows,
        highs=highs,
        counts=np.array([[row.n for row in line] for line in rows], np.int64),
        items=() if read is None else tuple(tuple(read(row.run_id, row.language) for row in line) for line in rows),
    )

"""Candidates for some languages: every mix and every base model that was scored in all of them."""

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
    """The role of each requested language: train, related, …"""
    values: Floats
    """Seeds by languages."""
    lows: Floats
    highs: Floats
    counts: NDArray[np.int64]
    """Items behind each value."""
    items: tuple[tuple[Floats | None, ...], ...] = ()
    """Item scores, seeds by languages; empty if they were not read."""

    @property
    def is_base(self) -> bool:
        return self.data == "base"

    @property
    def value(self) -> float:
        """The unweighted mean over seeds and languages."""
        return float(self.values.mean())

    @property
    def errors(self) -> Floats:
        """Standard errors, from the widths of the intervals."""
        return (self.highs - self.lows) / (2 * Z)


def one_score(rows: Iterable[Any]) -> Scores:
    """Rows by run and language. A base model has a row per category; where these differ, its score is left out."""
    scores: Scores = {}
    differing: set[tuple[str, str]] = set()
    for row in rows:
        first = scores.setdefault(row.run_id, {}).setdefault(row.language, row)
        if first.value != row.value:
            differing.add((row.run_id, row.language))
    for run_id, language in differing:
        del scores[run_id][language]
    return scores


def candidates(scores: Scores, languages: Sequence[str], read: Read | None = None) -> list[Candidate]:
    """All mixes and base models that were scored in all languages.

    A mix trained with several seeds is one candidate. Runs of one name that share a seed differ in something that is
    not in the table, so each is a candidate of its own.
    """
    complete = {
        run_id: [have[code] for code in languages] for run_id, have in scores.items() if have.keys() >= {*languages}
    }
    cells = _cells({run_id: line[0] for run_id, line in complete.items()})
    result = [_candidate(run_ids, [complete[run_id] for run_id in run_ids], read) for run_ids in cells]
    names = Counter(candidate.name for candidate in result)
    return [
        candidate if names[candidate.name] == 1 else replace(candidate, name=candidate.run_ids[0])
        for candidate in result
    ]


def _cells(of_run: dict[str, Any]) -> list[list[str]]:
    """Group the runs that differ only in their seed."""
    cells: dict[Any, list[str]] = {}
    for run_id, row in of_run.items():
        category = "" if row.data == "base" else row.langcat
        cells.setdefault((row.run, row.model, row.data, row.code, category), []).append(run_id)
    cells_of_seeds = []
    for run_ids in cells.values():
        seeds = {str(of_run[run_id].seed) for run_id in run_ids}
        cells_of_seeds += [run_ids] if len(seeds) == len(run_ids) else [[run_id] for run_id in run_ids]
    return cells_of_seeds


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

"""Check the claim of each language category against the results of its runs.

The categories were named for how tuning on a language helps itself and others (Yuan et al., Findings of ACL 2024):
altruistic ones help others more than themselves, selfish ones themselves and not others, stagnant ones neither; helping
both would be a fourth kind, reciprocal. Here "itself" are the languages that a run was trained on and "others" their
relatives that it was not, and help is a gain in SIB-200 accuracy over the untouched base model.

The rule. A group's gain is the relative change of its mean (`change`), with an interval. A group gains if the whole
interval is above zero, does not gain if the whole interval is below MARGIN, and is unclear otherwise. A claim is met
if all its statements hold, not met if one does not, and unclear otherwise:

    altruistic   the related languages gain; and they gain more than the trained ones
    selfish      the trained languages gain; and the related ones do not
    stagnant     the trained languages do not gain; and the related ones do not

"More than" is the same test on the difference of the two changes. At face value the same rule is applied to the changes
without their intervals, so that it always has an answer.

The interval is a bootstrap over languages (those of a category are a sample of its kind), and at least as wide as the
noise of the items. It does not include run-to-run variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt.evals.metrics.bootstrap import Z, percentiles, resampled_sums
from cpt.results.analysis.change.against_base import FEWEST, GROUPS, RUN, changes
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.measures import ROLE_LABELS, signed

TASK, METRIC = "sib200", "accuracy"
ALTRUISTIC, SELFISH, STAGNANT = "altruistic", "selfish", "stagnant"
CLAIMS = {"alt": ALTRUISTIC, "sel": SELFISH, "stag": STAGNANT}
"""Claims by category; other categories make none."""
STATED = {
    ALTRUISTIC: "the related languages gain, and more than the trained ones",
    SELFISH: "the trained languages gain, and the related ones do not",
    STAGNANT: "neither the trained nor the related languages gain",
}
MARGIN = 5.0
"""In % of the base's mean: smaller gains count as none. Five languages of 204 items can gain this much by chance."""
SAMPLES = 1000
DIGITS = 9
"""Sums are rounded to this, so that the order of summands cannot look like a gain."""
MET = {True: "yes", False: "no", None: "unclear"}
GAINED = {True: "gain", False: "no gain", None: "unclear"}
COLUMNS = (
    *("run", "run_id", "model", "data", "code", "langcat", "seed", "protocol"),
    *(f"{ROLE_LABELS[role]}_{what}" for role in GROUPS for what in ("change", "low", "high", "languages")),
    *("claim", "met", "at_face_value", "why"),
)


@dataclass(frozen=True)
class Change:
    """A relative change in % with its interval, NaN if there is none."""

    value: float
    low: float
    high: float

    @property
    def bare(self) -> Change:
        """The same without its interval."""
        return Change(self.value, self.value, self.value)

    def less(self, other: Change) -> Change:
        """The difference of two changes over different languages; intervals by square and add (Newcombe 1998)."""
        down = math.hypot(self.value - self.low, other.high - other.value)
        up = math.hypot(self.high - self.value, other.value - other.low)
        difference = self.value - other.value
        return Change(difference, difference - down, difference + up)


def gains(change: Change) -> bool | None:
    """Whether a group gains; None if its interval includes both answers."""
    if change.low > 0:
        return True
    return False if change.high < MARGIN else None


def is_met(claim: str, trained: Change, related: Change) -> bool | None:
    """Whether a run meets its category's claim, by the rule above; None if unclear."""
    itself, others = gains(trained), gains(related)
    if claim == ALTRUISTIC:
        return _all(others, gains(related.less(trained)))
    if claim == SELFISH:
        return _all(itself, _not(others))
    return _all(_not(itself), _not(others))


def _not(statement: bool | None) -> bool | None:
    return None if statement is None else not statement


def _all(*statements: bool | None) -> bool | None:
    if False in statements:
        return False
    return None if None in statements else True


def why(claim: str, trained: Change, related: Change) -> str:
    """The changes behind a judgement, in words."""
    parts = {"trained": trained, "related": related}
    if claim == ALTRUISTIC:
        parts["related less trained"] = related.less(trained)
    return "; ".join(f"{name} {_in_words(change)}: {GAINED[gains(change)]}" for name, change in parts.items())


def _in_words(change: Change) -> str:
    span = "no interval" if math.isnan(change.low) else f"{signed(change.low, 1)} to {signed(change.high, 1)}"
    return f"{signed(change.value, 2)} % ({span})"


def change_of(scores: NDArray[np.float64]) -> Change:
    """Relative change of a group, from a row per language: accuracy of run and base, then the items of each.

    Languages are resampled in pairs. Answers to single items are not in the table, so the part of the interval due to
    items assumes two independent samples, which is conservative.
    """
    run, base, n, base_n = scores.T
    value = float(_relative(np.array([run.sum(), base.sum()])))
    if len(scores) < FEWEST or math.isnan(value):
        return Change(value, math.nan, math.nan)
    low, high = percentiles(_relative(resampled_sums(scores[:, :2], SAMPLES).T), len(scores))
    noise = (run * (1 - run) / n).sum(), (base * (1 - base) / base_n).sum()
    reach = 100 * Z * math.sqrt(noise[0] + (run.sum() / base.sum()) ** 2 * noise[1]) / base.sum()
    return Change(value, min(low, value - reach), max(high, value + reach))


def _relative(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change in % of one or many pairs of sums."""
    run, base = np.round(sums, DIGITS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(base != 0, 100 * (run / base - 1), np.nan)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """A line for each run whose category makes a claim and that has scores in both groups."""
    scored = table[(table["task"] == TASK) & (table["metric"] == METRIC) & table["role"].isin(GROUPS)]
    scored = scored[scored["protocol"] == headline_protocols(table).get(TASK)]
    compared = changes(scored[scored["langcat"].isin(list(CLAIMS))])
    records = []
    for owner, rows in compared.groupby([*RUN, "protocol"], sort=False, dropna=False):
        named: dict[str, Any] = dict(zip([*RUN, "protocol"], owner, strict=True))
        of_role = {
            str(role): group[["value", "base", "n", "base_n"]].to_numpy("float64")
            for role, group in rows.groupby("role")
        }
        if set(of_role) != set(GROUPS):
            continue
        changes_of_groups = {role: change_of(scores) for role, scores in of_role.items()}
        trained, related = (changes_of_groups[role] for role in GROUPS)
        claim = CLAIMS[named["langcat"]]
        for role, change in changes_of_groups.items():
            group = ROLE_LABELS[role]
            named |= {f"{group}_change": change.value, f"{group}_low": change.low, f"{group}_high": change.high}
            named |= {f"{group}_languages": len(of_role[role])}
        met, at_face_value = is_met(claim, trained, related), is_met(claim, trained.bare, related.bare)
        judgement = {"claim": claim, "met": MET[met], "at_face_value": MET[at_face_value]}
        records.append(named | judgement | {"why": why(claim, trained, related)})
    return pd.DataFrame(records, columns=list(COLUMNS)).astype({"seed": "Int64"})


def tally(judged_runs: pd.DataFrame) -> list[str]:
    """One sentence per category: how many runs meet its claim."""
    sentences = []
    for claim, lines in judged_runs.groupby("claim", sort=True):
        met, not_met, unclear = (_count(lines, "met", MET[answer]) for answer in (True, False, None))
        bare = _count(lines, "at_face_value", MET[True])
        judged = f"{met} meet the claim, {not_met} do not, {unclear} unclear"
        sentences.append(f"{claim}, {len(lines)} runs: {judged}; {bare} meet it at face value")
    return sentences


def _count(lines: pd.DataFrame, column: str, word: str) -> int:
    return int((lines[column] == word).sum())

"""Parse the query of `cpt best`: its languages, and the measure meant if task, metric or direction are not named.

Defaults: the headline protocol (`sound` if there is one); translation, then classification, then bits per byte; the
main metric of the task; translation into the language before translation into English.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pandas as pd

from cpt.errors import UserError, nearest, some
from cpt.evals.rows import EN_X, X_EN
from cpt.languages import registry
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.measures import MIXING, Measure, language_name, language_order
from cpt.results.rows.table import MEASURE

TASKS_FIRST = ("flores200", "sib200", "bpb_flores", "bpb")
METRICS_FIRST = ("chrf++", "spbleu", "bleu", "rouge_l", "exact_match", "accuracy", "bits_per_byte")
DIRECTIONS_FIRST = ("", EN_X, X_EN)
CHOICES = 12
"""Measures listed in an error message."""


def requested_languages(table: pd.DataFrame, words: str) -> tuple[str, ...]:
    """Parse `zul_Latn,xho_Latn`; every language must have a score."""
    known = set(table["language"])
    languages = tuple(dict.fromkeys(filter(None, (word.strip() for word in words.split(",")))))
    if not languages:
        raise UserError("--for: name one language or several, as in --for zul_Latn,xho_Latn")
    for code in languages:
        if code in known:
            continue
        if code in registry():
            reason = f"no run was scored in {language_name(code)}"
        else:
            close = _near(code, known)
            reason = "no such language" + (f"; did you mean {' or '.join(close)}?" if close else "")
        raise UserError(f"--for {code}: {reason}; scored: {some(sorted(known, key=language_order), CHOICES)}")
    return languages


def _near(word: str, known: set[str]) -> list[str]:
    """Codes whose language has a similar name or code, without the script, which would make many codes similar."""
    called = {code.partition("_")[0].lower(): code for code in known}
    called |= {language_name(code).lower(): code for code in known}
    close = difflib.get_close_matches(word.partition("_")[0].lower(), called, cutoff=0.6)
    return list(dict.fromkeys(called[name] for name in close))


def requested_measure(table: pd.DataFrame, languages: Sequence[str], **named: str | None) -> Measure:
    """The measure for the named task, metric, direction and protocol that was scored in all languages."""
    shared = measures_of(table, languages)
    if not shared:
        raise UserError(f"--for {','.join(languages)}: no measure was scored in all of them; ask for fewer")
    for name, word in named.items():
        values = {getattr(each, name) for each in shared}
        if word is not None and word not in values:
            available = ", ".join(sorted(filter(None, values))) or "none"
            raise UserError(
                f"--{name} {word}: not scored in {_names(languages)}{nearest(word, values)}; there: {available}"
            )
    requested = {name: word for name, word in named.items() if word is not None}
    matches = [each for each in shared if all(getattr(each, name) == word for name, word in requested.items())]
    if not matches:
        flags = " ".join(f"--{name} {word}" for name, word in requested.items())
        raise UserError(f"{flags}: not scored together in {_names(languages)}; there: {_listed(shared)}")
    if "metric" not in requested:
        matches = [each for each in matches if each.metric not in MIXING] or matches
    if "protocol" not in requested:
        headline = headline_protocols(table)
        matches = [each for each in matches if each.protocol == headline[each.task]] or matches
    matches = preferred(matches)
    if len(matches) > 1:
        raise UserError(f"several measures fit; name one by --task, --metric or --direction: {_listed(matches)}")
    return matches[0]


def preferred(measures: Sequence[Measure]) -> list[Measure]:
    """The first measures by task, metric and direction; several only if the order does not decide."""
    left = list(measures)
    for name, order in (("task", TASKS_FIRST), ("metric", METRICS_FIRST), ("direction", DIRECTIONS_FIRST)):
        first = next((word for word in order if any(getattr(each, name) == word for each in left)), None)
        if first is not None:
            left = [each for each in left if getattr(each, name) == first]
    return left


def measures_of(table: pd.DataFrame, languages: Sequence[str]) -> list[Measure]:
    """The measures in which some run was scored in all the languages, in the order of the table."""
    rows = table[table["language"].isin(languages)]
    whole = rows.groupby([*MEASURE, "run_id"], sort=False)["language"].nunique() == len(set(languages))
    return list(dict.fromkeys(Measure(*map(str, key[:4])) for key in whole.index[whole]))


def _names(languages: Sequence[str]) -> str:
    return some([language_name(code) for code in languages], CHOICES)


def _listed(measures: Sequence[Measure]) -> str:
    return some([" ".join(filter(None, each)) for each in measures], CHOICES)

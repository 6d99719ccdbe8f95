"""What a question about some languages means: which of the many measures, where the person who asks names few or none.

What is named counts. Of what is not, the protocol is the headline's (the sound one where there is one); translation
comes before classification and that before bits per byte, for it asks a model to write; a task is judged by its one
main metric, and translation into the language comes before translation out of it.
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
"""Measures named in an error."""


def languages_asked(table: pd.DataFrame, words: str) -> tuple[str, ...]:
    """The languages of `zul_Latn,xho_Latn`, every one of which somebody was scored in."""
    known = set(table["language"])
    asked = tuple(dict.fromkeys(filter(None, (word.strip() for word in words.split(",")))))
    if not asked:
        raise UserError("--for: name one language or several, as in --for zul_Latn,xho_Latn")
    for code in asked:
        if code in known:
            continue
        if code in registry():
            reason = f"no run was scored in {language_name(code)}"
        else:
            close = _near(code, known)
            reason = "no such language" + (f"; did you mean {' or '.join(close)}?" if close else "")
        raise UserError(f"--for {code}: {reason}; scored: {some(sorted(known, key=language_order), CHOICES)}")
    return asked


def _near(word: str, known: set[str]) -> list[str]:
    """Codes whose language is nearly so called: codes as wholes are alike by their scripts alone."""
    called = {code.partition("_")[0].lower(): code for code in known}
    called |= {language_name(code).lower(): code for code in known}
    close = difflib.get_close_matches(word.partition("_")[0].lower(), called, cutoff=0.6)
    return list(dict.fromkeys(called[name] for name in close))


def measure_asked(table: pd.DataFrame, languages: Sequence[str], **named: str | None) -> Measure:
    """The measure meant by task, metric, direction and protocol as far as they are named, scored in all languages."""
    shared = measures_of(table, languages)
    if not shared:
        raise UserError(f"--for {','.join(languages)}: no measure was scored in all of them; ask for fewer")
    for name, word in named.items():
        found = {getattr(each, name) for each in shared}
        if word is not None and word not in found:
            there = ", ".join(sorted(filter(None, found))) or "none"
            raise UserError(f"--{name} {word}: not scored in {_names(languages)}{nearest(word, found)}; there: {there}")
    asked = {name: word for name, word in named.items() if word is not None}
    fitting = [each for each in shared if all(getattr(each, name) == word for name, word in asked.items())]
    if not fitting:
        told = " ".join(f"--{name} {word}" for name, word in asked.items())
        raise UserError(f"{told}: not scored together in {_names(languages)}; there: {_listed(shared)}")
    if "metric" not in asked:
        fitting = [each for each in fitting if each.metric not in MIXING] or fitting
    if "protocol" not in asked:
        headline = headline_protocols(table)
        fitting = [each for each in fitting if each.protocol == headline[each.task]] or fitting
    fitting = preferred(fitting)
    if len(fitting) > 1:
        raise UserError(f"several measures fit; name one by --task, --metric or --direction: {_listed(fitting)}")
    return fitting[0]


def preferred(found: Sequence[Measure]) -> list[Measure]:
    """Those that come first by task, metric and direction; several only where no rule tells which."""
    left = list(found)
    for name, order in (("task", TASKS_FIRST), ("metric", METRICS_FIRST), ("direction", DIRECTIONS_FIRST)):
        first = next((word for word in order if any(getattr(each, name) == word for each in left)), None)
        if first is not None:
            left = [each for each in left if getattr(each, name) == first]
    return left


def measures_of(table: pd.DataFrame, languages: Sequence[str]) -> list[Measure]:
    """Every measure that somebody was scored in, in all the languages, in the order of the table."""
    rows = table[table["language"].isin(languages)]
    whole = rows.groupby([*MEASURE, "run_id"], sort=False)["language"].nunique() == len(set(languages))
    return list(dict.fromkeys(Measure(*map(str, key[:4])) for key in whole.index[whole]))


def _names(languages: Sequence[str]) -> str:
    return some([language_name(code) for code in languages], CHOICES)


def _listed(found: Sequence[Measure]) -> str:
    return some([" ".join(filter(None, each)) for each in found], CHOICES)

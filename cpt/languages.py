"""The one registry of languages: what a code is called, how it is written, and what it is kin to.

To add a language, add a row to `languages.csv` (see docs/adding.md); nothing else names languages in code.
`related_to` lists the trained languages a language stands in for as an unseen relative, so the evaluated
relatives of any set of trained languages follow from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cpt.errors import UserError, nearest

ENGLISH = "eng_Latn"
UNSPACED_SCRIPTS = frozenset({"Hans", "Hant", "Thai", "Laoo", "Khmr", "Mymr"})
"""Scripts written without spaces between words."""


@dataclass(frozen=True)
class Language:
    code: str
    name: str
    script: str
    family: str
    branch: str
    resource: str
    """high, mid or low, as the study classes it."""
    madlad: str
    """Code in MADLAD-400, empty for languages the study does not train on."""
    trained_in: tuple[str, ...]
    """Categories of the study whose runs train on it."""
    related_to: tuple[str, ...]

    @property
    def related_in(self) -> tuple[str, ...]:
        """Categories of the study in which it is an evaluated, unseen relative."""
        kin = {category for code in self.related_to for category in language(code).trained_in}
        return tuple(sorted(kin - set(self.trained_in)))


@cache
def registry() -> dict[str, Language]:
    """All known languages by code, in the order of the file."""
    path = Path(__file__).with_name("languages.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["code"]: Language(
            **{key: row[key] for key in ("code", "name", "script", "family", "branch", "resource", "madlad")},
            trained_in=tuple(row["trained_in"].split()),
            related_to=tuple(row["related_to"].split()),
        )
        for row in rows
    }


def language(code: str) -> Language:
    """The language of a code; an unknown code is the user's error, answered with the nearest known one."""
    known = registry()
    if code not in known:
        hint = nearest(code, known)
        raise UserError(f"language '{code}' is not in the registry{hint} (docs/adding.md: how to add one)")
    return known[code]


def relatives(trained: Iterable[str]) -> list[str]:
    """The unseen languages evaluated beside a set of trained ones, in registry order."""
    chosen = set(trained)
    return [code for code, item in registry().items() if code not in chosen and chosen & set(item.related_to)]

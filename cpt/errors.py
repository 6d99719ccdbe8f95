"""The one exception a person is meant to read: it says where, what was found, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake outside the program: configuration, files, network, hardware. Shown without a traceback."""


def config_error(key: str, value: object, reason: str) -> UserError:
    """The house form of a configuration error: key, value, and what would be right."""
    return UserError(f"{key}={value}: {reason}")


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word closest to a mistaken one, or nothing when none is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few different names, and how many more there are."""
    found = list(dict.fromkeys(names))
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")

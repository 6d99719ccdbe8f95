"""Bitext formats: how parallel sentences become training documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpt.corpora.source import Doc
from cpt.languages import language


def tagged(pairs: Iterable[tuple[str, str]], source: str, target: str, per_document: int) -> Iterator[Doc]:
    """Documents of several sentence pairs, each sentence on a line behind the name of its language.

    The study did not publish its template; EMMA-500 Gen 2 joins 10 tagged pairs (arXiv 2506.00469).
    """
    tags = (language(source).name, language(target).name)
    parts: list[tuple[str, str]] = []
    for original, translation in pairs:
        parts += [("", f"[{tags[0]}]: "), (source, f"{original}\n")]
        parts += [("", f"[{tags[1]}]: "), (target, f"{translation}\n")]
        if len(parts) == 4 * per_document:
            yield Doc(tuple(parts))
            parts = []
    if parts:
        yield Doc(tuple(parts))

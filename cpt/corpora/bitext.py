"""Bitext formats: how parallel sentences become training documents.

The study did not publish its template; EMMA-500 Gen 2 joins 10 tagged pairs (arXiv 2506.00469), hence the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from cpt.corpora.document import Doc
from cpt.errors import config_error, nearest
from cpt.languages import language

FORMS = ("pair", "tagged", "interlinear")
DIRECTIONS = ("forward", "reverse", "both")


@dataclass(frozen=True)
class BitextFormat:
    """One way of writing sentence pairs as documents; every sentence is a line.

    Forms: `pair`, a sentence and its translation; `tagged`, `pairs_per_document` pairs, each line behind the name of
    its language; `interlinear`, the same without names (arXiv 2403.11430).

    Directions: `forward`, the source's sentence first; `reverse`, the target's; `both`, documents by turns forward
    and reverse, beginning with forward. Each pair is still used once, so amounts are those of one direction.
    """

    form: str = "tagged"
    direction: str = "forward"
    pairs_per_document: int = 10

    def __post_init__(self) -> None:
        for key, value, known in (("form", self.form, FORMS), ("direction", self.direction, DIRECTIONS)):
            if value not in known:
                raise config_error(key, value, f"a bitext format has one of {', '.join(known)}{nearest(value, known)}")
        if self.pairs_per_document < 1:
            raise config_error("pairs_per_document", self.pairs_per_document, "a document needs at least one pair")

    @property
    def size(self) -> int:
        """Pairs of a document; the last may have fewer."""
        return 1 if self.form == "pair" else self.pairs_per_document

    @property
    def fingerprint(self) -> str:
        """Differs exactly when documents do; part of the keys of prepared data, so it must never change."""
        return f"{self.form}-{self.size}" + ("" if self.direction == "forward" else f"-{self.direction}")

    def documents(self, pairs: Iterable[tuple[str, str]], source: str, target: str) -> Iterator[Doc]:
        left = iter(pairs)
        number = 0
        while taken := list(islice(left, self.size)):
            reverse = self.direction == "reverse" or (self.direction == "both" and number % 2 == 1)
            yield Doc(tuple(part for pair in taken for part in self._parts(pair, (source, target), reverse)))
            number += 1

    def _parts(self, pair: tuple[str, str], codes: tuple[str, str], reverse: bool) -> Iterator[tuple[str, str]]:
        sides = list(zip(codes, pair, strict=True))
        for code, sentence in reversed(sides) if reverse else sides:
            if self.form == "tagged":
                yield "", f"[{language(code).name}]: "
            yield code, f"{_one_line(sentence)}\n"


def _one_line(sentence: str) -> str:
    """Replace every kind of line end in a sentence by a space."""
    lines = sentence.splitlines()
    return sentence if lines == [sentence] else " ".join(line.strip() for line in lines if line.strip())

"""How summaries and translations are measured, by the words of all scripts.

The usual ROUGE splits at what is neither a-z nor a digit, which leaves nothing of most of the world's languages, and
at spaces, which Thai, Lao, Khmer, Burmese, Tibetan, Chinese and Japanese do without. So here a token is a word, or
in those scripts a character with its marks; ROUGE-L is F1 of the longest common subsequence of tokens in lower case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

ROUGE_SIGNATURE = "LCS F1|case:lower|tokens:words, characters in scripts without spaces|stemming:no"
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Words that the Unicode names of such scripts' characters begin with."""


@cache
def _kind(character: str) -> str:
    category = unicodedata.category(character)[0]
    if category == "M":
        return "mark"
    if category not in "LN":
        return "gap"
    return "alone" if unicodedata.name(character, "").startswith(UNSPACED) else "letter"


def tokens(text: str) -> list[str]:
    found: list[str] = []
    last = "gap"
    for character in text.lower():
        kind = _kind(character)
        if kind == "alone" or (kind == "letter" and last != "letter"):
            found.append(character)
        elif kind != "gap" and last != "gap":
            found[-1] += character
        last = last if kind == "mark" else kind
    return found


def rouge_l(reference: str, output: str) -> float:
    """F1 of the longest common subsequence; two texts without a token have nothing in common."""
    wanted, given = tokens(reference), tokens(output)
    common = _common(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if common else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the usual table at a time."""
    row = [0] * (len(b) + 1)
    for left in a:
        before = 0
        for index, right in enumerate(b, start=1):
            before, row[index] = row[index], before + 1 if left == right else max(row[index], row[index - 1])
    return row[-1]


@cache
def chrf_metric() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(word_order=2)


def chrf(pairs: Sequence[tuple[str, str]]) -> float:
    """chrF++ of a corpus, from pairs of reference and output."""
    references, outputs = zip(*pairs, strict=True)
    return float(chrf_metric().corpus_score(list(outputs), [list(references)]).score)


def summary(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    output = results[0].strip()
    return {"rouge_l": rouge_l(doc["summary"], output), "chrf++": (doc["summary"], output)}


def translation(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    return {"chrf++": (doc["target"], results[0].strip())}

"""Failures of translation outputs, measured independently of quality.

The study's first finding is that models trained on bilingual text answer in another language. Each metric is a share
of the outputs of a direction, or of their sentences:

wrong_language   outputs in another language than the target
wrong_sentences  sentences in another language, of all sentences: what outputs that change language half way show
wrong_script     outputs with many more letters in scripts the target is not written in than their references have
copied           outputs that are the source again
empty            outputs without a letter or digit
repeated         outputs that end in the same thing over and over

An empty output counts only there. A copied one is in the source's language, so it counts in `wrong_language` too, and a
repeated one may be in any language. Texts that are too short count neither in the numerator nor in the denominator of
the first three; without any text the share is 0. A repeated part is judged once.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from cpt.corpora.language_identifier import Identifier
from cpt.evals.metrics.bootstrap import ratio
from cpt.evals.metrics.measured import Measured
from cpt.evals.metrics.wrong_language import LanguageJudge, Pieces, Writing, identify_texts

MORE_FOREIGN = 0.3
"""Share of letters in foreign scripts beyond the reference's: more than a name or two."""
COPIED = 0.9
"""Similarity from which an output is a copy, unless the reference is as similar to the source."""
REPEATS = 4
REPEATED = 0.5
"""Least share of an output that its repeated end takes up."""
MIN_REPEATED = 20
"""Least characters of such an end: "ha ha ha ha" and 1,000,000 are too short."""
_GRAM = 3
_DIGIT = re.compile(r"\d")
_NO_LETTERS = re.compile(r"[\W_]+")


def measure_outputs(
    outputs: list[str], sources: list[str], references: list[str], target: str, identifier: Identifier | None
) -> list[Measured]:
    """All metrics of the outputs of one direction; those of language only with an identifier."""
    bare = [_bare(output) for output in outputs]
    ends = [repeated_end(text) for text in bare]
    once = [text[: end[0] + end[1]] if end else text for text, end in zip(bare, ends, strict=True)]
    writing = Writing.of(references, target)
    return [
        *([] if identifier is None else _of_language(once, sources, references, writing, identifier)),
        _wrong_script(once, references, writing),
        _measured(
            "copied",
            [[copied(*texts), 1] for texts in zip(once, sources, references, strict=True)],
            f"{COPIED:.0%} of character {_GRAM}-grams are the source's",
        ),
        _measured("empty", [[not text, 1] for text in bare], "no letter, no digit"),
        _measured(
            "repeated",
            [[end is not None, 1] for end in ends],
            f"{REPEATS} times or more, {REPEATED:.0%} of the output, {MIN_REPEATED} characters",
        ),
    ]


def _bare(output: str) -> str:
    """Without the partial character that a token limit may leave; empty without any letter or digit."""
    return output.strip().rstrip("\ufffd") if any(map(str.isalnum, output)) else ""


def repeated_end(text: str) -> tuple[int, int] | None:
    """Start and period of a repetition at the text's end, or None. Digits are equal, so that counting is a repetition.

    All but one of `REPEATS` repetitions also occur one period earlier, so the last earlier occurrence of that much of
    the end gives the period without trying lengths.
    """
    alike = _DIGIT.sub("0", text)
    least = max(MIN_REPEATED, math.ceil(REPEATED * len(alike)))
    tail = alike[-math.ceil(least * (REPEATS - 1) / REPEATS) :]
    start = alike.rfind(tail, 0, -1)
    if start < 0:
        return None
    period = len(alike) - len(tail) - start
    while start and alike[start - 1] == alike[start - 1 + period]:
        start -= 1
    return (start, period) if len(alike) - start >= max(least, REPEATS * period) else None


def copied(output: str, source: str, reference: str) -> bool:
    """Whether an output nearly equals its source, apart from case, spaces and punctuation, and should not."""
    return bool(output) and _likeness(output, source) >= COPIED > _likeness(reference, source)


def _likeness(left: str, right: str) -> float:
    """Dice similarity of character n-grams."""
    left, right = (f"  {_NO_LETTERS.sub('', text.casefold())}  " for text in (left, right))
    total = len(left) + len(right) - 2 * (_GRAM - 1)
    if 2 * min(len(left), len(right)) - 2 * (_GRAM - 1) < COPIED * total:
        return 0.0
    grams = [Counter(text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)) for text in (left, right)]
    return 2 * (grams[0] & grams[1]).total() / total


def _wrong_script(texts: list[str], references: list[str], writing: Writing) -> Measured:
    rows = [
        [writing.foreign(text) > writing.foreign(reference) + MORE_FOREIGN, 1] if writing.long_enough(text) else [0, 0]
        for text, reference in zip(texts, references, strict=True)
    ]
    return _measured("wrong_script", rows, f"letters of other scripts: over {MORE_FOREIGN:.0%} more than the reference")


def _of_language(
    texts: list[str], sources: list[str], references: list[str], writing: Writing, identifier: Identifier
) -> list[Measured]:
    """Signatures give the shares judged wrong among references (false alarms) and sources (hits), which do not depend
    on the outputs, so those of two models are equal."""
    cuts: dict[str, Callable[[str], Pieces]] = {"wrong_language": writing.whole, "wrong_sentences": writing.sentences}
    pieces = {name: [list(map(cut, kind)) for kind in (texts, references, sources)] for name, cut in cuts.items()}
    labels = identify_texts(
        identifier, (text for kinds in pieces.values() for kind in kinds for row in kind for text, _ in row)
    )
    measured = []
    for name, kinds in pieces.items():
        judge = LanguageJudge.calibrated(writing, [text for row in kinds[1] for text, _ in row], labels)
        rows, false, true = ([judge.row(item, labels) for item in kind] for kind in kinds)
        shares = [ratio(np.sum(np.array(known, np.float64), axis=0)) for known in (false, true)]
        description = (
            f"{identifier.fingerprint}, {judge.description()}; references {shares[0]:.1%}, sources {shares[1]:.1%}"
        )
        measured.append(_measured(name, rows, description))
    return measured


def _measured(metric: str, rows: Sequence[Sequence[float]], signature: str) -> Measured:
    return Measured(metric, np.array(rows, np.float64).reshape(-1, 2), ratio, signature)

"""What is wrong with the outputs of a translation, told without looking at how good they are.

The study's first finding is that models trained on bilingual text answer in another language. Each metric here is a
share of the outputs of a direction, or of the sentences within them:

wrong_language   outputs in another language than the target
wrong_sentences  sentences in another language, of all sentences: what outputs that change language half way show
wrong_script     outputs with many more letters in scripts the target is not written in than their references have
copied           outputs that are the source again
empty            outputs without a letter or digit
repeated         outputs that end in the same thing over and over

How they go together: an empty output is nothing else. A copied one is in the source's language, so it counts in
`wrong_language` too, and a repeated one may be in any language. What is too short to be judged counts in none of the
first three, neither above nor below the line, and the share is 0 where nothing can be judged. Repetitions are judged
once, so that they outvote nothing.
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
from cpt.evals.metrics.wrong_language import Judge, Pieces, Writing, found_in

MORE_FOREIGN = 0.3
"""Share of letters in other scripts beyond the reference's: more than a name or two."""
COPIED = 0.9
"""Likeness from which an output is its source; a reference that is as like it shows that nothing was to translate."""
REPEATS = 4
REPEATED = 0.5
"""Share of an output that its repeated end takes up at least."""
LEAST_REPEATED = 20
"""Characters of such an end at least: "ha ha ha ha" and 1,000,000 are none."""
_GRAM = 3
_DIGIT = re.compile(r"\d")
_NO_LETTERS = re.compile(r"[\W_]+")


def measure_outputs(
    outputs: list[str], sources: list[str], references: list[str], target: str, identifier: Identifier | None
) -> list[Measured]:
    """Every metric over the outputs of one direction; the two of language only where there is an identifier."""
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
            f"{REPEATS} times or more, {REPEATED:.0%} of the output, {LEAST_REPEATED} characters",
        ),
    ]


def _bare(output: str) -> str:
    """Nothing where there is no letter and no digit; and without the half character that a limit may leave."""
    return output.strip().rstrip("\ufffd") if any(map(str.isalnum, output)) else ""


def repeated_end(text: str) -> tuple[int, int] | None:
    """Where the text begins to repeat itself up to its end, and the length of what is repeated; else nothing.

    Digits are taken for alike, so that a count does not hide a repetition. Of `REPEATS` repetitions all but one stand
    there once more, one repetition before. So the last place where that much of the end stands once more tells how
    long a repetition is, without trying lengths.
    """
    alike = _DIGIT.sub("0", text)
    least = max(LEAST_REPEATED, math.ceil(REPEATED * len(alike)))
    tail = alike[-math.ceil(least * (REPEATS - 1) / REPEATS) :]
    start = alike.rfind(tail, 0, -1)
    if start < 0:
        return None
    period = len(alike) - len(tail) - start
    while start and alike[start - 1] == alike[start - 1 + period]:
        start -= 1
    return (start, period) if len(alike) - start >= max(least, REPEATS * period) else None


def copied(output: str, source: str, reference: str) -> bool:
    """Whether an output is its source but for case, spaces and punctuation, or very nearly, and should not be."""
    return bool(output) and _likeness(output, source) >= COPIED > _likeness(reference, source)


def _likeness(left: str, right: str) -> float:
    """Share of character n-grams that two texts have in common (Dice), 1 for texts with the same letters."""
    left, right = (f"  {_NO_LETTERS.sub('', text.casefold())}  " for text in (left, right))
    total = len(left) + len(right) - 2 * (_GRAM - 1)
    if 2 * min(len(left), len(right)) - 2 * (_GRAM - 1) < COPIED * total:
        return 0.0
    grams = [Counter(text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)) for text in (left, right)]
    return 2 * (grams[0] & grams[1]).total() / total


def _wrong_script(texts: list[str], references: list[str], writing: Writing) -> Measured:
    rows = [
        [writing.foreign(text) > writing.foreign(reference) + MORE_FOREIGN, 1] if writing.judged(text) else [0, 0]
        for text, reference in zip(texts, references, strict=True)
    ]
    return _measured("wrong_script", rows, f"letters of other scripts: over {MORE_FOREIGN:.0%} more than the reference")


def _of_language(
    texts: list[str], sources: list[str], references: list[str], writing: Writing, identifier: Identifier
) -> list[Measured]:
    """Signatures say how often texts are judged wrong among references, where that is false, and among sources, where
    it is true. They depend on no output, so those of two models are alike."""
    cuts: dict[str, Callable[[str], Pieces]] = {"wrong_language": writing.whole, "wrong_sentences": writing.sentences}
    pieces = {name: [list(map(cut, kind)) for kind in (texts, references, sources)] for name, cut in cuts.items()}
    found = found_in(
        identifier, (text for kinds in pieces.values() for kind in kinds for row in kind for text, _ in row)
    )
    measured = []
    for name, kinds in pieces.items():
        judge = Judge.taught(writing, [text for row in kinds[1] for text, _ in row], found)
        rows, false, true = ([judge.row(item, found) for item in kind] for kind in kinds)
        shares = [ratio(np.sum(np.array(known, np.float64), axis=0)) for known in (false, true)]
        told = f"{identifier.fingerprint}, {judge.told()}; references {shares[0]:.1%}, sources {shares[1]:.1%}"
        measured.append(_measured(name, rows, told))
    return measured


def _measured(metric: str, rows: Sequence[Sequence[float]], signature: str) -> Measured:
    return Measured(metric, np.array(rows, np.float64).reshape(-1, 2), ratio, signature)

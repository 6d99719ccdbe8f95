"""FLORES-200, translation to and from English (NLLB team 2022), read from `{dev,devtest}/<language>.{dev,devtest}`.

Protocol `paper`, as published: temperature 0.1, top-p 0.9, repetition penalty 1.2, at most 128 tokens, up to a line
break or the two characters `\\n`. The study sampled without a seed; here each sentence has its own, so that an
evaluation can be repeated.

Protocol `sound`: the same prompt and shots, greedy decoding up to the end of the line, and a limit of the source's
tokens times the largest ratio of target to source tokens in the dev split.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.evals.benchmark import Benchmark, Encode, Item, Question, Unit, register
from cpt.evals.metrics.measured import Measured, corpus_measured
from cpt.evals.metrics.outputs import measure_outputs
from cpt.evals.metrics.spbleu import at_hand, bleu
from cpt.evals.questions import Continuation
from cpt.evals.rows import EN_X, X_EN
from cpt.languages import ENGLISH, language

SHOT_SEED = 42


def read_sentences(path: Path) -> list[str]:
    """One sentence per line; only line feeds end a line."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text ({error.reason}); FLORES-200 is") from error
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


def prompt(names: tuple[str, str], shots: list[tuple[str, str]], source: str) -> str:
    """The study's prompt: three translated pairs, the task in words, and the sentence."""
    source_name, target_name = names
    examples = "".join(f"[{source_name}]: {left}\n[{target_name}]: {right}\n" for left, right in shots)
    task = f"Translate the following sentence from {source_name} to {target_name}"
    return f"{examples}{task}\n[{source_name}]: {source}\n[{target_name}]:"


def draw_shots(available: int, items: int, shots: int) -> list[list[int]]:
    """Indices into the dev split for each sentence, drawn as in the study; repeats are possible."""
    rng = random.Random(SHOT_SEED)
    result = []
    for _ in range(items):
        own = random.Random(rng.randint(0, 1000))
        result.append([own.randint(0, available - 1) for _ in range(shots)])
    return result


def length_limits(encode: Encode, sources: list[str], dev: list[tuple[str, str]]) -> list[int]:
    """Token limits: the source's length times the largest ratio in the dev split, and one token to end."""
    left, right = (encode([pair[side] for pair in dev]) for side in (0, 1))
    ratio = max(len(target) / max(len(source), 1) for source, target in zip(left, right, strict=True))
    return [math.ceil(len(ids) * ratio) + 1 for ids in encode(sources)]


def as_published(prompt: str, number: int) -> Continuation:
    return Continuation(prompt, tokens=128, stops=("\n", "\\n"), temperature=0.1, top_p=0.9, penalty=1.2, seed=number)


@register
class Flores200(Benchmark):
    name = paths_key = "flores200"
    protocols = ("paper", "sound")

    def units(self, languages: list[str]) -> list[Unit]:
        others = [code for code in languages if code != ENGLISH]
        return [
            Unit("flores200", code, direction, protocol)
            for protocol in self.config.protocol
            for direction in (EN_X, X_EN)
            for code in others
        ]

    def files(self, unit: Unit) -> list[Path]:
        return [
            self.folder / split / f"{code}.{split}" for code in (ENGLISH, unit.language) for split in ("dev", "devtest")
        ]

    def check(self, unit: Unit) -> None:
        read = {path: read_sentences(path) for path in self.files(unit)}
        if len(read[self.files(unit)[1]]) < 2:
            raise UserError(f"{self.files(unit)[1]}: fewer than 2 sentences; at least 2 are needed for a score")
        for path, sentences in read.items():
            if not all(sentences):
                raise UserError(f"{path}: line {sentences.index('') + 1} is empty; FLORES-200 has a sentence on each")
        paths = list(read)
        for english, other in ((paths[0], paths[2]), (paths[1], paths[3])):
            if len(read[english]) != len(read[other]):
                raise UserError(
                    f"{other}: {len(read[other]):,} lines, {english} has {len(read[english]):,}; line by line they "
                    "must say the same"
                )

    def prompt_fingerprint(self, unit: Unit) -> str:
        return " ".join(language(code).name for code in self._codes(unit))

    def scoring_fingerprint(self, unit: Unit) -> str:
        return (
            f"{at_hand(self.resources.spbleu_sha256)} {self.resources.identifier_key} sacrebleu {version('sacrebleu')}"
        )

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        self.check(unit)
        english_dev, english, other_dev, other = (read_sentences(path) for path in self.files(unit))
        dev, test = list(zip(english_dev, other_dev, strict=True)), list(zip(english, other, strict=True))
        if unit.direction == X_EN:
            dev, test = ([pair[::-1] for pair in pairs] for pairs in (dev, test))
        drawn = draw_shots(len(dev), len(test), self.config.shots)
        test = test[: self.config.items]
        names = tuple(language(code).name for code in self._codes(unit))
        prompts = [
            prompt((names[0], names[1]), [dev[index] for index in shots], source)
            for shots, (source, _) in zip(drawn, test, strict=False)
        ]
        if unit.protocol == "paper":
            requests = [as_published(text, number) for number, text in enumerate(prompts)]
        else:
            limits = length_limits(encode, [source for source, _ in test], dev)
            requests = [Continuation(text, limit) for text, limit in zip(prompts, limits, strict=True)]
        return [
            Question(request, {"source": source, "reference": reference})
            for request, (source, reference) in zip(requests, test, strict=True)
        ]

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        # The study scored outputs unchanged; `sound` strips spaces at both ends.
        outputs = [item.answer if unit.protocol == "paper" else item.answer.strip() for item in items]
        sources = [item.facts["source"] for item in items]
        references = [item.facts["reference"] for item in items]
        scores = [corpus_measured(name, metric, outputs, references) for name, metric in self._metrics()]
        return scores + measure_outputs(outputs, sources, references, self._codes(unit)[1], self.resources.identifier())

    def _codes(self, unit: Unit) -> tuple[str, str]:
        """Source and target language."""
        return (ENGLISH, unit.language) if unit.direction == EN_X else (unit.language, ENGLISH)

    def _metrics(self) -> list[tuple[str, Any]]:
        """chrF++, and spBLEU if its tokenizer model is available."""
        from sacrebleu.metrics.chrf import CHRF

        metrics: list[tuple[str, Any]] = [("chrf++", CHRF(word_order=2))]
        if at_hand(self.resources.spbleu_sha256):
            metrics.append(("spbleu", bleu(self.resources.spbleu_sha256)))
        return metrics

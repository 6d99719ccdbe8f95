"""FLORES-200, translation to and from English (NLLB team 2022), read from `{dev,devtest}/<language>.{dev,devtest}`.

Protocol `sound`: the study's prompt and shots, greedy decoding without penalty up to the end of the line, and a
limit from the source: its tokens times the largest ratio of target to source tokens seen in the dev split.
"""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpt.config import BenchmarkConfig
from cpt.errors import UserError
from cpt.evals.benchmark import Score, Unit
from cpt.evals.bootstrap import interval
from cpt.evals.rows import EN_X, X_EN
from cpt.languages import ENGLISH, UNSPACED_SCRIPTS, language

if TYPE_CHECKING:
    from cpt.evals.scorer import Scorer

SHOT_SEED = 42
PROTOCOLS = ("sound",)


def read_sentences(path: Path) -> list[str]:
    """One a line; only line feeds end one, for sentences may hold other separators."""
    return [line.strip() for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]


def prompt(names: tuple[str, str], shots: list[tuple[str, str]], source: str) -> str:
    """The study's prompt: three translated pairs, the task in words, and the sentence."""
    told = "".join(f"[{names[0]}]: {left}\n[{names[1]}]: {right}\n" for left, right in shots)
    return (
        f"{told}Translate the following sentence from {names[0]} to {names[1]}\n[{names[0]}]: {source}\n[{names[1]}]:"
    )


def draw_shots(available: int, items: int, shots: int) -> list[list[int]]:
    """Indices into the dev split for each sentence, as the study draws them; repeats are possible."""
    rng = random.Random(SHOT_SEED)
    result = []
    for _ in range(items):
        own = random.Random(rng.randint(0, 1000))
        result.append([own.randint(0, available - 1) for _ in range(shots)])
    return result


def length_limits(scorer: Scorer, sources: list[str], dev: list[tuple[str, str]]) -> list[int]:
    """Tokens a translation may take: the source's own times the largest ratio in the dev split, and one to end."""
    left = scorer.encode([pair[0] for pair in dev], special=False)
    right = scorer.encode([pair[1] for pair in dev], special=False)
    ratio = max(len(target) / max(len(source), 1) for source, target in zip(left, right, strict=True))
    return [math.ceil(len(ids) * ratio) + 1 for ids in scorer.encode(sources, special=False)]


class Flores200:
    def __init__(self, config: BenchmarkConfig, folder: Path, bootstrap: int) -> None:
        self.config, self.folder, self.bootstrap = config, folder, bootstrap

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

    def variant(self, unit: Unit) -> str:
        return bleu_tokenizer(ENGLISH if unit.direction == X_EN else unit.language)

    def score(self, unit: Unit, scorer: Scorer) -> list[Score]:
        english_dev, english, other_dev, other = (read_sentences(path) for path in self.files(unit))
        if len(english_dev) != len(other_dev) or len(english) != len(other):
            raise UserError(
                f"{self.folder}: {unit.language} and {ENGLISH} differ in number of lines; they must be parallel"
            )
        codes = (ENGLISH, unit.language) if unit.direction == EN_X else (unit.language, ENGLISH)
        to_english = unit.direction == X_EN
        dev = list(zip(other_dev, english_dev, strict=True) if to_english else zip(english_dev, other_dev, strict=True))
        sources, references = (other, english) if to_english else (english, other)
        drawn = draw_shots(len(dev), len(sources), self.config.shots)
        sources, references = sources[: self.config.items], references[: self.config.items]
        names = (language(codes[0]).name, language(codes[1]).name)
        prompts = [
            prompt(names, [dev[index] for index in shots], text) for shots, text in zip(drawn, sources, strict=False)
        ]
        limits = length_limits(scorer, sources, dev)
        outputs = [text.strip() for text in scorer.continuations(prompts, limits, self.config.batch)]
        return [self._corpus_score(metric, outputs, references) for metric in _metrics(codes[1])]

    def _corpus_score(self, named: tuple[str, Any], outputs: list[str], references: list[str]) -> Score:
        """A sacrebleu score with an interval: corpus statistics are sums over sentences, so they can be resampled."""
        name, metric = named
        statistics = np.array(metric._extract_corpus_statistics(outputs, [references]), dtype=np.float64)

        def score(sums: np.ndarray) -> float:
            return float(metric._compute_score_from_stats(sums.tolist()).score)

        low, high = interval(statistics, score, self.bootstrap)
        return Score(name, score(statistics.sum(axis=0)), len(outputs), low, high, str(metric.get_signature()))


def bleu_tokenizer(target: str) -> str:
    """sacrebleu's flores200 where its model file is there; else by script, for BLEU needs words or characters."""
    home = Path(os.environ.get("SACREBLEU", Path.home() / ".sacrebleu"))
    if (home / "models" / "flores200sacrebleuspm").exists():
        return "flores200"
    script = language(target).script
    return "zh" if script in ("Hans", "Hant") else "char" if script in UNSPACED_SCRIPTS else "13a"


def _metrics(target: str) -> list[tuple[str, Any]]:
    """chrF++, and BLEU, which is called spBLEU only when its tokenizer is flores200's."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    tokenizer = bleu_tokenizer(target)
    name = "spbleu" if tokenizer == "flores200" else "bleu"
    return [("chrf++", CHRF(word_order=2)), (name, BLEU(tokenize=tokenizer))]

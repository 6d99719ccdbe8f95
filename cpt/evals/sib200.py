"""SIB-200: topic classification, seven labels (Adelani et al. 2024). Files: `<language>/{train,test}.tsv`.

Protocol `sound`: the study's prompt without its trailing newline; the label whose whole text is most likely after
` is` wins, by the sum of its tokens' log-probabilities, the probability of the label itself, with no correction for
length. Shots are drawn as the study draws them, the same for every model.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpt.config import BenchmarkConfig
from cpt.errors import UserError
from cpt.evals.benchmark import Score, Unit
from cpt.evals.bootstrap import interval, ratio

if TYPE_CHECKING:
    import pandas as pd

    from cpt.evals.scorer import Scorer

LABELS = ["science/technology", "travel", "politics", "sports", "health", "entertainment", "geography"]
SHOT_SEED = 42
PROTOCOLS = ("sound",)


def read_split(path: Path) -> pd.DataFrame:
    """Columns category and text. Some released files quote fields that hold quotes; `NA` is a text like any other."""
    import pandas as pd

    table = pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str)
    if missing := {"index_id", "category", "text"} - set(table.columns):
        raise UserError(
            f"{path}: columns {', '.join(sorted(missing))} are missing; SIB-200 has index_id, category, text"
        )
    if unknown := set(table["category"]) - set(LABELS):
        raise UserError(f"{path}: category {sorted(unknown)[0]!r} is not one of the seven labels")
    return table


def prompt(shots: list[tuple[str, str]], text: str) -> str:
    """The study's prompt up to ` is`."""
    head = f"Topic Classification: {', '.join(LABELS)}.\n\n"
    told = "".join(f'The topic of the news "{shot}" is {label}\n' for shot, label in shots)
    return f'{head}{told}The topic of the news "{text}" is'


def draw_shots(train: pd.DataFrame, items: int, shots: int) -> list[list[tuple[str, str]]]:
    """For each test item its own shots: seeds drawn in order after one fixed seed, then a sample of the train split."""
    rng = random.Random(SHOT_SEED)
    seeds = [rng.randint(0, 1000) for _ in range(items)]
    drawn = [train.sample(n=shots, random_state=seed) for seed in seeds]
    return [list(zip(sample["text"], sample["category"], strict=True)) for sample in drawn]


class Sib200:
    def __init__(self, config: BenchmarkConfig, folder: Path, bootstrap: int) -> None:
        self.config, self.folder, self.bootstrap = config, folder, bootstrap

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit("sib200", language, "", protocol) for protocol in self.config.protocol for language in languages]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / unit.language / name for name in ("train.tsv", "test.tsv")]

    def variant(self, unit: Unit) -> str:
        return ""

    def score(self, unit: Unit, scorer: Scorer) -> list[Score]:
        train, test = (read_split(path) for path in self.files(unit))
        if self.config.shots > len(train):
            raise UserError(f"{self.files(unit)[0]}: {len(train)} rows, too few for {self.config.shots} shots")
        shots = draw_shots(train, len(test), self.config.shots)
        test = test[: self.config.items]
        prompts = [prompt(drawn, text) for drawn, text in zip(shots, test["text"], strict=False)]
        scores = scorer.labels(prompts, LABELS, stem="is", batch=self.config.batch)
        right = np.array([LABELS[int(best)] for best in scores.argmax(axis=1)]) == test["category"].to_numpy()
        statistics = np.stack([right.astype(float), np.ones(len(right))], axis=1)
        low, high = interval(statistics, ratio, self.bootstrap)
        return [Score("accuracy", float(right.mean()), len(right), low, high)]

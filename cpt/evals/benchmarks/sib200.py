"""SIB-200: topic classification, seven labels (Adelani et al. 2024). Files: `<language>/{train,test}.tsv`.

Protocol `paper`, as published: the prompt ends in a line break, and the logits of each label's last token are compared
there. Of equal logits, the alphabetically last label wins.

Protocol `sound`: the same prompt up to ` is`; the label with the highest log-likelihood wins, without a correction for
length. Both draw the same shots as the study, for every model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpt.errors import UserError
from cpt.evals.benchmark import Benchmark, Encode, Item, Question, Unit, register
from cpt.evals.metrics.bootstrap import ratio
from cpt.evals.metrics.measured import Measured
from cpt.evals.questions import Choice, ModelRequest, NextToken

if TYPE_CHECKING:
    import pandas as pd

LABELS = ["science/technology", "travel", "politics", "sports", "health", "entertainment", "geography"]
SHOT_SEED = 42
COLUMNS = ("index_id", "category", "text")


def read_split(path: Path, protocol: str = "sound") -> pd.DataFrame:
    """A split as a table. Protocol `paper` reads `NA` as a missing value, as pandas does by default."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", keep_default_na=protocol == "paper", dtype=str)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: not a table of tab-separated UTF-8 text ({error})") from error
    if missing := set(COLUMNS) - set(table.columns):
        columns = ", ".join(map(str, table.columns))
        raise UserError(
            f"{path}: columns {', '.join(sorted(missing))} are missing (found {columns}); SIB-200 has index_id, "
            "category, text, separated by tabs"
        )
    incomplete = table[list(COLUMNS)].isna().any(axis=1) | (table["text"].str.strip() == "")
    if protocol != "paper" and incomplete.any():
        raise UserError(f"{path}: row {int(incomplete.argmax()) + 1}: one of {', '.join(COLUMNS)} is missing")
    if unknown := {str(label) for label in table["category"]} - set(LABELS):
        row = int((table["category"].astype(str) == min(unknown)).argmax()) + 1
        raise UserError(f"{path}: category {min(unknown)!r} of row {row} is not one of the seven labels")
    return table


def prompt(shots: list[tuple[str, str]], text: str) -> str:
    """The study's prompt up to ` is`."""
    head = f"Topic Classification: {', '.join(LABELS)}.\n\n"
    examples = "".join(f'The topic of the news "{shot}" is {label}\n' for shot, label in shots)
    return f'{head}{examples}The topic of the news "{text}" is'


def draw_shots(train: pd.DataFrame, items: int, shots: int) -> list[list[tuple[str, str]]]:
    """Shots for each test item: a sample of the train split by a seed of its own, drawn from one fixed seed."""
    rng = random.Random(SHOT_SEED)
    seeds = [rng.randint(0, 1000) for _ in range(items)]
    drawn = {seed: train.sample(n=shots, random_state=seed) for seed in set(seeds)}
    return [list(zip(drawn[seed]["text"], drawn[seed]["category"], strict=True)) for seed in seeds]


def question(protocol: str, shots: list[tuple[str, str]], text: str) -> ModelRequest:
    start = prompt(shots, text)
    endings = tuple(f" {label}" for label in LABELS)
    return NextToken(f"{start}\n", endings) if protocol == "paper" else Choice(start, endings)


def predicted(protocol: str, answer: list[float] | list[list[float]]) -> str:
    """The predicted label."""
    values = np.array(answer, dtype=np.float64)
    if protocol == "paper":
        return max(zip(values.tolist(), LABELS, strict=True))[1]
    return LABELS[int(values[:, 0].argmax())]


@register
class Sib200(Benchmark):
    name = paths_key = "sib200"
    protocols = ("paper", "sound")

    def units(self, languages: list[str]) -> list[Unit]:
        return [Unit("sib200", language, "", protocol) for protocol in self.config.protocol for language in languages]

    def files(self, unit: Unit) -> list[Path]:
        return [self.folder / unit.language / name for name in ("train.tsv", "test.tsv")]

    def check(self, unit: Unit) -> None:
        train, test = (read_split(path) for path in self.files(unit))
        if self.config.shots > len(train):
            raise UserError(f"{self.files(unit)[0]}: {len(train)} rows, too few for {self.config.shots} shots")
        if len(test) < 2:
            raise UserError(f"{self.files(unit)[1]}: {len(test)} rows; at least 2 are needed for a score")

    def prompt_fingerprint(self, unit: Unit) -> str:
        # In bf16, the batch size changes the last digits of logits, and the published protocol has ties.
        return f"batch {self.config.batch}" if unit.protocol == "paper" else ""

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        self.check(unit)
        train, test = (read_split(path, unit.protocol) for path in self.files(unit))
        shots = draw_shots(train, len(test), self.config.shots)
        return [
            Question(question(unit.protocol, drawn, text), {"id": index, "label": label})
            for drawn, index, text, label in zip(shots, test["index_id"], test["text"], test["category"], strict=True)
        ][: self.config.items]

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        right = [predicted(unit.protocol, item.answer) == item.facts["label"] for item in items]
        statistics = np.stack([np.array(right, dtype=float), np.ones(len(right))], axis=1)
        return [Measured("accuracy", statistics, ratio)]

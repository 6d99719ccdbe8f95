"""The result row: one score of one run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA = 2
"""Version of the row; raising it needs a migration step in cpt/results/rows/schema.py."""
ROLES = ("train", "related", "english", "code")
EN_X, X_EN = "en-x", "x-en"


@dataclass(frozen=True)
class Row:
    run: str
    """Readable name, for example L3-Bi+Code-Stag."""
    run_id: str
    """Name and 8 digits of the train key: unique in a study."""
    model: str
    data: str
    """mono, bi, or base for the untouched model."""
    code: bool
    langcat: str
    seed: int | None
    """None for a base model."""
    language: str
    role: str
    task: str
    direction: str
    protocol: str
    metric: str
    value: float
    n: int
    """Number of items: documents, questions, sentences."""
    ci_low: float
    ci_high: float
    signature: str = ""
    """How the value was computed, where the metric's name does not say enough."""
    schema: int = SCHEMA

    def record(self) -> dict[str, Any]:
        return asdict(self)


COLUMNS = tuple(field.name for field in fields(Row))
HIGHER_IS_BETTER = {
    "accuracy": True,
    "accuracy_norm": True,
    "exact_match": True,
    "exact_match_strict": True,
    "chrf++": True,
    "spbleu": True,
    "bleu": True,
    "rouge_l": True,
    "bits_per_byte": False,
    "wrong_language": False,
    "wrong_sentences": False,
    "wrong_script": False,
    "copied": False,
    "empty": False,
    "repeated": False,
}

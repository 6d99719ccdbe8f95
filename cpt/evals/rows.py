"""The result row: the one form in which every score of every run is kept and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA = 2
"""Version of a row's form. Raising it needs a migration step in cpt/results/rows/schema.py for older rows."""
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
    """None for a base model, which no seed of ours trained."""
    language: str
    role: str
    task: str
    direction: str
    protocol: str
    metric: str
    value: float
    n: int
    """Items the value is over: documents, questions, sentences."""
    ci_low: float
    ci_high: float
    signature: str = ""
    """How the value was computed, where a library says so, or where a metric's name says too little."""
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

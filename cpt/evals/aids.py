"""What scoring may need beside a benchmark's own files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cpt.corpora.language_identifier import Identifier


@dataclass(frozen=True)
class Aids:
    identifier: Callable[[], Identifier | None] = lambda: None
    """Names the language of an output; nothing where there is neither a model nor text to train a small one on."""
    identifier_key: str = ""
    """Changes when the identifier's answers may."""
    spbleu_sha256: str = ""
    """The sum that the tokenizer model of spBLEU must have."""

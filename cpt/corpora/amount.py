"""How much of a source must be at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BYTES_A_TOKEN = 4
"""A first guess at how much text is needed for so many tokens; what is missing is fetched after."""


@dataclass(frozen=True)
class Need:
    """An amount of a source; more is never wrong."""

    amount: float = math.inf
    unit: str = "words"
    """A unit of text, or `documents`."""

    def met(self, facts: dict[str, Any]) -> bool:
        have = facts["documents"] if self.unit == "documents" else sum(facts[self.unit].values())
        return bool(have >= self.amount)

    def of_text(self, times: int, records_a_document: int) -> Need:
        """The text to have ready before this can be made of it; more each time it was too little."""
        if self.unit == "tokens":
            return Need(self.amount * BYTES_A_TOKEN * times, "bytes")
        if self.unit == "documents":
            return Need(self.amount * records_a_document * times, "documents")
        return Need(self.amount * times, self.unit)

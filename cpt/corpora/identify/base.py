"""What a language identifier does, whoever made its model."""

from __future__ import annotations

from typing import Protocol


class Identifier(Protocol):
    """Picklable: every process that reads text has its own."""

    @property
    def fingerprint(self) -> str:
        """Changes when its answers may."""
        ...

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        """Of each text the likeliest language and the confidence in it, from 0 to 1.

        The language is a code of the registry where that knows it, else the model's own label.
        """
        ...

"""The kinds of questions that benchmarks put to a model, and the form of the answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """How likely is each ending behind the prompt? Endings carry the space or line break they begin with.

    Answer: `[[log-likelihood in nats, whether greedy decoding would give it], …]`, one pair an ending. What is
    scored are the tokens of prompt and ending together, behind as many tokens as the prompt alone has.
    """

    prompt: str
    endings: tuple[str, ...]


@dataclass(frozen=True)
class NextToken:
    """What are the logits of some tokens right behind the prompt? A word stands for the last token it is split into.

    Answer: `[logit, …]`, one a word.
    """

    prompt: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Likelihood:
    """How likely is a whole text? Answer: its negative log-likelihood in nats."""

    text: str


@dataclass(frozen=True)
class Continuation:
    """How does the model go on? Answer: the text up to the first stop, which is left out, or up to the limit."""

    prompt: str
    tokens: int
    """At most so many are generated."""
    stops: tuple[str, ...] = ("\n",)
    temperature: float = 0.0
    """0 is greedy decoding; else tokens are drawn, by numbers that `seed` decides."""
    top_p: float = 1.0
    penalty: float = 1.0
    """Repetition penalty: logits of tokens that are in the prompt or the output are divided by it when positive,
    multiplied by it when negative."""
    seed: int = 0
    """Of this question alone, so that its answer depends on no other question and no batch."""


ModelRequest = Choice | NextToken | Likelihood | Continuation
KINDS: dict[str, Any] = {
    "choice": Choice,
    "next_token": NextToken,
    "likelihood": Likelihood,
    "continuation": Continuation,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def as_record(request: ModelRequest) -> dict[str, Any]:
    """For JSON."""
    return {"kind": _NAMES[type(request)], **asdict(request)}


def from_record(record: dict[str, Any]) -> ModelRequest:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    kind = str(fields.pop("kind"))
    made: ModelRequest = KINDS[kind](**fields)
    return made

"""The kinds of requests to a model, and the form of the answers. Field names are stored on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """The log-likelihood of each ending after the prompt. Endings include their leading space or line break.

    Answer: `[[log-likelihood in nats, whether greedy decoding gives it], …]`, one pair per ending. Prompt and ending
    are tokenised together; the tokens after as many as the prompt alone has are scored.
    """

    prompt: str
    endings: tuple[str, ...]


@dataclass(frozen=True)
class NextToken:
    """The logits of some tokens right after the prompt; a word means its last token. Answer: `[logit, …]`."""

    prompt: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of a whole text. Answer: its negative log-likelihood in nats."""

    text: str


@dataclass(frozen=True)
class Continuation:
    """Generated text. Answer: the text before the first stop, or up to the limit."""

    prompt: str
    tokens: int
    """Most tokens to generate."""
    stops: tuple[str, ...] = ("\n",)
    temperature: float = 0.0
    """0 is greedy decoding; otherwise tokens are sampled by `seed`."""
    top_p: float = 1.0
    penalty: float = 1.0
    """Repetition penalty: divides positive logits of tokens in the prompt or output, and multiplies negative ones."""
    seed: int = 0
    """Of this request alone, so that the answer does not depend on other requests or batches."""


ModelRequest = Choice | NextToken | Likelihood | Continuation
KINDS: dict[str, Any] = {
    "choice": Choice,
    "next_token": NextToken,
    "likelihood": Likelihood,
    "continuation": Continuation,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def as_record(request: ModelRequest) -> dict[str, Any]:
    return {"kind": _NAMES[type(request)], **asdict(request)}


def from_record(record: dict[str, Any]) -> ModelRequest:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    kind = str(fields.pop("kind"))
    request: ModelRequest = KINDS[kind](**fields)
    return request

"""What benchmarks ask of a model, on torch: every kind of question, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cpt.evals.questions import Ask, Choice, Continuation, Likelihood, NextToken
from cpt.evals.scorers.choices import choices
from cpt.evals.scorers.continuations import Continuations
from cpt.evals.scorers.likelihoods import likelihoods, next_tokens
from cpt.evals.scorers.loaded_model import AskedModel, by_length


class Backend(Protocol):
    """Whatever can be asked."""

    def encode(self, texts: list[str], special: bool = True) -> list[list[int]]: ...

    def batches(self, asks: Sequence[Ask], size: int) -> list[list[int]]:
        """The questions by number, in batches that are asked together: the same whoever asks them."""
        ...

    def answer(self, asks: Sequence[Ask]) -> list[Any]:
        """Answers to one batch."""
        ...


class Scorer(AskedModel):
    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        super().__init__(model, tokenizer, device)
        self._answers: dict[type[Ask], Callable[[Any], list[Any]]] = {
            Choice: lambda asks: choices(self, asks),
            NextToken: lambda asks: next_tokens(self, asks),
            Likelihood: lambda asks: likelihoods(self, asks),
            Continuation: Continuations(self),
        }

    def batches(self, asks: Sequence[Ask], size: int) -> list[list[int]]:
        kinds: dict[object, list[int]] = {}
        for number, ask in enumerate(asks):
            kinds.setdefault(_alike(ask), []).append(number)
        found: list[list[int]] = []
        for numbers in kinds.values():
            lengths = [len(ids) for ids in self.encode([_text(asks[number]) for number in numbers])]
            found += [[numbers[place] for place in batch] for batch in by_length(lengths, size)]
        return found

    @torch.inference_mode()
    def answer(self, asks: Sequence[Ask]) -> list[Any]:
        return self._answers[type(asks[0])](asks)


def _alike(ask: Ask) -> object:
    """What questions of one batch have in common."""
    if isinstance(ask, Continuation):
        return Continuation, ask.temperature, ask.top_p, ask.penalty
    return type(ask)


def _text(ask: Ask) -> str:
    if isinstance(ask, Likelihood):
        return ask.text
    return ask.prompt + max(ask.endings, key=len) if isinstance(ask, Choice) else ask.prompt

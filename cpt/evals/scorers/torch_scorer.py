"""Answers requests with torch, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cpt.evals.questions import Choice, Continuation, Likelihood, ModelRequest, NextToken
from cpt.evals.scorers.continuations import Continuations
from cpt.evals.scorers.likelihoods import choices, likelihoods, next_tokens
from cpt.evals.scorers.loaded_model import LoadedModel, batches_by_length


class Backend(Protocol):
    """Answers requests with a model."""

    def encode(self, texts: list[str], special: bool = True) -> list[list[int]]: ...

    def batches(self, requests: Sequence[ModelRequest], size: int) -> list[list[int]]:
        """Indices of the requests in batches, which depend on the requests alone."""
        ...

    def answer(self, requests: Sequence[ModelRequest]) -> list[Any]:
        """Answers to one batch."""
        ...


class Scorer(LoadedModel):
    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        super().__init__(model, tokenizer, device)
        self._answers: dict[type[ModelRequest], Callable[[Any], list[Any]]] = {
            Choice: lambda requests: choices(self, requests),
            NextToken: lambda requests: next_tokens(self, requests),
            Likelihood: lambda requests: likelihoods(self, requests),
            Continuation: Continuations(self),
        }

    def batches(self, requests: Sequence[ModelRequest], size: int) -> list[list[int]]:
        kinds: dict[object, list[int]] = {}
        for number, request in enumerate(requests):
            kinds.setdefault(_batch_key(request), []).append(number)
        batches: list[list[int]] = []
        for numbers in kinds.values():
            lengths = [len(ids) for ids in self.encode([_text(requests[number]) for number in numbers])]
            batches += [[numbers[index] for index in batch] for batch in batches_by_length(lengths, size)]
        return batches

    @torch.inference_mode()
    def answer(self, requests: Sequence[ModelRequest]) -> list[Any]:
        return self._answers[type(requests[0])](requests)


def _batch_key(request: ModelRequest) -> object:
    """Requests in one batch have the same key."""
    if isinstance(request, Continuation):
        return Continuation, request.temperature, request.top_p, request.penalty
    return type(request)


def _text(request: ModelRequest) -> str:
    if isinstance(request, Likelihood):
        return request.text
    return request.prompt + max(request.endings, key=len) if isinstance(request, Choice) else request.prompt

"""Scores with vLLM: the same questions as those of `torch_scorer.Scorer`, to the token, by a faster engine.

What vLLM is given and what is read from its outputs are functions of their own here, apart from the engine. Prompts
are token ids of our own encoding, outputs are decoded by our own tokenizer. What may differ from torch: rounding;
drawn tokens, for vLLM has random numbers of its own; answers to `NextToken`, which are log-probabilities, logits up
to one number for all words, so that their order and differences are those of the logits; and a `NextToken` prompt
that fills the whole context, which loses one token, for vLLM always keeps room for an output.

Names and meanings are those of vLLM 0.33.0: vllm/entrypoints/llm.py, vllm/sampling_params.py, vllm/outputs.py.
The oldest that has them all, and takes transformers 5, is 0.20.0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig, PreTrainedTokenizerFast

from cpt.errors import UserError
from cpt.evals.questions import Choice, Continuation, Likelihood, ModelRequest, NextToken
from cpt.evals.scorers.likelihoods import last_token_of, likelihood_windows, trees
from cpt.evals.scorers.loaded_model import PromptEncoder, until_stop

BATCHES_AT_ONCE = 64
"""Batches of torch's size per call, because vLLM schedules requests itself."""
STEP_TOKENS = 2048
"""The most that one step of the engine reads. By default it may be 16384, and where the prompt's tokens are scored
vLLM's older runner makes float32 logits over the whole vocabulary of all that a step reads of a prompt
(vllm/v1/worker/gpu_model_runner.py), beside the memory that it has taken its share of."""
NAMED_TOKENS = 128
"""The most tokens for which one request may request log-probabilities (vllm/sampling_params.py)."""


@dataclass(frozen=True)
class VllmRequest:
    """A prompt, and the keywords of its vllm.SamplingParams."""

    ids: list[int]
    sampling: dict[str, Any]


Read = Callable[[Sequence[Any]], list[Any]]
"""From the vllm.RequestOutput of each request, in their order, to the answer to each question."""


@dataclass(frozen=True)
class TokenSpan:
    """Tokens of which those from `first` on are to be scored, given all before them."""

    ids: list[int]
    first: int

    @property
    def empty(self) -> bool:
        return self.first >= len(self.ids)

    def request(self) -> VllmRequest:
        """The last token is no part of the prompt: its score is that of what comes next, by name.

        So a span may fill the model's context although vLLM keeps room for an output; and where only one token is
        scored, no scores of the prompt are requested, which would make vLLM compute the whole prompt again.
        """
        # With the likeliest token beside each, a tie has one winner: ranks alone count all that are as likely.
        prompt = {"prompt_logprobs": 1} if self.first < len(self.ids) - 1 else {}
        return VllmRequest(self.ids[:-1], _named([self.ids[-1]]) | prompt)

    def read(self, output: Any) -> tuple[float, bool]:
        """Log-likelihood in nats, and whether greedy decoding would give these tokens."""
        [requested] = output.outputs
        scores = [output.prompt_logprobs[i][self.ids[i]] for i in range(self.first, len(self.ids) - 1)]
        last = self.ids[-1]
        greedy = all(score.rank == 1 for score in scores) and requested.token_ids[0] == last
        return sum(score.logprob for score in scores) + requested.logprobs[0][last].logprob, greedy


def _named(tokens: list[int]) -> dict[str, Any]:
    """The log-probabilities of some tokens right behind the prompt, and which token is likeliest there."""
    return {
        "temperature": 0.0,
        "max_tokens": 1,
        "logprob_token_ids": tokens,
        "logprobs": len(tokens),  # older versions return nothing without it; it must be their number
        "detokenize": False,
        "flat_logprobs": True,
    }


def vllm_requests(encoder: PromptEncoder, requests: Sequence[ModelRequest]) -> tuple[list[VllmRequest], Read]:
    """The vLLM request for questions of one kind, and how its outputs are read."""
    kinds: dict[type[ModelRequest], Callable[[PromptEncoder, Any], tuple[list[VllmRequest], Read]]] = {
        Choice: _choices,
        NextToken: _next_tokens,
        Likelihood: _likelihoods,
        Continuation: _continuations,
    }
    return kinds[type(requests[0])](encoder, requests)


def _choices(encoder: PromptEncoder, requests: Sequence[Choice]) -> tuple[list[VllmRequest], Read]:
    results: list[list[TokenSpan]] = []
    for tree in trees(encoder, requests):
        trunk = encoder.truncated(tree.trunk, encoder.context - max(map(len, tree.branches), default=0))
        branches = zip(tree.branches, tree.unscored, strict=True)
        results.append([TokenSpan(trunk + branch, len(trunk) + unscored) for branch, unscored in branches])

    def read(outputs: Sequence[Any]) -> list[Any]:
        each = iter(outputs)
        return [[[0.0, True] if span.empty else list(span.read(next(each))) for span in spans] for spans in results]

    return [span.request() for spans in results for span in spans if not span.empty], read


def _likelihoods(encoder: PromptEncoder, requests: Sequence[Likelihood]) -> tuple[list[VllmRequest], Read]:
    spans = [(number, TokenSpan(window, 1)) for number, window in likelihood_windows(encoder, requests)]

    def read(outputs: Sequence[Any]) -> list[Any]:
        totals = [0.0] * len(requests)
        for (number, span), output in zip(spans, outputs, strict=True):
            totals[number] -= span.read(output)[0]
        return totals

    return [span.request() for _, span in spans], read


def _next_tokens(encoder: PromptEncoder, requests: Sequence[NextToken]) -> tuple[list[VllmRequest], Read]:
    last = last_token_of(encoder, requests)
    prompts = [
        encoder.truncated(ids, encoder.context - 1) for ids in encoder.prompts([request.prompt for request in requests])
    ]

    def read(outputs: Sequence[Any]) -> list[Any]:
        results = [output.outputs[0].logprobs[0] for output in outputs]
        return [
            [scores[last[word]].logprob for word in request.words]
            for request, scores in zip(requests, results, strict=True)
        ]

    tokens = [sorted({last[word] for word in request.words}) for request in requests]
    return [VllmRequest(prompt, _named(named)) for prompt, named in zip(prompts, tokens, strict=True)], read


def _continuations(encoder: PromptEncoder, requests: Sequence[Continuation]) -> tuple[list[VllmRequest], Read]:
    """End-of-text tokens of the model's generation settings end an output too; vLLM reads these by itself."""
    limits = [min(request.tokens, encoder.context // 2) for request in requests]
    encoded = encoder.prompts([request.prompt for request in requests])
    requested = [
        VllmRequest(encoder.truncated(ids, encoder.context - limit), _decoding(request, limit))
        for request, ids, limit in zip(requests, encoded, limits, strict=True)
    ]

    def read(outputs: Sequence[Any]) -> list[Any]:
        # From the tokens, not from vLLM's text, so that they are decoded as torch's are. They end with those of a stop.
        results = [encoder.text(list(output.outputs[0].token_ids)) for output in outputs]
        return [until_stop(request.stops, answer) for request, answer in zip(requests, results, strict=True)]

    return requested, read


def _decoding(request: Continuation, limit: int) -> dict[str, Any]:
    return {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "repetition_penalty": request.penalty,
        "max_tokens": limit,
        "stop": list(request.stops),
        "seed": request.seed % 2**63,  # stored as int64 (vllm/v1/worker/gpu/sample/states.py)
    }


def batches(requests: Sequence[ModelRequest], size: int) -> list[list[int]]:
    """The questions by number, each batch of one kind, in their order."""
    kinds: dict[type[ModelRequest], list[int]] = {}
    for number, request in enumerate(requests):
        kinds.setdefault(type(request), []).append(number)
    many = BATCHES_AT_ONCE * size
    return [numbers[first : first + many] for numbers in kinds.values() for first in range(0, len(numbers), many)]


def vllm_module() -> Any:
    """vLLM if it is installed and has a device; checked before anything is loaded."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # do not send usage statistics
    try:
        vllm, platforms = import_module("vllm"), import_module("vllm.platforms")
    except ImportError as error:
        raise UserError(
            f"evaluating by vLLM needs the package vllm, and here: {error}. `pip install cpt-study[vllm]`, in an "
            "environment of its own on a machine with CUDA or ROCm GPUs, for each vllm wants a torch of its own; or "
            "evaluate by torch, which needs nothing more"
        ) from error
    if platforms.current_platform.is_unspecified():
        raise UserError(
            "evaluating by vLLM needs a GPU that the installed vllm was built for, and it finds none on this machine; "
            "start this on a machine with one, install the vllm for the GPU that is here, or evaluate by torch"
        )
    return vllm


class VllmScorer(PromptEncoder):
    """A model in vLLM's hands."""

    def __init__(
        self,
        model: str,
        tokenizer: PreTrainedTokenizerFast,
        *,
        revision: str | None,
        dtype: str,
        memory_share: float = 0.9,
        seed: int = 0,
    ) -> None:
        self._vllm = vllm_module()
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
        super().__init__(tokenizer, int(config.max_position_embeddings))
        # The engine looks for stops in text that it decodes by itself: by the same tokenizer, wherever that is from.
        self._folder = TemporaryDirectory(prefix="cpt-vllm-")
        tokenizer.save_pretrained(self._folder.name)
        config.save_pretrained(self._folder.name)  # it looks for one beside a tokenizer
        self._engine = self._vllm.LLM(
            model,
            tokenizer=self._folder.name,
            tokenizer_mode="hf",
            revision=revision,
            trust_remote_code=False,
            dtype=dtype,
            seed=seed,
            gpu_memory_utilization=memory_share,
            max_model_len=self.context,
            max_num_batched_tokens=STEP_TOKENS,
            max_logprobs=NAMED_TOKENS,
            enable_prefix_caching=True,
        )

    def batches(self, requests: Sequence[ModelRequest], size: int) -> list[list[int]]:
        return batches(requests, size)

    def answer(self, requests: Sequence[ModelRequest]) -> list[Any]:
        """Answers to questions of one kind."""
        requested, read = vllm_requests(self, requests)
        prompts = [{"prompt_token_ids": request.ids} for request in requested]
        sampling = [self._vllm.SamplingParams(**request.sampling) for request in requested]
        return read(self._engine.generate(prompts, sampling, use_tqdm=False) if requested else [])

"""Generation: greedy or sampled, with or without a repetition penalty, up to a stop or a limit.

Penalty, temperature and top-p are applied in vLLM's order and meaning, with which the study decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cpt.evals.questions import Continuation
from cpt.evals.scorers.loaded_model import LoadedModel, Prefix, preallocated_cache, until_stop

TAIL = 64
"""Last characters of the generated text that are searched for a stop."""


class Continuations:
    """Decodes batches of prompts; finished rows leave the batch."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded

    @cached_property
    def _pieces(self) -> list[str]:
        """The text that each token adds."""
        anchor, tokens = self.loaded.anchor, range(len(self.loaded.tokenizer))
        before, *texts = self.loaded.tokenizer.batch_decode(
            [anchor, *([*anchor, token] for token in tokens)], clean_up_tokenization_spaces=False
        )
        return [text[len(before) :] for text in texts]

    def __call__(self, requests: Sequence[Continuation]) -> list[str]:
        room = [min(request.tokens, self.loaded.context // 2) for request in requests]
        prompts = [
            self.loaded.truncated(ids, self.loaded.context - limit)
            for ids, limit in zip(self.loaded.prompts([request.prompt for request in requests]), room, strict=True)
        ]
        rows = [_Row(request, prompt, limit) for request, prompt, limit in zip(requests, prompts, room, strict=True)]
        self._decode(rows, self.loaded.shared_prefix(prompts))
        return [until_stop(row.request.stops, self.loaded.text(row.made)) for row in rows]

    def _decode(self, rows: list[_Row], prefix: Prefix) -> None:
        loaded = self.loaded
        ids = loaded.padded([row.prompt[prefix.length :] for row in rows], left=True)
        lengths = torch.tensor([len(row.prompt) for row in rows], device=loaded.device)
        real = torch.arange(ids.shape[1], device=loaded.device) >= ids.shape[1] + prefix.length - lengths[:, None]
        mask = torch.cat([real.new_ones(len(rows), prefix.length), real], dim=1)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, prefix.length :]
        cache = prefix.cache or preallocated_cache()
        sampler = _Sampler(loaded, rows)
        while rows:
            logits = loaded.model(
                input_ids=ids,
                attention_mask=mask.long(),
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            token = sampler(logits)
            keep = [
                i
                for i, (row, value) in enumerate(zip(rows, token.tolist(), strict=True))
                if self._continues(row, value)
            ]
            if not keep:
                return
            if len(keep) < len(rows):
                remaining = torch.tensor(keep, device=loaded.device)
                cache.batch_select_indices(remaining)
                rows, token, mask, lengths = (
                    [rows[i] for i in keep],
                    token[remaining],
                    mask[remaining],
                    lengths[remaining],
                )
                sampler.keep(remaining)
            ids, positions, lengths = token[:, None], lengths[:, None], lengths + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)

    def _continues(self, row: _Row, token: int) -> bool:
        """Add a token to a row; whether the row continues."""
        if token in self.loaded.ends:
            return False
        row.made.append(token)
        if len(row.made) >= row.limit:
            return False
        row.tail = (row.tail + self._pieces[token] if token < len(self._pieces) else row.tail)[-TAIL:]
        # The pieces are approximate: only decoding all tokens together gives the exact text.
        if any(stop in row.tail for stop in row.request.stops) or "\N{REPLACEMENT CHARACTER}" in row.tail[-4:]:
            return not any(stop in self.loaded.text(row.made) for stop in row.request.stops)
        return True


class _Row:
    def __init__(self, request: Continuation, prompt: list[int], limit: int) -> None:
        self.request, self.prompt, self.limit = request, prompt, limit
        self.made: list[int] = []
        self.tail = ""


class _Sampler:
    """Chooses the next token of every row, with random numbers of its own for each row."""

    def __init__(self, loaded: LoadedModel, rows: list[_Row]) -> None:
        first = rows[0].request
        if any((r.request.temperature, r.request.top_p) != (first.temperature, first.top_p) for r in rows):
            raise AssertionError("a batch is decoded in one way")
        self.temperature, self.top_p, self.penalty = first.temperature, first.top_p, first.penalty
        self.step = 0
        if self.penalty != 1:
            size = loaded.model.config.vocab_size
            self.seen = torch.zeros(len(rows), size, dtype=torch.bool, device=loaded.device)
            for number, row in enumerate(rows):
                self.seen[number, torch.tensor(row.prompt, device=loaded.device)] = True
        if self.temperature:
            longest = max(row.limit for row in rows)
            numbers = np.stack([np.random.default_rng(row.request.seed).random(longest) for row in rows])
            self.draws = torch.from_numpy(numbers).to(loaded.device)

    def keep(self, rows: Tensor) -> None:
        if self.penalty != 1:
            self.seen = self.seen[rows]
        if self.temperature:
            self.draws = self.draws[rows]

    def __call__(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        if self.penalty != 1:
            penalised = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
            logits = torch.where(self.seen, penalised, logits)
        token = (
            sample(logits / self.temperature, self.top_p, self.draws[:, self.step])
            if self.temperature
            else logits.argmax(dim=-1)
        )
        if self.penalty != 1:
            self.seen.scatter_(1, token[:, None], True)
        self.step += 1
        return token


def sample(logits: Tensor, top_p: float, numbers: Tensor) -> Tensor:
    """Top-p sampling of one token per row, by a uniform random number each."""
    probabilities, order = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
    below = probabilities.cumsum(dim=-1) - probabilities
    remaining = torch.where(below < top_p, probabilities, torch.zeros_like(probabilities)).double().cumsum(dim=-1)
    index = (remaining <= (numbers * remaining[:, -1])[:, None]).sum(dim=-1).clamp(max=remaining.shape[1] - 1)
    return order.gather(1, index[:, None])[:, 0]

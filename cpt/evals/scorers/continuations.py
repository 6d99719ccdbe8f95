"""How a model goes on: greedy or drawn, with or without a repetition penalty, up to a stop or a limit.

Penalty, temperature and top-p are applied in the order and the sense of vLLM, with which the study decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cpt.evals.questions import Continuation
from cpt.evals.scorers.key_value_cache import roomy_cache
from cpt.evals.scorers.loaded_model import AskedModel, Prefix
from cpt.evals.scorers.texts import up_to

TAIL = 64
"""Characters of what was generated that are looked at for a stop."""


class Continuations:
    """Decodes batches of prompts; rows leave a batch as they end."""

    def __init__(self, asked: AskedModel) -> None:
        self.asked = asked

    @cached_property
    def _pieces(self) -> list[str]:
        """What each token adds to a text."""
        anchor, tokens = self.asked.anchor, range(len(self.asked.tokenizer))
        before, *texts = self.asked.tokenizer.batch_decode(
            [anchor, *([*anchor, token] for token in tokens)], clean_up_tokenization_spaces=False
        )
        return [text[len(before) :] for text in texts]

    def __call__(self, asks: Sequence[Continuation]) -> list[str]:
        room = [min(ask.tokens, self.asked.context // 2) for ask in asks]
        prompts = [
            self.asked.fitting(ids, self.asked.context - limit)
            for ids, limit in zip(self.asked.prompts([ask.prompt for ask in asks]), room, strict=True)
        ]
        rows = [_Row(ask, prompt, limit) for ask, prompt, limit in zip(asks, prompts, room, strict=True)]
        self._decode(rows, self.asked.shared(prompts))
        return [up_to(row.ask.stops, self.asked.text(row.made)) for row in rows]

    def _decode(self, rows: list[_Row], prefix: Prefix) -> None:
        asked = self.asked
        ids = asked.padded([row.prompt[prefix.length :] for row in rows], left=True)
        lengths = torch.tensor([len(row.prompt) for row in rows], device=asked.device)
        real = torch.arange(ids.shape[1], device=asked.device) >= ids.shape[1] + prefix.length - lengths[:, None]
        mask = torch.cat([real.new_ones(len(rows), prefix.length), real], dim=1)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, prefix.length :]
        cache = prefix.cache or roomy_cache()
        choose = _Choosing(asked, rows)
        while rows:
            logits = asked.model(
                input_ids=ids,
                attention_mask=mask.long(),
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            token = choose(logits)
            keep = [
                i for i, (row, value) in enumerate(zip(rows, token.tolist(), strict=True)) if self._goes_on(row, value)
            ]
            if not keep:
                return
            if len(keep) < len(rows):
                kept = torch.tensor(keep, device=asked.device)
                cache.batch_select_indices(kept)
                rows, token, mask, lengths = [rows[i] for i in keep], token[kept], mask[kept], lengths[kept]
                choose.keep(kept)
            ids, positions, lengths = token[:, None], lengths[:, None], lengths + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)

    def _goes_on(self, row: _Row, token: int) -> bool:
        """Take a token; whether another is wanted behind it."""
        if token in self.asked.ends:
            return False
        row.made.append(token)
        if len(row.made) >= row.limit:
            return False
        row.tail = (row.tail + self._pieces[token] if token < len(self._pieces) else row.tail)[-TAIL:]
        # Pieces are what tokens add elsewhere; what they add here is only known when all are decoded together.
        if any(stop in row.tail for stop in row.ask.stops) or "\N{REPLACEMENT CHARACTER}" in row.tail[-4:]:
            return not any(stop in self.asked.text(row.made) for stop in row.ask.stops)
        return True


class _Row:
    def __init__(self, ask: Continuation, prompt: list[int], limit: int) -> None:
        self.ask, self.prompt, self.limit = ask, prompt, limit
        self.made: list[int] = []
        self.tail = ""


class _Choosing:
    """The next token of every row; its random numbers are each row's own."""

    def __init__(self, asked: AskedModel, rows: list[_Row]) -> None:
        first = rows[0].ask
        if any((r.ask.temperature, r.ask.top_p) != (first.temperature, first.top_p) for r in rows):
            raise AssertionError("a batch is decoded in one way")
        self.temperature, self.top_p, self.penalty = first.temperature, first.top_p, first.penalty
        self.step = 0
        if self.penalty != 1:
            size = asked.model.config.vocab_size
            self.seen = torch.zeros(len(rows), size, dtype=torch.bool, device=asked.device)
            for number, row in enumerate(rows):
                self.seen[number, torch.tensor(row.prompt, device=asked.device)] = True
        if self.temperature:
            longest = max(row.limit for row in rows)
            numbers = np.stack([np.random.default_rng(row.ask.seed).random(longest) for row in rows])
            self.draws = torch.from_numpy(numbers).to(asked.device)

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
            drawn(logits / self.temperature, self.top_p, self.draws[:, self.step])
            if self.temperature
            else logits.argmax(dim=-1)
        )
        if self.penalty != 1:
            self.seen.scatter_(1, token[:, None], True)
        self.step += 1
        return token


def drawn(logits: Tensor, top_p: float, numbers: Tensor) -> Tensor:
    """A token a row, drawn among the likeliest that together have at least `top_p`, by a number from 0 to 1 each."""
    probabilities, order = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
    below = probabilities.cumsum(dim=-1) - probabilities
    kept = torch.where(below < top_p, probabilities, torch.zeros_like(probabilities)).double().cumsum(dim=-1)
    place = (kept <= (numbers * kept[:, -1])[:, None]).sum(dim=-1).clamp(max=kept.shape[1] - 1)
    return order.gather(1, place[:, None])[:, 0]

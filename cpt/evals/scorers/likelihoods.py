"""How likely whole texts are, and which token is likely to come next."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cpt.evals.questions import Likelihood, NextToken
from cpt.evals.scorers.loaded_model import AskedModel, by_length
from cpt.evals.scorers.texts import Texts

WINDOW = 1024
"""Tokens of a text read at once for its likelihood: the same for every model, whatever its context."""
TOKENS_AT_ONCE = 8192
"""Of windows read together: a thousand have logits of half a GB in float32, over the vocabulary of Llama 3."""


def likelihoods(asked: AskedModel, asks: Sequence[Likelihood]) -> list[float]:
    """Negative log-likelihood of each whole text. Long texts are read in consecutive windows."""
    found = windows(asked, asks)
    totals = [0.0] * len(asks)
    lengths = [len(window) for _, window in found]
    at_once = max(min(len(asks), TOKENS_AT_ONCE // max(lengths, default=1)), 1)
    for batch in by_length(lengths, at_once):
        rows = [found[number] for number in batch]
        ids = asked.padded([window for _, window in rows], left=False)
        logits = asked.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        wanted = torch.tensor([len(window) - 1 for _, window in rows], device=asked.device)
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        real = torch.arange(losses.shape[1], device=asked.device) < wanted[:, None]
        for (index, _), value in zip(rows, (losses * real).double().sum(dim=1).tolist(), strict=True):
            totals[index] += value
    return totals


def windows(texts: Texts, asks: Sequence[Likelihood]) -> list[tuple[int, list[int]]]:
    """The stretches that texts are read in, each behind a start, and the number of the text each is of."""
    size = min(texts.context, WINDOW) - 1
    return [
        (number, [texts.start, *ids[first : first + size]])
        for number, ids in enumerate(texts.encode([ask.text for ask in asks], special=False))
        for first in range(0, len(ids), size)
    ]


def last_tokens(texts: Texts, asks: Sequence[NextToken]) -> dict[str, int]:
    """The token that stands for each word: the last of those it is split into."""
    words = sorted({word for ask in asks for word in ask.words})
    return {word: ids[-1] for word, ids in zip(words, texts.encode(words, special=False), strict=True)}


def next_tokens(asked: AskedModel, asks: Sequence[NextToken]) -> list[list[float]]:
    """The logits, as the model gives them, of each word's last token right behind each prompt."""
    last = last_tokens(asked, asks)
    prompts = [asked.fitting(ids, asked.context) for ids in asked.prompts([ask.prompt for ask in asks])]
    prefix = asked.shared(prompts)
    ids = asked.padded([prompt[prefix.length :] for prompt in prompts], left=True)
    lengths = torch.tensor([len(prompt) - prefix.length for prompt in prompts], device=asked.device)
    real = torch.arange(ids.shape[1], device=asked.device) >= ids.shape[1] - lengths[:, None]
    seen = torch.cat([real.new_ones(len(prompts), prefix.length), real], dim=1).long()
    logits = asked.model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=(seen.cumsum(dim=1) - 1).clamp(min=0)[:, prefix.length :],
        past_key_values=prefix.cache,
        use_cache=prefix.cache is not None,
        logits_to_keep=1,
    ).logits[:, -1]
    rows = logits.float().cpu()
    return [[float(row[last[word]]) for word in ask.words] for row, ask in zip(rows, asks, strict=True)]

"""Log-likelihoods: of whole texts, of the next token, and of the endings of a prompt, all in one pass as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cpt.evals.questions import Choice, Likelihood, NextToken
from cpt.evals.scorers.loaded_model import LoadedModel, PromptEncoder, batches_by_length, common_length

WINDOW = 1024
"""Window of tokens for the likelihood of a text: the same for every model, whatever its context."""
TOKENS_AT_ONCE = 8192
"""Tokens of windows in one batch: 1,000 tokens have 0.5 GB of fp32 logits with Llama 3's vocabulary."""


def likelihoods(loaded: LoadedModel, requests: Sequence[Likelihood]) -> list[float]:
    """Negative log-likelihood of each text; long texts are read in consecutive windows."""
    windows = likelihood_windows(loaded, requests)
    totals = [0.0] * len(requests)
    lengths = [len(window) for _, window in windows]
    at_once = max(min(len(requests), TOKENS_AT_ONCE // max(lengths, default=1)), 1)
    for batch in batches_by_length(lengths, at_once):
        rows = [windows[number] for number in batch]
        ids = loaded.padded([window for _, window in rows], left=False)
        logits = loaded.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        target_counts = torch.tensor([len(window) - 1 for _, window in rows], device=loaded.device)
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        is_target = torch.arange(losses.shape[1], device=loaded.device) < target_counts[:, None]
        for (index, _), value in zip(rows, (losses * is_target).double().sum(dim=1).tolist(), strict=True):
            totals[index] += value
    return totals


def likelihood_windows(texts: PromptEncoder, requests: Sequence[Likelihood]) -> list[tuple[int, list[int]]]:
    """The windows of all texts, each with a start token and the index of its text."""
    size = min(texts.context, WINDOW) - 1
    return [
        (number, [texts.start, *ids[first : first + size]])
        for number, ids in enumerate(texts.encode([request.text for request in requests], special=False))
        for first in range(0, len(ids), size)
    ]


def last_token_of(texts: PromptEncoder, requests: Sequence[NextToken]) -> dict[str, int]:
    """The last token of each word."""
    words = sorted({word for request in requests for word in request.words})
    return {word: ids[-1] for word, ids in zip(words, texts.encode(words, special=False), strict=True)}


def next_tokens(loaded: LoadedModel, requests: Sequence[NextToken]) -> list[list[float]]:
    """The logits of each word's last token right after each prompt."""
    last = last_token_of(loaded, requests)
    prompts = [
        loaded.truncated(ids, loaded.context) for ids in loaded.prompts([request.prompt for request in requests])
    ]
    prefix = loaded.shared_prefix(prompts)
    ids = loaded.padded([prompt[prefix.length :] for prompt in prompts], left=True)
    lengths = torch.tensor([len(prompt) - prefix.length for prompt in prompts], device=loaded.device)
    real = torch.arange(ids.shape[1], device=loaded.device) >= ids.shape[1] - lengths[:, None]
    seen = torch.cat([real.new_ones(len(prompts), prefix.length), real], dim=1).long()
    logits = loaded.model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=(seen.cumsum(dim=1) - 1).clamp(min=0)[:, prefix.length :],
        past_key_values=prefix.cache,
        use_cache=prefix.cache is not None,
        logits_to_keep=1,
    ).logits[:, -1]
    rows = logits.float().cpu()
    return [[float(row[last[word]]) for word in request.words] for row, request in zip(rows, requests, strict=True)]


@dataclass(frozen=True)
class Tree:
    """A prompt's tokens (the trunk), and a branch for each ending."""

    trunk: list[int]
    branches: list[list[int]]
    unscored: list[int]
    """Tokens at the start of each branch that still belong to the prompt, where it is tokenised differently."""

    @property
    def tail(self) -> list[int]:
        return [token for branch in self.branches for token in branch]


def trees(loaded: PromptEncoder, requests: Sequence[Choice]) -> list[Tree]:
    """Encode each ending together with its prompt."""
    prompts = loaded.encode([request.prompt for request in requests])
    flat = iter(loaded.encode([request.prompt + ending for request in requests for ending in request.endings]))
    result = []
    for request, prompt in zip(requests, prompts, strict=True):
        start = [] if prompt else [loaded.start]
        result.append(_tree([*start, *prompt], [[*start, *next(flat)] for _ in request.endings]))
    return result


def _tree(prompt: list[int], wholes: list[list[int]]) -> Tree:
    trunk = min(len(prompt), common_length(wholes))
    branches = [whole[trunk:] for whole in wholes]
    unscored = [_prompt_length(prompt, whole) - trunk for whole in wholes]
    return Tree(wholes[0][:trunk], branches, unscored)


def _prompt_length(prompt: list[int], whole: list[int]) -> int:
    """Unscored tokens: as many as the prompt alone has; if both together have no more, all but the last."""
    return len(prompt) if len(whole) > len(prompt) or whole == prompt else len(whole) - 1


def choices(loaded: LoadedModel, requests: Sequence[Choice]) -> list[list[list[float | bool]]]:
    """Score all endings in one pass over rows of padding, prompt and endings; an ending sees the prompt and itself."""
    encoded = trees(loaded, requests)
    trunks = [
        loaded.truncated(each.trunk, loaded.context - max(map(len, each.branches), default=0)) for each in encoded
    ]
    tails = [tree.tail for tree in encoded]
    prefix = loaded.shared_prefix(trunks)
    rest = loaded.padded([trunk[prefix.length :] for trunk in trunks], left=True, least=1)
    ids = torch.cat([rest, loaded.padded(tails, left=False)], dim=1)
    mask, positions = _seen(loaded, trunks, encoded, prefix.length, rest.shape[1])
    logits = loaded.model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask[:, None],
        past_key_values=prefix.cache,
        use_cache=prefix.cache is not None,
        logits_to_keep=max(map(len, tails)) + 1,
    ).logits
    return [_answer(tree, rows) for tree, rows in zip(encoded, logits, strict=True)]


def _seen(
    loaded: LoadedModel, trunks: list[list[int]], encoded: list[Tree], shared_prefix: int, width: int
) -> tuple[Tensor, Tensor]:
    """The attention mask, with the shared prefix first, and the position of each token in its own text."""
    tail = max(len(tree.tail) for tree in encoded)
    group = torch.zeros(len(encoded), width + tail, dtype=torch.long)  # 0 the prompt, then a number for each ending
    positions = torch.zeros(len(encoded), width + tail, dtype=torch.long)
    group[:, width:] = -1  # padding behind the endings
    for row, (trunk, tree) in enumerate(zip(trunks, encoded, strict=True)):
        padding = width - (len(trunk) - shared_prefix)
        group[row, :padding] = -1
        positions[row, padding:width] = torch.arange(shared_prefix, len(trunk))
        first = width
        for number, branch in enumerate(tree.branches, start=1):
            group[row, first : first + len(branch)] = number
            positions[row, first : first + len(branch)] = torch.arange(len(trunk), len(trunk) + len(branch))
            first += len(branch)
    group, positions = group.to(loaded.device), positions.to(loaded.device)
    columns = torch.arange(width + tail, device=loaded.device)
    allowed = (group[:, None, :] == 0) | (group[:, :, None] == group[:, None, :]) & (group[:, None, :] > 0)
    allowed &= columns[None, None, :] <= columns[None, :, None]
    allowed |= torch.eye(width + tail, dtype=torch.bool, device=loaded.device)  # a padding row must see something
    before = torch.ones(len(encoded), width + tail, shared_prefix, dtype=torch.bool, device=loaded.device)
    return torch.cat([before, allowed], dim=2), positions


def _answer(tree: Tree, logits: Tensor) -> list[list[float | bool]]:
    """Row 0 of the logits belongs to the prompt's last token, row i + 1 to the tail's token i."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    answer: list[list[float | bool]] = []
    first = 0
    for branch, unscored in zip(tree.branches, tree.unscored, strict=True):
        sources = [0, *range(first + 1, first + len(branch))][: len(branch)]
        rows = logprobs[sources[unscored:]]
        targets = torch.tensor(branch[unscored:], dtype=torch.long, device=logits.device)
        total = rows.gather(1, targets[:, None]).double().sum()
        answer.append([float(total), bool((rows.argmax(dim=1) == targets).all())])
        first += len(branch)
    return answer

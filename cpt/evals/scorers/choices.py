"""How likely each of some endings is behind a prompt: all endings of a prompt in one pass, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cpt.evals.questions import Choice
from cpt.evals.scorers.loaded_model import AskedModel, common
from cpt.evals.scorers.texts import Texts

Answer = list[list[float | bool]]


@dataclass(frozen=True)
class Tree:
    """A prompt's tokens, and behind them a branch for each ending."""

    trunk: list[int]
    branches: list[list[int]]
    unscored: list[int]
    """So many tokens at the start of each branch belong to the prompt still: it is split otherwise before them."""

    @property
    def tail(self) -> list[int]:
        return [token for branch in self.branches for token in branch]


def trees(asked: Texts, asks: Sequence[Choice]) -> list[Tree]:
    """Each ending is encoded together with its prompt, as it would stand in running text."""
    prompts = asked.encode([ask.prompt for ask in asks])
    flat = iter(asked.encode([ask.prompt + ending for ask in asks for ending in ask.endings]))
    found = []
    for ask, prompt in zip(asks, prompts, strict=True):
        start = [] if prompt else [asked.start]
        found.append(_tree([*start, *prompt], [[*start, *next(flat)] for _ in ask.endings]))
    return found


def _tree(prompt: list[int], wholes: list[list[int]]) -> Tree:
    trunk = min(len(prompt), common(wholes))
    branches = [whole[trunk:] for whole in wholes]
    unscored = [_unscored(prompt, whole) - trunk for whole in wholes]
    return Tree(wholes[0][:trunk], branches, unscored)


def _unscored(prompt: list[int], whole: list[int]) -> int:
    """As many tokens as the prompt alone has; all but the last where both together are no more."""
    return len(prompt) if len(whole) > len(prompt) or whole == prompt else len(whole) - 1


def choices(asked: AskedModel, asks: Sequence[Choice]) -> list[Answer]:
    """A row is: padding, the prompt, ending 1, ending 2, …; each ending sees the prompt and itself."""
    found = trees(asked, asks)
    trunks = [asked.fitting(tree.trunk, asked.context - max(map(len, tree.branches), default=0)) for tree in found]
    tails = [tree.tail for tree in found]
    prefix = asked.shared(trunks)
    rest = asked.padded([trunk[prefix.length :] for trunk in trunks], left=True, least=1)
    ids = torch.cat([rest, asked.padded(tails, left=False)], dim=1)
    mask, positions = _seen(asked, trunks, found, prefix.length, rest.shape[1])
    logits = asked.model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask[:, None],
        past_key_values=prefix.cache,
        use_cache=prefix.cache is not None,
        logits_to_keep=max(map(len, tails)) + 1,
    ).logits
    return [_answer(tree, rows) for tree, rows in zip(found, logits, strict=True)]


def _seen(
    asked: AskedModel, trunks: list[list[int]], found: list[Tree], shared: int, width: int
) -> tuple[Tensor, Tensor]:
    """Which columns each token may see, the shared prefix's first, and the position of each token in its own text."""
    tail = max(len(tree.tail) for tree in found)
    group = torch.zeros(len(found), width + tail, dtype=torch.long)  # 0 the prompt, then a number for each ending
    positions = torch.zeros(len(found), width + tail, dtype=torch.long)
    group[:, width:] = -1  # padding behind the endings
    for row, (trunk, tree) in enumerate(zip(trunks, found, strict=True)):
        padding = width - (len(trunk) - shared)
        group[row, :padding] = -1
        positions[row, padding:width] = torch.arange(shared, len(trunk))
        first = width
        for number, branch in enumerate(tree.branches, start=1):
            group[row, first : first + len(branch)] = number
            positions[row, first : first + len(branch)] = torch.arange(len(trunk), len(trunk) + len(branch))
            first += len(branch)
    group, positions = group.to(asked.device), positions.to(asked.device)
    columns = torch.arange(width + tail, device=asked.device)
    allowed = (group[:, None, :] == 0) | (group[:, :, None] == group[:, None, :]) & (group[:, None, :] > 0)
    allowed &= columns[None, None, :] <= columns[None, :, None]
    allowed |= torch.eye(width + tail, dtype=torch.bool, device=asked.device)  # padding sees itself, not nothing
    before = torch.ones(len(found), width + tail, shared, dtype=torch.bool, device=asked.device)
    return torch.cat([before, allowed], dim=2), positions


def _answer(tree: Tree, logits: Tensor) -> Answer:
    """Row 0 of the logits is of the prompt's last token, row i + 1 of the tail's token i."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    answer: Answer = []
    first = 0
    for branch, unscored in zip(tree.branches, tree.unscored, strict=True):
        sources = [0, *range(first + 1, first + len(branch))][: len(branch)]
        rows = logprobs[sources[unscored:]]
        wanted = torch.tensor(branch[unscored:], dtype=torch.long, device=logits.device)
        total = rows.gather(1, wanted[:, None]).double().sum()
        answer.append([float(total), bool((rows.argmax(dim=1) == wanted).all())])
        first += len(branch)
    return answer

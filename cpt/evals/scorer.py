"""What benchmarks ask of a model: likelihood of texts, of labels after a prompt, and greedy continuations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

WINDOW = 1024
"""Tokens of a text read at once for its likelihood: the same for every model, whatever its context."""


class Scorer:
    """A model and its tokenizer, ready to be asked. Batches never change a result beyond rounding."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        on_device: Any = model  # transformers leaves moving and calling its models untyped
        self.model: Any = on_device.to(device).eval()
        self.tokenizer = tokenizer
        self.device = device
        self.context = int(model.config.max_position_embeddings)
        self._line_ends = self._tokens_with("\n")

    def encode(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Token ids with the tokenizer's defaults, as a user's prompt is encoded."""
        encodings = self.tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    def _tokens_with(self, character: str) -> Tensor:
        """Which tokens contain a character once decoded."""
        size = len(self.tokenizer)
        decoded = self.tokenizer.batch_decode([[token] for token in range(size)])
        found = torch.zeros(max(size, self.model.config.vocab_size), dtype=torch.bool, device=self.device)
        found[:size] = torch.tensor([character in text for text in decoded], device=self.device)
        return found

    @torch.inference_mode()
    def nats(self, texts: list[str], batch: int) -> list[float]:
        """Negative log-likelihood of each whole text. Long texts are read in consecutive windows."""
        start = self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
        windows: list[tuple[int, list[int]]] = []
        size = min(self.context, WINDOW) - 1
        for index, text in enumerate(self.encode(texts, special=False)):
            windows += [(index, [start, *text[first : first + size]]) for first in range(0, len(text), size)]
        totals = [0.0] * len(texts)
        windows.sort(key=lambda window: len(window[1]))
        for first in range(0, len(windows), batch):
            rows = windows[first : first + batch]
            ids = self._padded([window for _, window in rows], left=False)
            logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
            lengths = torch.tensor([len(window) - 1 for _, window in rows], device=self.device)
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
            real = torch.arange(losses.shape[1], device=self.device) < lengths[:, None]
            for (index, _), value in zip(rows, (losses * real).double().sum(dim=1).tolist(), strict=True):
                totals[index] += value
        return totals

    def _padded(self, rows: list[list[int]], left: bool) -> Tensor:
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for index, row in enumerate(rows):
            first = width - len(row) if left else 0
            ids[index, first : first + len(row)] = torch.tensor(row)
        return ids.to(self.device)

    @torch.inference_mode()
    def labels(self, prompts: list[str], labels: list[str], stem: str, batch: int) -> NDArray[np.float64]:
        """Log-likelihood of each whole label, behind a space, after each prompt: [prompts, labels].

        All labels of a prompt are read in one pass, as a tree: each sees the prompt and itself. `stem` is the
        prompts' last word, so that labels are split into tokens as they are in running text.
        """
        before = len(self.encode([stem], special=False)[0])
        endings = [ids[before:] for ids in self.encode([f"{stem} {label}" for label in labels], special=False)]
        encoded = self.encode(prompts)
        order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
        scores = np.empty((len(prompts), len(labels)))
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            scores[rows] = self._label_tree([encoded[row] for row in rows], endings)
        return scores

    def _label_tree(self, prompts: list[list[int]], endings: list[list[int]]) -> NDArray[np.float64]:
        """Layout of a row: padding, prompt, label 1, label 2, …; so labels stand in the same columns everywhere."""
        tail = sum(map(len, endings))
        room = self.context - max(map(len, endings))
        prompts = [_fitting(prompt, room) for prompt in prompts]
        ids = self._padded(
            [prompt + [token for ending in endings for token in ending] for prompt in prompts], left=True
        )
        width = ids.shape[1]
        split = width - tail
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        columns = torch.arange(width, device=self.device)
        group = torch.zeros(width, dtype=torch.long, device=self.device)  # 0 prompt, then a number for each label
        offset = torch.zeros(width, dtype=torch.long, device=self.device)
        first = split
        for number, ending in enumerate(endings, start=1):
            group[first : first + len(ending)] = number
            offset[first : first + len(ending)] = torch.arange(len(ending), device=self.device)
            first += len(ending)
        begins = split - lengths[:, None]
        positions = torch.where(group > 0, lengths[:, None] + offset, (columns - begins).clamp(min=0))
        allowed = (group[None, :] == 0) | (group[:, None] == group[None, :])
        allowed = allowed & (columns[None, :] <= columns[:, None])
        real = columns >= begins
        mask = allowed[None] & real[:, None, :] | torch.eye(width, dtype=torch.bool, device=self.device)
        logits = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask[:, None],
            use_cache=False,
            logits_to_keep=tail + 1,
        ).logits.float()
        logprobs = torch.log_softmax(logits, dim=-1)
        result = np.empty((len(prompts), len(endings)))
        first = 0
        for number, ending in enumerate(endings):
            sources = [0, *range(first + 1, first + len(ending))]  # column 0 is the prompt's last token
            result[:, number] = logprobs[:, sources, ending].double().sum(dim=1).cpu().numpy()
            first += len(ending)
        return result

    @torch.inference_mode()
    def continuations(self, prompts: list[str], limits: list[int], batch: int) -> list[str]:
        """Greedy continuation of each prompt up to its line's end, or its limit of tokens."""
        limits = [min(limit, self.context // 2) for limit in limits]
        encoded = [_fitting(ids, self.context - limit) for ids, limit in zip(self.encode(prompts), limits, strict=True)]
        order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
        texts = [""] * len(prompts)
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            made = self._greedy([encoded[row] for row in rows], [limits[row] for row in rows])
            for row, text in zip(rows, self.tokenizer.batch_decode(made, skip_special_tokens=True), strict=True):
                texts[row] = text.split("\n")[0]
        return texts

    def _greedy(self, prompts: list[list[int]], limits: list[int]) -> list[list[int]]:
        """Decode a batch, dropping rows as they finish."""
        ids = self._padded(prompts, left=True)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) >= ids.shape[1] - lengths[:, None]
        cache = DynamicCache()
        made: list[list[int]] = [[] for _ in prompts]
        active = torch.arange(len(prompts), device=self.device)
        room = torch.tensor(limits, device=self.device)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        while len(active):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask.long(),
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            token = logits.argmax(dim=-1)
            for row, value in zip(active.tolist(), token.tolist(), strict=True):
                made[row].append(value)
            room -= 1
            going = (room > 0) & ~self._line_ends[token] & (token != self.tokenizer.eos_token_id)
            keep = going.nonzero().flatten()
            if len(keep) == 0:
                break
            if len(keep) < len(active):
                cache.batch_select_indices(keep)
            active, room, token, mask, lengths = active[keep], room[keep], token[keep], mask[keep], lengths[keep]
            ids, positions, lengths = token[:, None], lengths[:, None], lengths + 1
            mask = torch.cat([mask, torch.ones(len(active), 1, dtype=torch.bool, device=self.device)], dim=1)
        return made


def _fitting(prompt: list[int], room: int) -> list[int]:
    """A prompt that fits its room: its start token and its end, where the question is, when it is too long."""
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]

"""What every backend does with texts alone: into tokens as a user's prompt is, cut to the context, and back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)


class Texts:
    """A tokenizer, and how many tokens its model reads."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        self._told_of_cutting = False

    def encode(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Token ids with the tokenizer's defaults, as a user's prompt is encoded."""
        encodings = self.tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    @property
    def start(self) -> int:
        """What a text begins with where nothing stands before it."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return int(bos if bos is not None else eos)

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Prompts as token ids; never empty, for a model needs something to go on from."""
        return [ids or [self.start] for ids in self.encode(texts)]

    def fitting(self, prompt: list[int], room: int) -> list[int]:
        """A prompt that fits its room: its first token and its end, where the question is, when it is too long."""
        if len(prompt) <= room:
            return prompt
        if not self._told_of_cutting:
            log.warning("a prompt of %d tokens is cut to the %d that fit the model's context", len(prompt), room)
            self._told_of_cutting = True
        return [prompt[0], *prompt[len(prompt) - room + 1 :]] if room > 1 else prompt[-1:]

    def text(self, tokens: list[int]) -> str:
        """Generated tokens as they read behind a prompt, a leading space kept."""
        rows = [[*self.anchor, *tokens], self.anchor]
        whole, before = self.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(whole[len(before) :])

    @cached_property
    def anchor(self) -> list[int]:
        """Something to stand before tokens that are decoded."""
        return self.encode(["a"], special=False)[0]


def up_to(stops: Sequence[str], text: str) -> str:
    """A text up to the first stop."""
    return text[: min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))]

"""A tokenizer as the processes load it that prepare data: its one file, without the libraries around it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpt.errors import UserError
from cpt.files import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class TokenizerFile:
    path: str
    fingerprint: str
    end: int
    """The token that ends every document."""
    start: int | None
    """The token it begins every document with, if it does."""
    vocabulary: int
    habits: tuple[bool, bool]
    """Whether it asks for a start token by itself; whether it pads with the end token. For joined packing."""

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        return np.uint16 if self.vocabulary <= 2**16 else np.uint32


def tokenizer_file(tokenizer: PreTrainedTokenizerFast, fingerprint: str, folder: Path) -> TokenizerFile:
    """Written below `folder` where it is not there yet."""
    end = tokenizer.eos_token_id
    if end is None:
        name = tokenizer.name_or_path
        raise UserError(f"the tokenizer {name} has no end-of-text token, so documents cannot be separated")
    text = tokenizer.backend_tokenizer.to_str()
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        write_text(path, text)
    bare = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.backend_tokenizer.encode("a").ids
    start = full[0] if full[:1] != bare[:1] else None
    asks = bool(getattr(tokenizer, "add_bos_token", False))
    habits = (asks and start is not None, tokenizer.pad_token_id in (None, end))
    return TokenizerFile(str(path), fingerprint, end, start, len(tokenizer), habits)

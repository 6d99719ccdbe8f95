"""Tokenise a chunk of text: the task of each preparing process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cpt.corpora.chunks import Reading
from cpt.corpora.document import Doc
from cpt.corpora.reading.layout import Chunk, Record, Unreadable, Volume
from cpt.errors import UserError
from cpt.files import write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

AT_ONCE = 32
"""Documents per call of the tokenizer: few enough that the results stay in the processor's cache."""
WORDS, BYTES, TOKENS = 0, 1, 2
"""Columns of `amounts`."""


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer as the preparing processes load it: its one file, without the libraries around it."""

    path: str
    fingerprint: str
    end: int
    """The token that ends every document."""
    start: int | None
    """The token that begins every document, if there is one."""
    vocabulary: int
    habits: tuple[bool, bool]
    """Whether it adds a start token by default; whether it pads with the end token. For joined packing."""

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        return np.uint16 if self.vocabulary <= 2**16 else np.uint32


def tokenizer_file(tokenizer: PreTrainedTokenizerFast, fingerprint: str, folder: Path) -> TokenizerFile:
    """Write the tokenizer's file below `folder`, unless it exists."""
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


@dataclass(frozen=True)
class EncodeTask:
    reading: Reading
    volume: Volume
    chunk: Chunk
    tokenizer: TokenizerFile


@dataclass
class Encoded:
    """The documents of a chunk: their tokens end to end, and by document what they hold."""

    tokens: NDArray[Any]
    sizes: NDArray[np.int64]
    amounts: NDArray[np.uint32]
    """[documents, languages, 3]: words, bytes, tokens."""
    stretches: NDArray[np.uint32]
    """For documents in several languages: runs of tokens in one language, as size * 16 + column of the language."""
    stretch_counts: NDArray[np.int64]
    unreadable: list[Unreadable] = field(default_factory=list)


@cache
def load(path: str) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(task: EncodeTask) -> Encoded:
    """Read, form and tokenise one chunk."""
    unreadable: list[Unreadable] = []

    def readable() -> Iterator[Record]:
        for record in task.reading.records(task.volume, task.chunk):
            if isinstance(record, Unreadable):
                unreadable.append(record)
            else:
                yield record

    docs = list(task.reading.documents(readable()))
    encoded = encode_docs(docs, task.reading.languages, task.tokenizer)
    encoded.unreadable = unreadable
    return encoded


def encode_docs(docs: list[Doc], languages: tuple[str, ...], tokenizer: TokenizerFile) -> Encoded:
    several = len(languages) > 1
    column = {code: index for index, code in enumerate(languages)}
    backend = load(tokenizer.path)
    amounts = np.zeros((len(docs), len(languages), 3), dtype=np.uint32)
    flat: list[int] = []
    sizes, stretches, counts = [], [], []
    texts = [doc.text for doc in docs]
    # Offsets of tokens take time, and only documents in several languages need them.
    encode_some = backend.encode_batch if several else backend.encode_batch_fast
    encodings = chain.from_iterable(
        encode_some(texts[begin : begin + AT_ONCE]) for begin in range(0, len(texts), AT_ONCE)
    )
    for number, (doc, encoding) in enumerate(zip(docs, encodings, strict=True)):
        ids = encoding.ids
        if not ids or ids[-1] != tokenizer.end:
            ids.append(tokenizer.end)
        flat += ids
        sizes.append(len(ids))
        for code, words in doc.words().items():
            amounts[number, column[code], WORDS] = words
        if several:
            runs = _stretches(doc, encoding.offsets, len(ids), column)
            stretches.append(runs)
            counts.append(len(runs))
            for code, text in doc.parts:
                if code:
                    amounts[number, column[code], BYTES] += len(text.encode())
            np.add.at(amounts[number, :, TOKENS], runs & 15, runs >> 4)
        else:
            amounts[number, 0, BYTES] = len(texts[number].encode())
            amounts[number, 0, TOKENS] = len(ids)
    return Encoded(
        tokens=np.array(flat, dtype=tokenizer.dtype),
        sizes=np.array(sizes, dtype=np.int64),
        amounts=amounts,
        stretches=np.concatenate(stretches) if stretches else np.zeros(0, np.uint32),
        stretch_counts=np.array(counts, dtype=np.int64),
    )


def _stretches(doc: Doc, offsets: list[tuple[int, int]], size: int, column: dict[str, int]) -> NDArray[np.uint32]:
    """Runs of tokens in one language; a token belongs to the part its last character is in."""
    codes = [code for code, _ in doc.parts]
    for index in reversed(range(len(codes) - 1)):
        codes[index] = codes[index] or codes[index + 1]  # markup belongs to the text after it
    columns = np.asarray([column[code] for code in codes])
    ends = np.cumsum([len(text) for _, text in doc.parts])
    lasts = np.asarray([max(end - 1, 0) for _, end in offsets], dtype=np.int64)
    parts = np.minimum(np.searchsorted(ends, lasts, side="right"), len(columns) - 1)
    of_token = np.append(columns[parts], np.full(size - len(offsets), columns[-1]))
    begins = np.flatnonzero(np.diff(of_token, prepend=-1))
    runs = np.diff(np.append(begins, size))
    return cast("NDArray[np.uint32]", (runs * 16 + of_token[begins]).astype(np.uint32))

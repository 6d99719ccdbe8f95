"""The text that is prepared: made up and always the same, but for a tokenizer as hard as real text.

Five languages, spaced, in three scripts; words are frequent or rare as in any language (Zipf's law, which bends for
rare words), some are compounds seen nowhere else, and documents are of very different lengths. A byte of it takes a
tokenizer as long as one of English prose. What is beside the text is what the tools need to read it:

<name>.jsonl        documents, one {"text": ...} a line
dataset_info.json   the same, as LLaMA-Factory finds it
tokenizer/          a byte-level BPE trained on the beginning, and a small Llama's configuration
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME, VOCABULARY = "text", 8_192
TRAINED_ON = 1_000
"""Documents from the beginning on which the tokenizer is trained."""
LEXICON, COMPOUNDS, TYPICAL, LONGEST = 40_000, 0.01, 250, 8_000
"""Words of a language, share of compounds, and words of a typical and of the longest document."""
RARE = 5_000
"""From this rank on, frequency falls with the square of the rank: 2,000 words make up 80 % of a text, as in English."""
MARKS, HOW_OFTEN, ENDING = (
    np.array([" ", ", ", ". ", ".\n", " – "], dtype=object),
    [0.87, 0.06, 0.05, 0.01, 0.01],
    (2, 3),
)
"""What stands between two words; after those of ENDING a sentence begins."""
ALPHABETS = (
    ("aeiou", "bcdfghjklmnpqrstvwyz"),
    ("aeiouẹọṣ", "bdfgjklmnprstwy"),
    ("aeiouáéóñ", "bcdfglmnprstv"),
    ("аеиоуыюя", "бвгджзклмнпрстхцч"),
    ("", "ለሉሊላመሙሚማሰሱሲሳበቡቢባተቱቲታነኑኒናከኩኪካወዋየያደዲዳገጊጋ"),
)
"""Vowels and consonants; where there are no vowels, a letter is a syllable."""


@dataclass(frozen=True)
class Language:
    words: NDArray[Any]
    capitals: NDArray[Any]
    reach: NDArray[np.float64]
    """Cumulative shares: a random number finds its word by bisection."""

    @classmethod
    def made_up(cls, vowels: str, consonants: str, rng: np.random.Generator) -> Language:
        syllables = [first + second for first in consonants for second in vowels or ("",)]
        ranks = np.arange(1, LEXICON + 1)
        sizes = (0.8 + 0.8 * np.log10(ranks) + rng.normal(0, 0.6, LEXICON)).clip(1, 6)  # frequent words are short
        letters = iter(rng.integers(0, len(syllables), 6 * LEXICON).tolist())
        words = np.array(["".join(syllables[next(letters)] for _ in range(int(size))) for size in sizes], dtype=object)
        reach = np.cumsum(1 / (ranks + 2) * np.minimum(1, RARE / ranks))
        return cls(words, np.array([word.capitalize() for word in words], dtype=object), reach / reach[-1])

    def document(self, rng: np.random.Generator) -> str:
        size = min(int(rng.lognormal(np.log(TYPICAL), 1.0)) + 5, LONGEST)
        chosen = self.reach.searchsorted(rng.random(size))
        marks = rng.choice(len(MARKS), size, p=HOW_OFTEN)
        begins = np.concatenate([[True], np.isin(marks[:-1], ENDING)])
        words = np.where(begins, self.capitals[chosen], self.words[chosen])
        compounds = np.flatnonzero(rng.random(size) < COMPOUNDS)
        words[compounds] += self.words[rng.integers(0, LEXICON, len(compounds))]
        return "".join((words + MARKS[marks]).tolist()).rstrip()


def documents() -> Iterator[str]:
    """Without end; a shorter corpus is the beginning of a longer one."""
    rng = np.random.default_rng(0)
    languages = [Language.made_up(*alphabet, rng) for alphabet in ALPHABETS]
    while True:
        yield languages[rng.integers(len(languages))].document(rng)


def make_corpus(folder: Path, size: int) -> dict[str, int]:
    """At least `size` bytes of text in `folder`, with its tokenizer; says how much text it is."""
    texts = documents()
    beginning = list(islice(texts, TRAINED_ON))
    make_tokenizer(folder / "tokenizer", beginning)
    count = written = 0
    with (folder / f"{NAME}.jsonl").open("w", encoding="utf-8") as file:
        for text in chain(beginning, texts):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            count, written = count + 1, written + len(text.encode())
            if written >= size:
                break
    info = {NAME: {"file_name": f"{NAME}.jsonl", "columns": {"prompt": "text"}}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return {"documents": count, "bytes": written}


def make_tokenizer(folder: Path, texts: list[str]) -> None:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    assert core.get_vocab_size() == VOCABULARY
    fast: Any = PreTrainedTokenizerFast
    # As Llama's tokenizers do, it gives no token types: nobody should be slowed by writing them.
    fast(tokenizer_object=core, model_input_names=["input_ids", "attention_mask"], **special).save_pretrained(folder)
    LlamaConfig(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, num_attention_heads=4).save_pretrained(
        folder
    )

"""The model and the text that every side trains: random weights and made-up words, for speed depends on neither.

text.jsonl, dataset_info.json   the documents, as LLaMA-Factory reads them
model/                          safetensors, configuration and a tokenizer trained on the text
shard/                          the same documents tokenised, as we and transformers' Trainer read them
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.source import Amount, Source
from cpt.models.weights import Blueprint, RandomWeights
from cpt.processes import WorkerPool
from cpt.tokens.encode import tokenizer_file
from cpt.tokens.shards import Shard, ShardMaker, open_shard
from cpt.train.speed import count_matmul_parameters, describe_mfu

VOCABULARY, LANGUAGE = 8_192, "eng_Latn"
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
BILLION: dict[str, Any] = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


def make_material(folder: Path, tokens: int) -> Shard:
    """Everything in `folder`, with at least so many tokens of text."""
    texts = list(_texts(tokens))
    rows = [json.dumps({"text": text}) for text in texts]
    (folder / "text.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    info = {"text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    tokenizer = _tokenizer(texts)
    assert len(tokenizer) == VOCABULARY, f"the text is too small for {VOCABULARY} tokens: {len(tokenizer)}"
    disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SMALL, bos_token_id=1, eos_token_id=2, pad_token_id=0))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    volumes = (Volume("jsonl", (Stored(str(folder / "text.jsonl")),), ("text",)),)
    source = Source("text", (LANGUAGE,), "made up", lambda: volumes)
    file = tokenizer_file(tokenizer, "made up", folder)
    shard = ShardMaker(folder / "shard", source, file, None).ensure(Amount(), WorkerPool())
    assert len(shard.tokens) >= tokens
    return shard


def _texts(tokens: int) -> Iterator[str]:
    """Documents of 40 to 600 made-up words, a few of them frequent and most of them rare, as in any language."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, 20_000)])
    shares = 1 / np.arange(10, len(words) + 10)
    shares /= shares.sum()
    left = max(tokens, 200_000)  # a word is a token or more; below this a vocabulary is not filled
    while left > 0:
        size = int(rng.integers(40, 600))
        yield " ".join(rng.choice(words, size, p=shares))
        left -= size


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    core.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = fast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    return made


def blueprint_of(task: dict[str, Any]) -> Blueprint:
    """The saved small model; on a GPU a model of 1.2 billion parameters, which is cheaper to make than to read."""
    if task["device"] == "cpu":
        return Blueprint.of_folder(Path(task["material"]) / "model")
    return Blueprint(LlamaConfig(**BILLION), RandomWeights(0, 0.02), "Llama of 1.2 B")


def shard_of(task: dict[str, Any]) -> Shard:
    """The text; on a GPU documents of 200 to 4,000 random tokens."""
    if task["device"] == "cpu":
        return open_shard(Path(task["material"]) / "shard")
    rng, needed = np.random.default_rng(0), (task["steps"] + 1) * task["batch"] * task["length"]
    sizes = rng.integers(200, 4_000, needed // 1_000)
    tokens = rng.integers(3, BILLION["vocab_size"], int(sizes.sum()))
    amounts = np.repeat(sizes[:, None, None], 3, axis=2).astype(np.uint32)
    none, ends = np.zeros(0, np.int64), np.cumsum(sizes)
    known: dict[str, Any] = {
        "vocabulary": BILLION["vocab_size"],
        "start": None,
        "end": 2,
        "habits": (False, False),
        "whole": True,
    }
    return Shard("text", (LANGUAGE,), tokens, ends, amounts, none.astype(np.uint32), none, **known)


def mfu_line(task: dict[str, Any], model: Any, tokens_per_second: float) -> str:
    shape = model.config
    heads = shape.num_attention_heads
    return describe_mfu(
        tokens_per_second,
        matmul_parameters=count_matmul_parameters(model),
        layers=shape.num_hidden_layers,
        heads=heads,
        head_size=getattr(shape, "head_dim", None) or shape.hidden_size // heads,
        length=task["length"],
        device_name=torch.cuda.get_device_name() if task["device"] == "cuda" else "cpu",
        precision="bf16" if task["device"] == "cuda" else "fp32",
    )

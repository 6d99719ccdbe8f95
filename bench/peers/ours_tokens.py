"""Our side: a shard made from the file, and a mix opened on it that has given its first sequence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from timed import carry_out
from transformers import PreTrainedTokenizerFast

from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.source import Amount, Source
from cpt.processes import WorkerPool
from cpt.tokens.encode import load, tokenizer_file
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion
from cpt.tokens.shards import ShardMaker


def load_size(path: str) -> int:
    return load(path).get_vocab_size()


def ours(task: dict[str, Any]) -> tuple[float, int]:
    """Seconds and tokens, of the documents of `file`, with `processes`; `folder` is empty and all that is written."""
    folder = Path(task["folder"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(Path(task["material"]) / "tokenizer")
    file = tokenizer_file(tokenizer, "bench", folder)
    volumes = (Volume("jsonl", (Stored(task["file"]),), ("text",)),)
    source = Source("text", ("eng_Latn",), "bench", lambda: volumes)
    with WorkerPool(task["processes"]) as pool:
        # Each process imports the code and loads the tokenizer, which is no part of the work.
        list(pool.run(load_size, [file.path] * 4 * task["processes"]))
        begin = time.perf_counter()
        shard = ShardMaker(folder / "shard", source, file, None).ensure(Amount(), pool)
        MaskedPacking([Portion.all_of(shard)], task["length"], seed=0).batch(0, 1)
        seconds = time.perf_counter() - begin
    return seconds, int(shard.ends[-1])


if __name__ == "__main__":
    carry_out(ours)

"""The bare encoder of `tokenizers`, in batches on all its threads: the ceiling of what any preparation can do.

The lines are read in the same process, the tokens only counted: nothing is packed or written, no document is ended.
"""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

from timed import carry_out
from tokenizers import Tokenizer

BATCH = 1_000


def bare(task: dict[str, Any]) -> tuple[float, int]:
    core = Tokenizer.from_file(str(Path(task["material"]) / "tokenizer" / "tokenizer.json"))
    begin, tokens = time.perf_counter(), 0
    with Path(task["file"]).open(encoding="utf-8") as lines:
        while batch := [json.loads(line)["text"] for line in islice(lines, BATCH)]:
            tokens += sum(map(len, core.encode_batch_fast(batch, add_special_tokens=False)))
    return time.perf_counter() - begin, tokens


if __name__ == "__main__":
    carry_out(bare)

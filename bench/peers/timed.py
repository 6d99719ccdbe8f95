"""What every process that prepares text does alike: read its task, say how long it took and what it ran on.

It runs in the peers' own environments too, and must weigh nothing itself, for memory is measured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("tokenizers", "transformers", "datasets", "pyarrow", "numpy", "llamafactory")

Prepare = Callable[[dict[str, Any]], tuple[float, int]]


def carry_out(prepare: Prepare, **more: Any) -> None:
    """`prepare` is given the task and gives seconds, imports left out, and tokens."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    seconds, tokens = prepare(task)
    facts = {
        "python": sys.version.split()[0],
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "environment": {
            k: v for k, v in os.environ.items() if k.startswith(("TOKENIZERS_", "RAYON_", "OMP_", "GLIBC_"))
        },
        **more,
    }
    result = {"seconds": round(seconds, 3), "tokens": tokens, "facts": facts}
    Path(task["output"]).write_text(json.dumps(result), encoding="utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

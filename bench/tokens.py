"""Preparing text against peers: LLaMA-Factory's own preparation and the bare tokenizer, in pairs in one run.

    python bench/tokens.py --llamafactory <its environment>/bin/llamafactory-cli
    python bench/tokens.py --memory

Every side takes the same file of 100 MB of made-up text with the same tokenizer on two cores: tokenised and packed, no
cleaning. Each measurement is a fresh process with an empty cache; seconds are from the raw file to packed sequences
ready to be read, without imports. All must find the same number of tokens. A ratio is of two measurements taken one
after the other; only ratios of one run are to be quoted. How to install LLaMA-Factory: `python bench/train.py --help`.

With --memory it is the anonymous memory that all processes of a side hold together, at most, for 100 MB and for 1 GB;
pages that processes share count once for each. Let the cores do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import SAMPLE_SECONDS, load, machine, peak_anonymous, shown

sys.path.append(str(Path(__file__).parent / "peers"))
from corpus import NAME, VOCABULARY, make_corpus

from cpt.files import write_json

PEERS, RESULTS = Path(__file__).parent / "peers", Path(__file__).parent / "results"
TARGETS = {"llama_factory": 1.5, "bare": 0.85}
"""The least that we want to reach of each peer's tokens a second."""
SIDES = ("llama_factory", "ours", "bare")
"""In this order and back again: ours stands between two peers and is paired with both."""
INHERITED_NOT = ("PYTHONPATH", "GLIBC_TUNABLES", "TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS", "OMP_NUM_THREADS")
PACKED_TOGETHER = 1_000
"""Documents that LLaMA-Factory packs at a time, as it comes (`preprocessing_batch_size`)."""
MEMORY_SIZES = 100, 1000


@dataclass(frozen=True)
class Corpus:
    folder: Path
    documents: int
    bytes: int

    @classmethod
    def of_size(cls, folder: Path, megabytes: int) -> Corpus:
        print(f"Making {megabytes} MB of text", flush=True)
        return cls(folder, **make_corpus(folder, megabytes * 1_000_000))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llamafactory", type=Path, help="llamafactory-cli of LLaMA-Factory's own environment")
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="default all; with --memory, ours")
    parser.add_argument("--pairs", type=int, default=5, help="pairs for each peer (default 5)")
    parser.add_argument("--megabytes", type=int, default=100, help="of text, for timing (default 100)")
    parser.add_argument("--processes", type=int, default=2, help="of each side; threads of the bare one (default 2)")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a packed sequence (default 2048)")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--output", type=Path, help="default bench/results/tokens.json or tokens-memory.json")
    asked = parser.parse_args()
    asked.sides = [side for side in SIDES if side in (asked.sides or (["ours"] if asked.memory else SIDES))]
    if "llama_factory" in asked.sides and not (asked.llamafactory and asked.llamafactory.exists()):
        parser.error(
            "--llamafactory must be given and be there, or --sides leave it out; bench/train.py says how to install it"
        )
    return asked


def main(asked: argparse.Namespace) -> None:
    path = asked.output or RESULTS / ("tokens-memory.json" if asked.memory else "tokens.json")
    report = {
        "command": shlex.join(["python", "bench/tokens.py", *shown(sys.argv[1:])]),
        "machine": machine(),
        "setting": {name: getattr(asked, name) for name in ("processes", "length")} | {"vocabulary": VOCABULARY},
    }
    with tempfile.TemporaryDirectory(prefix="bench-tokens-") as name:
        results = (memory if asked.memory else timing)(asked, Path(name))
    write_json(path, report | results)
    print(f"Written to {path}")


def timing(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    corpus = Corpus.of_size(folder, asked.megabytes)
    measured: list[dict[str, Any]] = []
    for pair in range(asked.pairs):
        for side in asked.sides[:: -1 if pair % 2 else 1]:
            one = {"pair": pair, "load": load(), **measure(side, corpus, asked)}
            measured.append(one)
            print(f"pair {pair + 1}  {side:14} {one['seconds']:7.1f} s {rate(one):12,.0f} tokens/s", flush=True)
        counts = agreed_counts(measured, corpus, asked)
    contests = [judged(peer, measured) for peer in asked.sides if peer != "ours" and "ours" in asked.sides]
    for one in contests:
        ratio, verdict = one["ratio"], "met" if one["met"] else "MISSED"
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        print(f"ours over {one['peer']}: {spread}, target {one['target']} {verdict}")
    sides = {one["side"]: one.pop("facts") for one in reversed(measured)}
    speeds = {side: statistics.median(rate(one) for one in measured if one["side"] == side) for side in asked.sides}
    for side, speed in speeds.items():
        print(f"{side}: {speed:,.0f} tokens/s (median)")
    text = {"documents": corpus.documents, "bytes": corpus.bytes}
    found = {"corpus": text, "counts": counts, "tokens_per_second": speeds, "contests": contests}
    return {**found, "sides": sides, "measured": measured}


def memory(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    measured = []
    for megabytes in MEMORY_SIZES:
        corpus = Corpus.of_size(folder, megabytes)
        for side in asked.sides:
            one = {"bytes": corpus.bytes, "documents": corpus.documents, **measure(side, corpus, asked, watched=True)}
            measured.append(one)
            print(f"{megabytes:5} MB  {side:14} {one['peak_anonymous_bytes'] / 1e6:8,.0f} MB at most", flush=True)
    return {"sample_seconds": SAMPLE_SECONDS, "measured": measured}


def measure(side: str, corpus: Corpus, asked: argparse.Namespace, watched: bool = False) -> dict[str, Any]:
    """One fresh process; watching costs it a little time, so it is not both watched and timed."""
    os.sync()  # what the one before has written must not be written now
    with tempfile.TemporaryDirectory(dir=corpus.folder) as name:
        here = Path(name)
        (here / "empty").mkdir()
        paths = {"material": corpus.folder, "file": corpus.folder / f"{NAME}.jsonl", "folder": here / "empty"}
        task = {key: str(path) for key, path in (paths | {"output": here / "measured.json"}).items()}
        sizes = {"processes": asked.processes, "length": asked.length}
        (here / "task.json").write_text(json.dumps(task | sizes), encoding="utf-8")
        python = asked.llamafactory.absolute().parent / "python" if side == "llama_factory" else sys.executable
        command = [str(python), str(PEERS / f"{side}_tokens.py"), str(here / "task.json")]
        settings = {"HF_HOME": str(here / "hub"), "HF_HUB_OFFLINE": "1", "USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
        if side == "bare":
            settings |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(asked.processes)}
        environment = {key: value for key, value in os.environ.items() if key not in INHERITED_NOT} | settings
        with (here / "output.txt").open("w") as said:
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)  # noqa: S603
            peak = {"peak_anonymous_bytes": peak_anonymous(process)} if watched else {}
            code = process.wait()
        if code:
            last = (here / "output.txt").read_text(errors="replace").splitlines()[-15:]
            sys.exit("\n".join([*last, f"{side} ended with code {code}; its last lines are above"]))
        result: dict[str, Any] = json.loads((here / "measured.json").read_text(encoding="utf-8"))
    own = (f"{key}={value}" for key, value in settings.items() if not value.startswith(name))
    where = "<LLaMA-Factory's environment>/bin/python" if side == "llama_factory" else "python"
    result["facts"]["command"] = " ".join([*own, where, f"bench/peers/{side}_tokens.py task.json"])
    return {"side": side, **result, **peak}


def rate(one: dict[str, Any]) -> float:
    return float(one["tokens"] / one["seconds"])


def agreed_counts(measured: list[dict[str, Any]], corpus: Corpus, asked: argparse.Namespace) -> dict[str, Any]:
    """Tokens of each side; the bare one ends no document, and LLaMA-Factory drops what does not fill a sequence.

    It packs so many documents at a time, in each of its processes.
    """
    counts = {}
    for side in asked.sides:
        found = {one["tokens"] for one in measured if one["side"] == side}
        assert len(found) == 1, f"{side} does not always find the same tokens: {found}"
        ends = 0 if side == "bare" else corpus.documents
        packs = corpus.documents // PACKED_TOGETHER + asked.processes if side == "llama_factory" else 0
        counts[side] = {"tokens": found.pop(), "ends_of_documents": ends, "dropped_at_most": packs * (asked.length - 1)}
    least = max(one["tokens"] - one["ends_of_documents"] for one in counts.values())
    for side, one in counts.items():
        missing = least - (one["tokens"] - one["ends_of_documents"])
        assert missing <= one["dropped_at_most"], f"{side} found {missing} tokens less than another side: {counts}"
    return counts


def judged(peer: str, measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Ours over the peer in each pair."""
    speeds = {(one["side"], one["pair"]): rate(one) for one in measured}
    ratios = [speeds["ours", pair] / speed for (side, pair), speed in speeds.items() if side == peer]
    median, target = statistics.median(ratios), TARGETS[peer]
    ratio = {"median": round(median, 3), "min": round(min(ratios), 3), "max": round(max(ratios), 3)}
    found = {"ratio": ratio, "ratios": [round(one, 3) for one in ratios]}
    return {"peer": peer, **found, "target": target, "met": median >= target}


if __name__ == "__main__":
    main(arguments())

"""Training throughput against peers: LLaMA-Factory, transformers' Trainer and a bare loop, in pairs in one run.

    python bench/train.py --llamafactory <its environment>/bin/llamafactory-cli
    python bench/train.py --gpu

Every side trains the same small Llama from the same random weights on the same text: 8 sequences of 512 tokens a step,
fp32, fused AdamW, one process, packed full. Each measurement is a fresh process; times are of whole steps as their ends
follow one another, after a warm-up. A ratio is of two measurements taken one after the other; only ratios of one
run are to be quoted. With --gpu it is a Llama of 1.2 billion parameters in bf16 at 4,096 tokens against the Trainer,
with the share of the device's peak that is reached and the memory that the chunked loss saves.

LLaMA-Factory needs an environment of its own, for it holds transformers back. For a machine without a GPU:

    python -m venv peer && peer/bin/pip install torch==2.13.0
    echo torch==2.13.0 > pinned && peer/bin/pip install -c pinned llamafactory==0.9.5
    peer/bin/pip uninstall -y torchaudio torchvision
    (cd peer/lib/python3.*/site-packages && mkdir torchaudio && touch torchaudio/__init__.py)

With the defaults it takes about a quarter of an hour on two cores; let them do nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "peers"))
from contest import ON_CPU, ON_GPU, Contest, Stand, order
from material import BILLION, SMALL, make_material

from cpt.files import write_json
from cpt.processes import ALLOCATOR, usable_cores

RESULTS = Path(__file__).parent / "results"
WARM, BUSY = 3, 0.5
INSTALL = "python bench/train.py --help says how to install it"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llamafactory", type=Path, help="llamafactory-cli of LLaMA-Factory's own environment")
    parser.add_argument("--pairs", type=int, default=5, help="pairs for each peer (default 5)")
    parser.add_argument("--steps", type=int, default=8, help=f"steps of each process, {WARM} warm it up (default 8)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process (default 2)")
    parser.add_argument("--gpu", action="store_true", help="measure on the GPU instead")
    parser.add_argument("--output", type=Path, help="default bench/results/train-cpu.json or train-gpu.json")
    asked = parser.parse_args()
    if asked.steps <= WARM:
        parser.error(f"--steps must be above {WARM}: these warm up")
    if asked.llamafactory and not asked.llamafactory.exists():
        parser.error(f"--llamafactory: {asked.llamafactory} is not there; {INSTALL}")
    return asked


def main(asked: argparse.Namespace) -> None:
    device, batch, length = ("cuda", 2, 4096) if asked.gpu else ("cpu", 8, 512)
    task = {
        **{"device": device, "batch": batch, "length": length, "threads": asked.threads},
        **{"steps": asked.steps, "warm": WARM, "lr": 1e-4},
    }
    contests, skipped = chosen(asked)
    if load() > BUSY:
        print(f"This machine is at other work (load {load()}): figures taken now mean little", file=sys.stderr)
    path = asked.output or RESULTS / f"train-{'gpu' if asked.gpu else 'cpu'}.json"
    report = {
        "command": shlex.join(["python", "bench/train.py", *shown(sys.argv[1:])]),
        "machine": machine(),
        "model": BILLION if asked.gpu else SMALL,
        "setting": {**task, "pairs": asked.pairs, "precision": "bf16" if asked.gpu else "fp32", "clip": 1.0},
        "allocator": ALLOCATOR,
    }
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        python = asked.llamafactory.absolute().parent / "python" if asked.llamafactory else None
        stand = Stand(Path(name), task, python)
        if not asked.gpu:
            make_material(stand.folder, (asked.steps + 2) * batch * length)
        measured: list[dict[str, Any]] = []
        for pair in range(asked.pairs):
            one_round(stand, contests, pair, asked.pairs, measured)
            results = [judged(contest, measured) for contest in contests]
            write_json(
                path, {**report, "contests": results, "skipped": skipped, "sides": stand.sides, "measured": measured}
            )
    print_table(results, skipped, measured)
    print(f"Written to {path}")


def chosen(asked: argparse.Namespace) -> tuple[list[Contest], dict[str, str]]:
    """The contests that can be held, and why each of the others cannot."""
    if asked.gpu:
        return list(ON_GPU), {}
    missing = [] if asked.llamafactory else [c for c in ON_CPU if c.peer.script == "llama_factory"]
    if missing:
        print(f"LLaMA-Factory is left out, for --llamafactory was not given; {INSTALL}", file=sys.stderr)
    skipped = {contest.peer.name: "--llamafactory was not given" for contest in missing}
    return [contest for contest in ON_CPU if contest not in missing], skipped


def one_round(stand: Stand, contests: list[Contest], pair: int, pairs: int, measured: list[dict[str, Any]]) -> None:
    """Measure every peer once, with ours beside each."""
    groups = order(contests, pair)
    for number, group in enumerate(groups):
        for side in group:
            begin = time.monotonic()
            result = stand.measure(side)
            measured.append({"pair": pair, "group": f"{pair}.{number}", "side": side.name, "load": load(), **result})
            took = time.monotonic() - begin
            count, total = len(measured), pairs * sum(len(members) for members in groups)
            speed = result["tokens_per_second"]
            said = f"[{count:2}/{total}] pair {pair + 1}  {side.name:34} {speed:8,.0f} tokens/s ({took:.0f} s)"
            print(said, flush=True)


def judged(contest: Contest, measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Ours over the peer in each pair so far, and what is to be said of it."""
    name = contest.peer.name
    theirs = {one["group"]: one["tokens_per_second"] for one in measured if one["side"] == name}
    ours = {one["group"]: one["tokens_per_second"] for one in measured if one["side"] == "ours"}
    ratios = [ours[group] / speed for group, speed in theirs.items()]
    median = statistics.median(ratios)
    return {
        "peer": name,
        "ours_tokens_per_second": statistics.median(ours[group] for group in theirs),
        "peer_tokens_per_second": statistics.median(theirs.values()),
        "ratio": {"median": round(median, 3), "min": round(min(ratios), 3), "max": round(max(ratios), 3)},
        "ratios": [round(ratio, 3) for ratio in ratios],
        "target": contest.target,
        "met": None if contest.target is None else median >= contest.target,
    }


def print_table(results: list[dict[str, Any]], skipped: dict[str, str], measured: list[dict[str, Any]]) -> None:
    print(f"\n{'tokens/s, medians':34} {'ours':>8} {'peer':>8} {'ours/peer':>10} {'min':>6} {'max':>6} {'target':>7}")
    for one in results:
        verdict = "" if one["met"] is None else f"{one['target']:>7} {'met' if one['met'] else 'MISSED'}"
        speeds = f"{one['ours_tokens_per_second']:8,.0f} {one['peer_tokens_per_second']:8,.0f}"
        ratio = one["ratio"]
        print(f"{one['peer']:34} {speeds} {ratio['median']:10.2f} {ratio['min']:6.2f} {ratio['max']:6.2f} {verdict}")
    for name, why in skipped.items():
        print(f"{name:34} skipped: {why}")
    for side in dict.fromkeys(one["side"] for one in measured):
        mine = [one for one in measured if one["side"] == side]
        line = f"{side}: at most {max(one['memory'] for one in mine) / 1e9:.2f} GB"
        print(line + (f"; {mine[-1]['mfu']}" if "mfu" in mine[-1] else ""))


def machine() -> dict[str, Any]:
    models = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": usable_cores(),
        "load_before": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def load() -> float:
    """Of the last minute: with a measurement going on, anything well above its threads is other work."""
    return round(os.getloadavg()[0], 2)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def shown(given: list[str]) -> list[str]:
    """The command line as it can be repeated elsewhere, without where things lie on this machine."""
    return [f"<path>/{Path(word).name}" if word.startswith("/") else word for word in given]


if __name__ == "__main__":
    main(arguments())

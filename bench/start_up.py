"""From the command to the first training step of a warm run: text prepared, base model there and evaluated.

    python bench/start_up.py

One launch makes everything warm; each further one is of another seed, watched from outside at 5 ms by what it writes,
and stopped once its first step is in `metrics.jsonl`. Nothing is added to the program to be timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpt.files import write_json
from cpt.processes import usable_cores

ROOT = Path(__file__).parents[1]
POLL_SECONDS, PATIENCE_SECONDS = 0.005, 120.0
STUDY = "warm"
Mark = tuple[str, Callable[[Path], bool]]


def _says(name: str, text: str) -> Callable[[Path], bool]:
    """Whether a file of the run's folder is there and holds a text."""

    def holds(run: Path) -> bool:
        try:
            return text in (run / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False

    return holds


MARKS: tuple[Mark, ...] = (
    ("launcher: imports, compose, check, plan, freeze", _says("config.yaml", "\n")),
    ("process server: rest of its imports, fork", lambda run: (run / "log.txt").exists()),
    ("worker: lock, thaw, status", _says("status.json", '"stage": "prepare"')),
    ("prepare: shards found, mix", _says("status.json", '"stage": "train"')),
    ("model and engine", _says("log.txt", "weights read")),
    ("held-out curve before training", _says("curve.jsonl", "\n")),
    ("first step, logged", _says("metrics.jsonl", "\n")),
)
"""What each part ends with, seen in the run's folder; parts follow one another in this order."""


def launch(work: Path, seed: int, *more: str) -> list[str]:
    paths = (f"paths.runs={work / 'runs'}", f"paths.cache={work / 'cache'}")
    return [sys.executable, str(ROOT / "launch.py"), f"study={STUDY}", f"seed={seed}", "tracking=none", *paths, *more]


def quiet(command: list[str]) -> float:
    """Seconds of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as said:  # a pipe would be read until the process server has let go of it
        begin = time.perf_counter()
        ended = subprocess.run(command, stdout=said, stderr=said, check=False)  # noqa: S603
        seconds = time.perf_counter() - begin
        if ended.returncode:
            said.seek(0)
            sys.exit(f"{said.read()[-2000:]}\n{' '.join(command)} ended with code {ended.returncode}")
    return seconds


def watched(command: list[str], study: Path) -> dict[str, float]:
    """Seconds of each part of a launch that makes one new run."""
    before, seen = set(study.glob("*/")), dict[str, float]()
    begin = last = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        run: Path | None = None
        while len(seen) < len(MARKS):
            now = time.perf_counter()
            if process.poll() is not None or now - begin > PATIENCE_SECONDS:
                process.kill()
                sys.exit(f"the launch did not come to its first step; look into {run or study}")
            run = run or next((path for path in study.glob("*/") if path not in before), None)
            while run and len(seen) < len(MARKS) and MARKS[len(seen)][1](run):
                name = MARKS[len(seen)][0]
                seen[name], last = now - last, now
            time.sleep(POLL_SECONDS)
        process.terminate()  # the run saves and stops
        process.wait()
    return {**seen, "total": last - begin}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def main(repeats: int, output: Path, work: Path) -> None:
    print("warming up: text, base model, its evaluation", flush=True)
    quiet(launch(work, 1))
    rows: list[dict[str, float]] = []
    first = max(int(time.time()), 2)  # seeds no earlier call in the same folder has had
    for number in range(repeats):
        row = watched(launch(work, first + number), work / "runs" / STUDY)
        # These two are parts of the launcher's, each timed as a command of its own that does no more.
        row["of the launcher: interpreter and compose (--cfg job)"] = quiet(launch(work, 1, "--cfg", "job"))
        row["of the launcher: until the plan is shown (dry_run)"] = quiet(launch(work, first + number, "dry_run=true"))
        rows.append(row)
        print(f"[{number + 1}/{repeats}] {row['total']:.2f} s", flush=True)
    middle = medians(rows)
    for name, seconds in middle.items():
        print(f"{name:55} {seconds:7.3f} s")
    report: dict[str, Any] = {
        "command": f"python bench/start_up.py --repeats {repeats}",
        "launch": f"python launch.py study={STUDY} seed=<new> tracking=none",
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": usable_cores()},
        "load_after": round(os.getloadavg()[0], 2),
        "medians": middle,
        "single": [{name: round(seconds, 3) for name, seconds in row.items()} for row in rows],
    }
    write_json(output, report)
    print(f"Written to {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="launches that are timed (default 5)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "start-up.json")
    parser.add_argument("--work", type=Path, help="folder to keep text and base model in; a temporary one otherwise")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-start-") as temporary:
        main(asked.repeats, asked.output, (asked.work or Path(temporary)).absolute())

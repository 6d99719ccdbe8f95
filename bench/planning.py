"""What planning costs: whole `launch.py -m … dry_run=true` commands of 36 and of 3,600 runs.

    python bench/planning.py

3,600 is 36 with a hundred seeds each, or as many combinations of groups' choices. Beside the wall time is the time that
this process and its children had on a CPU, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cpt.files import write_json
from cpt.processes import usable_cores

ROOT = Path(__file__).parents[1]
FACTORIAL = ["model=l3,l2,v7", "data=mono,bi", "code=true,false", "langcat=alt,sel,stag"]
STUDIES: dict[str, tuple[int, list[str]]] = {
    "36 runs": (36, FACTORIAL),
    "3,600 runs: 36 with 100 seeds": (3600, [*FACTORIAL, "seed=range(1,101)"]),
    "3,600 runs: 720 combinations of groups, 5 learning rates": (
        3600,
        [
            *FACTORIAL,
            "mixing=explicit,proportional,temperature,unimax",
            "schedule=study,cosine,linear,constant,infinite",
            "train.lr=1e-3,2e-3,3e-3,4e-3,5e-3",
        ],
    ),
}


def planned(arguments: list[str], runs: int, work: Path) -> dict[str, float]:
    """Seconds of one command, which must plan that many runs."""
    paths = (f"paths.runs={work / 'runs'}", f"paths.cache={work / 'cache'}")
    command = [sys.executable, str(ROOT / "launch.py"), "-m", *arguments, "study=planned", "dry_run=true", *paths]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        sys.exit(f"{ended.stderr[-2000:]}\n{' '.join(command)} ended with code {ended.returncode}")
    with (work / "runs" / "planned" / "plan.csv").open(encoding="utf-8", newline="") as file:
        if (found := sum(1 for _ in csv.DictReader(file))) != runs:
            sys.exit(f"{' '.join(command)} planned {found} runs instead of {runs}")
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall_seconds": wall, "cpu_seconds": used}


def main(repeats: int, scale: str, output: Path) -> None:
    report: dict[str, Any] = {
        "command": f"python bench/planning.py --repeats {repeats} --scale {scale}",
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": usable_cores()},
        "studies": {},
    }
    for name, (runs, arguments) in STUDIES.items():
        rows = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(prefix="bench-planning-") as work:
                rows.append(planned([*arguments, f"scale={scale}"], runs, Path(work)))
        middle = {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        print(f"{name:58} {middle['wall_seconds']:7.2f} s, {middle['cpu_seconds']:7.2f} s of CPU", flush=True)
        single = [{key: round(value, 2) for key, value in row.items()} for row in rows]
        report["studies"][name] = {"launch": " ".join(arguments), "median": middle, "single": single}
    report["most_memory_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    report["load_after"] = round(os.getloadavg()[0], 2)
    write_json(output, report)
    print(f"Written to {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="commands of each kind (default 3)")
    parser.add_argument("--scale", default="toy", choices=("toy", "paper"), help="paper asks the hub for its files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "planning.json")
    asked = parser.parse_args()
    main(asked.repeats, asked.scale, asked.output)

"""What the report costs: written, opened in Chromium and sorted there, for a study of 36 runs and one of 1,000.

    python bench/report.py

The studies are simulated (tests/results/simulated_study.py): every run has 168 scores and 150 steps of training. Times
of the browser are its own: until the page can be used, until something is seen, and from a click to the next frame.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import machine, shown

from cpt.files import write_json

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "results"))

FRAME = "requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)))"
ACTIONS = {
    "sort_seconds": "document.querySelectorAll('#summary thead button')[6].click()",
    "filter_seconds": "document.querySelector('#filter input[value=mono]').click()",
    "open_heat_map_seconds": "document.querySelectorAll('#languages details')[3].open = true",
}
"""Of each the time until its change is seen: a click on a column of the comparison, on the filter, on a measure."""


def opened(page: Path, work: Path) -> dict[str, float]:
    from browser import chromium

    with chromium(work) as driver:
        begin = time.perf_counter()
        driver.get(page.as_uri())
        found = {"open_seconds": time.perf_counter() - begin}
        timing = driver.execute_script(
            "const [page] = performance.getEntriesByType('navigation');"
            "const [paint] = performance.getEntriesByName('first-contentful-paint');"
            "return [page.domInteractive, paint ? paint.startTime : NaN, document.getElementsByTagName('*').length]"
        )
        found |= {"interactive_seconds": timing[0] / 1000, "first_paint_seconds": timing[1] / 1000}
        driver.execute_script("document.getElementById('summary').scrollIntoView()")
        time.sleep(1)  # what comes near is made
        for name, action in ACTIONS.items():
            script = f"const done = arguments[0]; const begin = performance.now(); {action}; {FRAME}"
            found[name] = driver.execute_async_script(script) / 1000
    return found | {"elements": timing[2]}


def measured(runs: int, repeats: int, work: Path) -> dict[str, Any]:
    from simulated_study import write_study

    from cpt.results.report.page import write_report

    study = write_study(work / f"study-{runs}", runs)
    wall, used = time.perf_counter(), time.process_time()
    page = write_report(study, study.name, "paper", {})
    found = {"write_seconds": time.perf_counter() - wall, "write_cpu_seconds": time.process_time() - used}
    found["megabytes"] = page.stat().st_size / 1e6
    rows = []
    for number in range(repeats):
        profile = work / f"browser-{runs}-{number}"
        profile.mkdir()
        rows.append(opened(page, profile))
    return {name: round(value, 2) for name, value in found.items()} | {
        name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]
    }


def main(sizes: list[int], repeats: int, output: Path) -> None:
    report: dict[str, Any] = {"command": f"python bench/report.py {' '.join(shown(sys.argv[1:]))}".strip()}
    report |= {"machine": machine(), "runs": {}}
    for runs in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-report-") as work:
            report["runs"][str(runs)] = found = measured(runs, repeats, Path(work))
        print(f"{runs} runs: " + ", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
    write_json(output, report)
    print(f"Written to {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[36, 1000], metavar="RUNS")
    parser.add_argument("--repeats", type=int, default=3, help="times each page is opened (default 3)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "report.json")
    asked = parser.parse_args()
    main(asked.sizes, asked.repeats, asked.output)

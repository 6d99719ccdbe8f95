"""Read the run folders of a study, in one place for table, report and terminal.

A run's folder holds `status.json` from the moment it is planned, `metrics.jsonl` and `curve.jsonl` while it trains,
`ledger.json` when it has trained, and `results.jsonl` with the marker `evaluate.done` when it is finished. Untouched
base models have folders of the same kind. All but the status may be absent.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cpt.errors import UserError
from cpt.files import read_json, read_lines
from cpt.saved_config import CONFIG, read_yaml

STATUS, FINISHED, RESULTS = "status.json", "evaluate.done", "results.jsonl"
METRICS, CURVE, LEDGER, PLAN = "metrics.jsonl", "curve.jsonl", "ledger.json", "plan.csv"
TOY = "toy"


@dataclass(frozen=True)
class RunFolder:
    path: Path
    run: str
    run_id: str
    state: str
    """From `status.json`; the marker, not the state, decides whether a run is finished."""
    stage: str
    step: int
    steps: int
    updated: str
    error: str | None
    finished: bool

    @property
    def standing(self) -> str:
        """One word for where the run is: the marker first, then the status."""
        if self.finished:
            return "finished"
        return "not evaluated" if self.state == "finished" else self.state


def run_folders(study: Path) -> list[RunFolder]:
    """All run folders of a study, in order of their names."""
    if not study.is_dir():
        return []
    folders = (path for path in sorted(study.iterdir()) if not path.name.startswith(".") and path.is_dir())
    return [_read(path) for path in folders if (path / STATUS).exists() or (path / FINISHED).exists()]


def _read(path: Path) -> RunFolder:
    status = _status(path / STATUS)
    return RunFolder(
        path=path,
        run=status.get("run") or path.name,
        run_id=status.get("run_id") or path.name,
        state=status.get("state") or "unknown",
        stage=status.get("stage") or "",
        step=status.get("step") or 0,
        steps=status.get("steps") or 0,
        updated=status.get("updated") or "",
        error=status.get("error"),
        finished=(path / FINISHED).exists(),
    )


def _status(path: Path) -> dict[str, Any]:
    """The content of a status file; empty if it is damaged, because scores do not depend on it."""
    try:
        status = read_json(path)
    except (UserError, FileNotFoundError):
        return {}
    return status if isinstance(status, dict) else {}


def read_losses(folder: Path) -> list[tuple[int, float]]:
    """Training loss by step; a resumed run's log holds each step once."""
    lines = read_lines(folder / METRICS)
    return [(int(line["step"]), float(line["loss"])) for line in lines if math.isfinite(line["loss"])]


def read_curve(folder: Path, role: str) -> list[tuple[int, float]]:
    """Mean bits per byte of a role's languages while the run trained."""
    return read_curves(folder).get(role, [])


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Mean bits per byte of each role's languages while the run trained."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in read_lines(folder / CURVE):
        for role, value in line["mean"].items():
            curves.setdefault(role, []).append((int(line["step"]), float(value)))
    return curves


def read_ledger(folder: Path) -> dict[str, Any]:
    """What the run consumed; empty while it has not trained, and for base models."""
    path = folder / LEDGER
    ledger: dict[str, Any] = read_json(path) if path.exists() else {}
    return ledger


def read_plan(study: Path) -> list[dict[str, str]]:
    """The rows of the study's plan, empty when it has none."""
    path = study / PLAN
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]


def scale_of(study: Path) -> str:
    """The scale of a study's runs; toy if any run is, so that no toy number is taken for a real one."""
    scale = TOY
    for path in sorted(study.glob(f"*/{CONFIG}")):
        scale = _saved_scale(path)
        if scale == TOY:
            break
    return scale


def _saved_scale(path: Path) -> str:
    """The scale that a saved configuration names."""
    try:
        config = read_yaml(path)
    except yaml.YAMLError:
        config = None
    scale = config.get("scale") if isinstance(config, dict) else None
    if not isinstance(scale, str):
        raise UserError(f"{path} is damaged, it names no scale; remove the folder")
    return scale


def labels(runs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The label of each run by run id: its readable name, or the id if several runs share the name."""
    names = {run_id: run for run, run_id in runs}
    shared = Counter(names.values())
    return {run_id: run if shared[run] == 1 else run_id for run_id, run in names.items()}

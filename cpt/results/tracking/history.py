"""The values of a run that are mirrored, and their names: the same live and from disk."""

from __future__ import annotations

import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

from cpt.files import read_lines
from cpt.results.rows.run_folders import CURVE, METRICS, RESULTS, read_ledger

Values = dict[str, float]

STEP_NUMBERS = ("loss", "lr", "gradient_norm", "tokens", "tokens_per_second", "seconds", "waited", "memory", "mfu")
"""Values of a line of `metrics.jsonl`; `mfu` only where the device's peak is known."""
CURVE_NUMBERS = ("distance", "relative_distance")
BITS, LOSS, MEAN = "bits_per_byte", "loss", "mean"
LEDGER_NUMBERS = ("tokens_seen", "tokens_unique", "epochs", "flops", "trainable_parameters", "seconds")


class History:
    """Reads the steps of a run from its log and its curve, each step once.

    The curve has its point before the log has the step's line, so a step is complete when it is in the log.
    """

    def __init__(self, folder: Path) -> None:
        self._metrics, self._curve = Tail(folder / METRICS), Tail(folder / CURVE)
        self._points: dict[int, Values] = {}
        """Points of the curve that wait for their step's line in the log."""

    def new(self) -> list[tuple[int, Values]]:
        """The steps since the last call, in order; step 0 is the curve's point before training."""
        lines = {int(line["step"]): of_metrics(line) for line in self._metrics.new()}
        self._points |= {int(line["step"]): of_curve(line) for line in self._curve.new()}
        complete = sorted(lines.keys() | {0} & self._points.keys())
        return [(step, lines.get(step, {}) | self._points.pop(step, {})) for step in complete]


class Tail:
    """Reads the complete lines of a growing file, each once."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(end)
        return [json.loads(line) for line in whole.split(b"\n") if line]


def of_metrics(line: dict[str, Any]) -> Values:
    values = {name: line[name] for name in STEP_NUMBERS if name in line}
    return values | {f"{LOSS}/{source}": loss for source, loss in line.get("sources", {}).items()}


def of_curve(line: dict[str, Any]) -> Values:
    """Held-out bits per byte of each language and each role's mean; code is a role with itself as only language."""
    bits = line.get("bits_per_byte", {}) | line.get("mean", {})
    values = {f"{BITS}/{name}": value for name, value in bits.items()}
    return values | {name: line[name] for name in CURVE_NUMBERS if name in line}


def summary_of(folder: Path) -> Values:
    """Every score, the mean of each measure by role, and the totals of the run's ledger.

    Scores have names like `flores200/sound/en-x/zul_Latn/chrf++`, means like `mean/flores200/sound/en-x/train/chrf++`.
    A base model of several categories has no means, for a language's role differs between them.
    """
    rows = read_lines(folder / RESULTS)
    values: Values = {_name(row, row["language"]): row["value"] for row in rows}
    if len({row["langcat"] for row in rows}) == 1:
        groups: dict[str, list[float]] = {}
        for row in rows:
            groups.setdefault(mean_name(row, row["role"]), []).append(row["value"])
        values |= {name: statistics.fmean(group) for name, group in groups.items()}
    ledger = read_ledger(folder)
    return values | {f"ledger/{name}": ledger[name] for name in LEDGER_NUMBERS if name in ledger}


def mean_name(measure: Any, role: str) -> str:
    """Name of a measure's mean over the languages of a role; a measure is task, direction, protocol and metric."""
    return f"{MEAN}/{_name(measure, role)}"


def _name(row: Any, who: str) -> str:
    parts = (row["task"], row["protocol"], row["direction"], who, row["metric"])
    return "/".join(part for part in parts if part)


def digest(values: Values) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

"""Writes study folders in the real layout, for the tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpt.evals.rows import Row

SIB200 = ("sib200", "", "sound", "accuracy")
BITS = ("bpb", "", "sound", "bits_per_byte")


def row(run_id: str, language: str, value: float, measure: tuple[str, str, str, str] = SIB200, **changed: Any) -> Row:
    """A row of model l3 and category alt, untouched when the run's name says base; anything else by name."""
    base = "Base" in run_id
    values: dict[str, Any] = {
        "run": run_id.rpartition("-")[0],
        "run_id": run_id,
        "model": "l3",
        "data": "base" if base else "mono",
        "code": False,
        "langcat": "alt",
        "seed": None if base else 17,
        "language": language,
        "role": "train",
        "value": value,
        "n": 204,
        "ci_low": value - 0.05,
        "ci_high": value + 0.05,
    }
    values |= dict(zip(("task", "direction", "protocol", "metric"), measure, strict=True))
    return Row(**(values | changed))


def write_run(study: Path, run_id: str, rows: list[Row] | None = None, **status: Any) -> Path:
    """A run's folder: finished when it has rows, else only its status."""
    folder = study / run_id
    folder.mkdir(parents=True)
    told = {
        "state": "planned" if rows is None else "finished",
        "stage": "train" if rows is None else "evaluate",
        "step": 0,
        "steps": 150,
        "updated": "2026-01-02T03:04:05+00:00",
        "error": None,
        "run": run_id.rpartition("-")[0],
        "run_id": run_id,
    }
    (folder / "status.json").write_text(json.dumps(told | status), encoding="utf-8")
    if rows is not None:
        write_rows(folder, rows)
        (folder / "evaluate.done").touch()
    return folder


def write_rows(folder: Path, rows: list[Row]) -> None:
    lines = [json.dumps(item.record()) + "\n" for item in rows]
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def write_losses(folder: Path, losses: list[tuple[int, float]]) -> None:
    rest = {"lr": 0.001, "gradient_norm": 1.0, "tokens": 2048, "tokens_per_second": 9000.0}
    lines = [json.dumps({"step": step, "loss": loss} | rest) + "\n" for step, loss in losses]
    (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")


def write_curve(folder: Path, means: list[dict[str, float]]) -> None:
    """Held-out bits per byte every 50 steps."""
    lines = [json.dumps({"step": 50 * number, "mean": mean}) + "\n" for number, mean in enumerate(means)]
    (folder / "curve.jsonl").write_text("".join(lines), encoding="utf-8")

"""A row of the plan, one for each run, and `plan.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cpt.files import write_text


@dataclass(frozen=True)
class PlanRow:
    run: str
    run_id: str
    model: str
    data: str
    code: bool
    langcat: str
    seed: int
    done: str
    """The last finished stage; empty if none is."""
    sources: int
    words: int
    """Of an epoch, without code, whose budget is in tokens."""
    tokens: int
    """Of an epoch, under the model's own tokenizer."""
    tokens_from: str
    """`counted` from shards, or `assumed` from tokens per word."""
    planned_steps: int
    published_steps: int | None
    steps_ratio: float | None
    steps_flag: str
    minutes: float | None
    """Of training, by `speed_from`; None if unknown."""
    disk_bytes: int
    """Its peak if it were the only run: its shards, and the maximum of its folder during training."""
    files: int
    """The files of that peak, including folders."""
    short: str
    """Sources that hold less than their budget, with the share that they hold."""
    assumption: str
    """The assumption behind the token count, where tokens were not counted."""
    devices: int | None = None
    """GPUs of its training."""
    device_hours: float | None = None
    """Of its whole training, including what is finished."""
    cost: float | None = None
    """The charge for its device-hours on a cluster, in `cost_unit`."""
    cost_unit: str = ""
    speed_from: str = ""
    """`measured (3 runs)` from earlier runs of the kind, or `assumed: 440 TFLOP/s sustained` from the hardware file."""


def write_plan(study: Path, rows: list[PlanRow]) -> Path:
    """Write `plan.csv`: these rows, after the rows of other launches whose runs have a folder."""
    path = study / "plan.csv"
    new = {row.run_id: _cells(row) for row in rows}
    columns = [field.name for field in fields(PlanRow)]
    old: list[dict[str, Any]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            # Runs that were only planned are dropped: this plan replaces theirs.
            old = [row for row in csv.DictReader(file) if row["run_id"] not in new and (study / row["run_id"]).is_dir()]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*old, *new.values()])
    write_text(path, text.getvalue())
    return path


def _cells(row: PlanRow) -> dict[str, Any]:
    cells = {name: "" if value is None else value for name, value in asdict(row).items()}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in cells.items()}

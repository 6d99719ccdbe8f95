"""How often a job has started without getting anywhere: a cluster that puts a job back must not do so for ever.

Time limits are counted by submitit (`max_num_timeout`) and preemptions by nobody, rightly: what counts is whether a
start brought the run further than the one before.
"""

from __future__ import annotations

from pathlib import Path

from cpt.files import read_json, write_json

FRUITLESS = 3
"""So many starts of one job at the same point are enough."""


def fruitless(folder: Path, attempt: str, job: str) -> int:
    """Note a start of a run's job; how many there have been, with this one, since it last came any further."""
    path = folder / "attempts.json"
    before = read_json(path) if path.exists() else {}
    here = {"job": job, "progress": progress(folder)}
    again = {key: before.get(key) for key in here} == here
    starts = [*(before["starts"] if again else []), attempt]
    write_json(path, {**here, "starts": starts})
    return len(starts)


def progress(folder: Path) -> list[str]:
    """How far a run is, as far as starting anew cannot take it back: its checkpoints, markers and answers."""
    steps = sorted(path.name for path in folder.glob("checkpoints/step-*"))
    markers = sorted(path.name for path in folder.glob("*.done"))
    answers = sum(path.stat().st_size for path in folder.glob("items/*"))
    return [*steps[-1:], *markers, f"{answers} bytes of answers"]

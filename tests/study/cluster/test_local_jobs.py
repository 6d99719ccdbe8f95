"""A study by a cluster's way on this machine: submitit's own executor, where there is no SLURM."""

from __future__ import annotations

import json
from pathlib import Path

from launching import LEAST, finish, fork, start
from test_end_to_end import table

JOBS = ["data=mono", *LEAST, "evals=[bpb]", "hardware=local_jobs"]


def test_jobs_wait_for_each_other_and_a_failed_one_stops_only_what_needs_it(cache: Path, tmp_path: Path) -> None:
    """Data is made, the base model evaluated, a training fails, its evaluation never starts, the rest is compared."""
    planned = finish(fork(tmp_path, cache, *JOBS, "dry_run=true"))
    assert "Jobs: prepare, evaluate, train, evaluate-2, compare" in planned
    study = tmp_path / "runs/toy"
    assert "--dependency='afterok:<train>'" in (study / ".jobs/dry-run/evaluate-2.sh").read_text()
    [name] = [line.split(",")[1] for line in (study / "plan.csv").read_text().splitlines()[1:]]
    (study / name).mkdir()
    (study / name / "checkpoints").write_text("a file where training wants a folder")

    output = finish(start(tmp_path, cache, *JOBS), code=1)
    assert f"failed {name}: NotADirectoryError" in output
    assert {row["data"] for row in table(study)} == {"base"}
    assert not (study / name / "evals.jsonl").exists()
    states = {
        stage: json.loads((study / ".jobs" / stage / "status.json").read_text()) for stage in ("prepare", "compare")
    }
    assert {stage: status["state"] for stage, status in states.items()} == {
        "prepare": "finished",
        "compare": "finished",
    }
    assert len(list((study / ".jobs").glob("code-*"))) == 1, "the code they ran"

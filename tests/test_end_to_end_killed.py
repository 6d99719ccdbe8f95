"""Launches killed, resumed, spread over processes, and failing, from the command line on: the same bits in the end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from launching import LEAST, Launch, finish, fork, start
from waiting import PATIENCE, wait_until

from cpt.files import read_lines


def wait_for_steps(process: Launch, runs: Path, name: str, steps: int) -> Path:
    """The folder of a run once it has logged some steps."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        for path in runs.glob(f"*/{name}-*/metrics.jsonl"):
            if len(read_lines(path)) >= steps:
                return path.parent
        time.sleep(0.02)
    pytest.fail(f"{name} never came to step {steps}: {process.communicate()[0]}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def outcome(folder: Path) -> dict[str, object]:
    """All that a run leaves behind but its times: weights, rows, losses, curve and ledger."""
    ledger = json.loads((folder / "ledger.json").read_text())
    del ledger["seconds"]
    timed = ("seconds", "waited", "tokens_per_second", "memory")
    metrics = [{k: v for k, v in line.items() if k not in timed} for line in read_lines(folder / "metrics.jsonl")]
    files = [folder / "model/model.safetensors", folder / "results.jsonl", folder / "curve.jsonl"]
    return {"ledger": ledger, "metrics": metrics, **{path.name: path.read_bytes() for path in files}}


def in_one_go(folder: Path, cache: Path, *how: str) -> Path:
    """The folder of a small run that nothing disturbed."""
    finish(fork(folder, cache, *LEAST, "evals=[bpb]", *how))
    [run] = folder.glob("runs/*/L3-Mono-Alt-*")
    return run


@pytest.fixture(scope="module")
def straight(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that one process trained in one go."""
    return in_one_go(tmp_path_factory.mktemp("straight"), cache)


def test_killed_anywhere_it_goes_on_to_the_same_bits(straight: Path, cache: Path, tmp_path: Path) -> None:
    """Killed with SIGKILL twice, launcher and worker, and stopped politely once, at steps nobody chose; its mirror too.

    That two processes under ZeRO-3 do so too is seen where a node is lost (tests/study/cluster/test_slurm.py).
    """
    broken, command = tmp_path / "broken", [*LEAST[:-1], "tracking=trackio", "evals=[bpb]"]
    broken.mkdir()

    process: Launch = start(broken, cache, *command)
    folder = wait_for_steps(process, broken / "runs", "L3-Mono-Alt", 7)
    worker = json.loads((folder / "status.json").read_text())["pid"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not alive(worker))

    process = fork(broken, cache, *command)
    wait_for_steps(process, broken / "runs", "L3-Mono-Alt", 14)
    worker = json.loads((folder / "status.json").read_text())["pid"]
    os.kill(worker, signal.SIGKILL)
    assert "killed by SIGKILL" in finish(process, code=1)

    process = fork(broken, cache, *command)
    wait_for_steps(process, broken / "runs", "L3-Mono-Alt", 21)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "stopped"
    assert "launch again to resume" in status["error"]
    stopped_at = len(read_lines(folder / "metrics.jsonl"))
    assert (folder / f"checkpoints/step-{stopped_at:08d}/checkpoint.json").exists(), "it did not save before it stopped"
    assert not (folder / "train.done").exists()

    finish(fork(broken, cache, *command))
    assert outcome(folder) == outcome(straight)
    assert not (folder / "checkpoints").exists()
    with closing(sqlite3.connect(broken / "runs/.trackio/toy.db")) as database:
        query = "SELECT step, metrics ->> 'loss' FROM metrics WHERE run_id = ? AND step > 0 AND metrics ->> 'loss' > 0"
        mirrored = database.execute(query, (folder.name,)).fetchall()
    told = [(line["step"], line["loss"]) for line in read_lines(folder / "metrics.jsonl")]
    assert sorted(mirrored) == told, "a step is missing from the mirror, or there twice"


def test_two_processes_learn_what_one_learns(straight: Path, cache: Path, tmp_path: Path) -> None:
    """Where a run trained is recorded, not part of what it is: the same name, and the same losses to rounding."""
    two = in_one_go(tmp_path, cache, "hardware.engine=fsdp2", "hardware.processes=2", "hardware.micro_batch=2")
    assert two.name == straight.name
    assert json.loads((two / "ledger.json").read_text())["processes"] == 2
    one_s, two_s = ([line["loss"] for line in read_lines(run / "metrics.jsonl")] for run in (straight, two))
    assert two_s == pytest.approx(one_s, rel=1e-3)


def test_a_run_that_dies_takes_no_other_down_and_is_tried_again(cache: Path, tmp_path: Path) -> None:
    arguments = ["-m", "data=mono,bi", *LEAST, "evals=[bpb]"]
    process = fork(tmp_path, cache, *arguments)
    folder = wait_for_steps(process, tmp_path / "runs", "L3-Mono-Alt", 3)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    output = finish(process, code=1)
    assert "L3-Mono-Alt" in output
    assert "killed by SIGKILL (out of memory?)" in output
    assert next((tmp_path / "runs").glob("*/L3-Bi-Alt-*/evaluate.done")).exists()
    assert "killed by SIGKILL" in (tmp_path / "runs/toy/report.html").read_text(encoding="utf-8")

    output = finish(fork(tmp_path, cache, *arguments))
    assert "2 finished already, skipped." in output
    assert (folder / "evaluate.done").exists()

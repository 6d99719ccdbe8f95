"""What `cpt status` says of folders whose processes are gone, slow, or were cut off while writing."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from waiting import PATIENCE, wait_until

from cpt.cli import main as cpt
from cpt.commands.status import watch_status
from cpt.study.cluster.job_record import SubmittedJob, record_jobs
from cpt.study.cluster.run_states import run_states
from cpt.study.execute.stages import wait_for_evaluation
from cpt.study.state.run_status import Reporter, Status, read_status, write_status

EVALUATE = """
import sys, time
from pathlib import Path
from cpt.study.state.lease import Lease
from cpt.study.state.run_status import Reporter
folder = Path(sys.argv[1])
with Lease(folder, "process"):
    Reporter(folder, "L3-Bi-Alt", folder.name).stage("evaluate")
    print("evaluating", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/toy"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def shown(study: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `cpt status` prints, and its exit code."""

    def show(code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cpt(["--runs", str(study.parent), "status"])
        assert ended.value.code == code
        return capsys.readouterr().out

    return show


def add(study: Path, run_id: str, state: str, stage: str = "train", **facts: Any) -> Path:
    write_status(study / run_id, Status(run_id.rpartition("-")[0], run_id, state, stage, **facts))
    return study / run_id


def leased(folder: Path, age: float) -> None:
    """A lease of a process of another machine."""
    (folder / "lease.json").write_text(json.dumps({"owner": "job 7_1", "host": "node9", "token": "x", "place": "y"}))
    renewed = time.time() - age
    os.utime(folder / "lease.json", (renewed, renewed))


def queued(study: Path, elements: list[str], by: str = "", stage: str = "train") -> None:
    by = by or getpass.getuser()
    record_jobs(study, [SubmittedJob(stage, stage, "7", elements, bool(elements), "slurm", "", by)])


def in_queue(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A program in the place of squeue, which answers this."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/squeue").write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    (folder / "bin/squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


def states(study: Path) -> dict[str, tuple[str, str, str]]:
    told = {line.run_id: (line.state, line.job, line.error) for line in run_states(study)[0]}
    return {run: (state, job, re.sub(r"\d+ s", "N s", error)) for run, (state, job, error) in told.items()}


def test_a_damaged_status_is_shown_and_hides_no_other(study: Path, shown: Callable[..., str]) -> None:
    add(study, "L3-Bi-Alt-1", "finished")
    (study / "L3-Mono-Alt-2").mkdir()
    (study / "L3-Mono-Alt-2/status.json").write_text("null")
    assert read_status(study / "L3-Mono-Alt-2") is None
    said = shown()
    assert "1 finished, 1 unreadable" in said
    assert "L3-Mono-Alt-2" in said


def test_a_status_of_another_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"run": "r", "run_id": "r-1", "state": "finished", "mood": "good"}')
    status = read_status(tmp_path)
    assert status == Status("r", "r-1", "finished")
    assert status.age == 0


@pytest.mark.parametrize(("stage", "state", "goes_on"), [("evaluate", "running", True), ("prepare", "failed", False)])
def test_a_process_waits_for_the_first_of_its_own_start(tmp_path: Path, stage: str, state: str, goes_on: bool) -> None:
    """What an earlier start left in the status is not taken for this one's; one that has ended ends the waiting."""
    write_status(tmp_path, Status("r", "r-1", "running", "evaluate", attempt="earlier"))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait_for_evaluation, tmp_path, "now")
        time.sleep(0.3)
        assert not waiting.done()
        write_status(tmp_path, Status("r", "r-1", state, stage, attempt="now"))
        assert waiting.result(timeout=PATIENCE) is goes_on


def test_a_long_step_looks_alive_until_it_ends(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, "r", "r-1", heartbeat=0.01)
    reporter.stage("train", 10)
    written = {(tmp_path / "status.json").stat().st_mtime_ns}

    def written_four_times() -> bool:
        written.add((tmp_path / "status.json").stat().st_mtime_ns)
        return len(written) == 4

    wait_until(written_four_times)
    reporter.end("stopped", "asked to")
    last = (tmp_path / "status.json").read_text()
    time.sleep(0.1)
    assert (tmp_path / "status.json").read_text() == last
    assert json.loads(last)["state"] == "stopped"


def test_a_killed_evaluation_is_lost_at_once(study: Path, shown: Callable[..., str]) -> None:
    folder = study / "L3-Bi-Alt-1"
    process = subprocess.Popen([sys.executable, "-c", EVALUATE, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "evaluating\n"
    assert "1 running" in shown()
    process.kill()
    process.communicate()
    said = shown()
    assert "1 lost" in said
    assert "its process is dead; launch again to resume" in said


def test_elsewhere_the_lease_decides_not_the_clock_of_the_node(study: Path) -> None:
    for name, age in (("A-1", 20), ("B-2", 80)):
        folder = add(study, name, "running")
        leased(folder, age)
        status = json.loads((folder / "status.json").read_text())
        (folder / "status.json").write_text(json.dumps({**status, "updated": "2020-01-01T00:00:00+00:00"}))
    found = states(study)
    assert found["A-1"][0] == "running"
    assert found["B-2"][0] == "lost"
    assert found["B-2"][2] == "no heartbeat for N s; launch again to resume"


def test_the_queue_says_what_became_of_jobs_that_nobody_works_on(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = ["A-0", "B-1", "C-2", "D-3", "E-4"]
    for run in runs[:2]:
        add(study, run, "submitted")
    for run in runs[2:]:
        leased(add(study, run, "running"), 80)
    queued(study, runs)
    in_queue(monkeypatch, study, "7_1|PENDING\n7_2|PENDING\n7_3|RUNNING")
    assert states(study) == {
        "A-0": ("lost", "7_0", "its job is gone; launch again"),
        "B-1": ("submitted", "7_1", "pending"),
        "C-2": ("submitted", "7_2", "pending; resumes when its job starts again"),
        "D-3": ("lost", "7_3", "no heartbeat for N s, though its job is running"),
        "E-4": ("lost", "7_4", "no heartbeat for N s; launch again to resume"),
    }


def test_between_its_stages_a_run_is_not_lost(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its training's job is gone, for it has ended; that of its evaluation waits."""
    add(study, "A-0", "submitted", job="6_0")
    record_jobs(study, [SubmittedJob("t", "train", "6", ["A-0"], True, "slurm", "", getpass.getuser())])
    queued(study, ["A-0"], stage="evaluate")
    in_queue(monkeypatch, study, "7_0|PENDING")
    assert states(study) == {"A-0": ("submitted", "7_0", "pending")}


def test_jobs_of_others_and_a_queue_that_does_not_answer_leave_states_as_they_are(
    study: Path, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(study, "A-0", "submitted")
    queued(study, ["A-0"], by="somebody else")
    in_queue(monkeypatch, study, "")
    assert states(study)["A-0"][0] == "submitted"
    add(study, "B-0", "submitted")
    queued(study, ["B-0"])
    (study / "bin/squeue").write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    said = shown()
    assert "2 submitted" in said
    assert "The queue does not answer, so states are as the files say: squeue" in said
    assert "no controller" in said


def test_a_damaged_record_of_jobs_hides_no_run(study: Path, shown: Callable[..., str]) -> None:
    add(study, "A-0", "submitted")
    (study / ".jobs").mkdir()
    (study / ".jobs/jobs.json").write_text("[")
    said = shown()
    assert "1 submitted" in said
    assert "jobs.json is damaged" in said


def test_a_training_shows_its_speed_and_the_time_left(study: Path, shown: Callable[..., str]) -> None:
    folder = add(study, "A-0", "running", step=600, steps=1_000, host="node9")
    leased(folder, 1)
    lines = [{"step": step, "tokens_per_second": 9.0 if step < 500 else 4321.0, "seconds": 3} for step in range(601)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6')
    said = shown()
    for word in ("600/1,000 60%", "4,321", "20:00", "node9"):
        assert word in said


def test_what_failed_is_shown_with_the_end_of_its_log(study: Path, shown: Callable[..., str]) -> None:
    folder = add(study, "A-0", "failed", error="UserError: no such file\nmore of it")
    (folder / "log.txt").write_text("".join(f"line {number}\n" for number in range(50)))
    add(study / ".jobs", "prepare", "finished", "prepare")
    said = shown(code=1)
    assert "UserError: no such file" in said
    assert "more of it" not in said
    assert "line 49" in said
    assert "line 41" not in said
    assert said.splitlines()[2].startswith("prepare")
    assert said.splitlines()[-1] == "1 failed"


def test_watching_ends_when_nothing_is_to_change(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leased(add(study, "A-0", "running"), 1)
    ending = threading.Timer(0.5, lambda: add(study, "A-0", "finished"))
    ending.start()
    assert watch_status(study, Console(width=200), seconds=0.05) == 0
    ending.join()
    said = capsys.readouterr().out
    assert said.startswith("1 running\nStudy toy\n")
    assert said.endswith("1 finished\n")

"""What `cpt logs` finds of a run's words, and whom `cpt cancel` stops: real processes, and programs for SLURM's."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from waiting import PATIENCE

from cpt.cli import main as cpt
from cpt.commands.logs import show_logs, tail
from cpt.study.cluster.job_record import SubmittedJob, record_jobs
from cpt.study.state.run_status import Status, now, read_status, write_status

WORK = """
import signal, sys, time
from pathlib import Path
from cpt.study.state.lease import Lease
from cpt.study.state.run_status import Reporter
folder, owner = Path(sys.argv[1]), sys.argv[2]
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with Lease(folder, owner):
    if folder.parent.name == "toy":
        reporter = Reporter(folder, "r", folder.name)
        reporter.stage("train", 10)
    print("at work", flush=True)
    while not asked:
        time.sleep(0.05)
    if folder.parent.name == "toy":
        reporter.end("stopped", "asked to stop; saved")
"""
SQUEUE = """#!/bin/sh
cat "$QUEUE"
"""
SCANCEL = """#!/bin/sh
echo "$@" >> "$QUEUE.cancelled"
while read pid; do kill -TERM $pid; done < "$QUEUE.processes"
: > "$QUEUE"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/toy"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def command(study: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `cpt` prints, and its exit code."""

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cpt(["--runs", str(study.parent), *words])
        said = capsys.readouterr()
        assert ended.value.code == code, said
        return said.out + said.err

    return call


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in the place of SLURM's: a file is the queue, and cancelling asks processes to stop."""
    for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(tmp_path / "queue"))
    for name in ("queue", "queue.processes", "queue.cancelled"):
        (tmp_path / name).touch()
    return tmp_path / "queue"


@pytest.fixture
def working() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, owner: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", WORK, folder, owner], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def add(study: Path, run_id: str, state: str, log: str = "", **facts: Any) -> Path:
    write_status(study / run_id, Status(run_id.rpartition("-")[0], run_id, state, "train", **facts))
    if log:
        (study / run_id / "log.txt").write_text(log)
    return study / run_id


def submit(study: Path, elements: list[str], stage: str = "train", number: str = "7", by: str = "") -> None:
    by = by or getpass.getuser()
    record_jobs(study, [SubmittedJob(stage, stage, number, elements, bool(elements), "slurm", now(), by)])


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {number} {'x' * 300}\n" for number in range(9_000)))
    assert [line.split()[1] for line in tail(tmp_path / "log", 3)] == ["8997", "8998", "8999"]
    (tmp_path / "log").write_bytes(b"one\n\xff two")
    assert tail(tmp_path / "log", 5) == ["one", "\ufffd two"]


def test_logs_of_a_run_by_any_of_its_names_or_of_those_that_failed(study: Path, command: Callable[..., str]) -> None:
    add(study, "L3-Bi-Alt-11111111", "finished", "fine\n" * 9)
    add(study, "L3-Mono-Alt-22222222", "failed", "bad\nworse\nworst\n")
    for words in (["toy", "L3-Bi-Alt"], ["L3-Bi-Alt-11111111"], ["L3-B"]):
        assert command("logs", *words, "--lines", "2").count("fine") == 2
    said = command("logs", "--lines", "2")
    assert "log.txt <==\nworse\nworst\n" in said
    assert "fine" not in said
    assert "did you mean 'L3-Bi-Alt-11111111'?" in command("logs", "L3-Bi-Alt-1111112", code=2)
    assert "2 runs of toy match" in command("logs", "L3", code=2)


def test_a_job_that_died_before_its_log_is_shown_by_what_the_cluster_wrote(
    study: Path, queue: Path, command: Callable[..., str]
) -> None:
    folder = add(study, "A-0", "failed", "of an earlier start\n", job="7_0")
    os.utime(folder / "log.txt", (time.time() - 3_600,) * 2)
    submit(study, ["A-0", "B-1"])
    (study / ".submitit/7_0").mkdir(parents=True)
    (study / ".submitit/7_0/7_0_0_log.err").write_text("slurmstepd: error: no such container\n")
    (study / ".submitit/7_0/7_0_0_log.out").touch()
    said = command("logs", "A")
    assert said.index("of an earlier start") < said.index("7_0_0_log.err <==") < said.index("no such container")
    assert "log.out" not in said
    (folder / "log.txt").write_text("it has come here\n")
    os.utime(folder / "log.txt", (time.time() + 5,) * 2)
    assert "no such container" not in command("logs", "A")


def test_a_study_s_own_stage_has_a_log(study: Path, command: Callable[..., str]) -> None:
    folder = study / ".jobs/prepare"
    write_status(folder, Status("prepare", "prepare", "failed", "prepare"))
    (folder / "log.txt").write_text("disk is full\n")
    assert "disk is full" in command("logs", "prepare")


def test_following_shows_what_comes_and_ends_with_the_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = add(study, "A-0", "running", "old\nlast\n")

    def work() -> None:
        with (folder / "log.txt").open("a") as file:
            for number in range(3):
                print(f"new {number}", file=file, flush=True)
                time.sleep(0.2)
        add(study, "A-0", "failed", error="it broke")

    thread = threading.Thread(target=work)
    thread.start()
    assert show_logs(study, ["A"], 1, True, Console(width=200)) == 1
    thread.join()
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("log.txt <==")
    assert said[-4:] == ["new 0", "new 1", "new 2", "A-0 failed: it broke"]
    assert "old" not in said


def test_cancelling_a_study_takes_its_jobs_and_marks_its_runs(
    study: Path, queue: Path, command: Callable[..., str], working: Callable[..., subprocess.Popen[str]]
) -> None:
    """One is finished, one has saved when asked to, one was killed before it could, two wait, one failed."""
    runs = ["A-0", "B-1", "C-2", "D-3", "E-4", "F-5"]
    before = (add(study, "A-0", "finished") / "status.json").read_text()
    at_work = working(study / "B-1", "job 7_1")
    (study / "C-2").mkdir()
    (study / "C-2/lease.json").write_text(json.dumps({"owner": "job 7_2", "host": "node9", "token": "x"}))
    add(study, "C-2", "running")
    add(study, "D-3", "submitted")
    add(study, "E-4", "submitted")
    add(study, "F-5", "failed", error="its own")
    write_status(study / ".jobs/compare", Status("compare", "compare", "submitted"))
    submit(study, runs)
    submit(study, runs, "evaluate", "8")
    submit(study, [], "compare", "9")
    ids = [
        "7_1|RUNNING",
        "7_2|RUNNING",
        "7_3|PENDING",
        "7_4|PENDING",
        *(f"8_{n}|PENDING" for n in range(6)),
        "9|PENDING",
    ]
    queue.write_text("\n".join([*ids, "55|RUNNING"]) + "\n")
    Path(f"{queue}.processes").write_text(f"{at_work.pid}\n")
    said = command("cancel", "--yes")
    assert "Cancelled 10 jobs" in said
    assert sorted(Path(f"{queue}.cancelled").read_text().split()[1:]) == sorted(
        ["7_1", "7_2", "7_3", "7_4", *(f"8_{n}" for n in range(1, 6)), "9"]
    )
    at_work.wait(timeout=PATIENCE)
    assert (study / "A-0/status.json").read_text() == before
    told = {name: read_status(study / name) for name in [*runs[1:], ".jobs/compare"]}
    assert {name: status.state for name, status in told.items() if status} == {
        **dict.fromkeys(runs[1:5], "stopped"),
        "F-5": "failed",
        ".jobs/compare": "stopped",
    }
    cancelled = f"cancelled by {getpass.getuser()}; launch again to resume"
    assert told["D-3"].error == told["C-2"].error == cancelled
    assert told["F-5"].error == "its own"


def test_cancelling_one_run_leaves_the_others(study: Path, queue: Path, command: Callable[..., str]) -> None:
    for run in ("A-0", "B-1"):
        add(study, run, "submitted")
    submit(study, ["A-0", "B-1"])
    queue.write_text("7_0|PENDING\n7_1|PENDING\n")
    command("cancel", "B", "--yes")
    assert Path(f"{queue}.cancelled").read_text().split() == ["--quiet", "7_1"]
    assert read_status(study / "A-0").state == "submitted"
    assert read_status(study / "B-1").state == "stopped"


def test_a_whole_array_goes_by_its_number(study: Path, queue: Path, command: Callable[..., str]) -> None:
    for run in ("A-0", "B-1"):
        add(study, run, "submitted")
    submit(study, ["A-0", "B-1"])
    queue.write_text("7_0|PENDING\n7_1|PENDING\n")
    command("cancel", "--yes")
    assert Path(f"{queue}.cancelled").read_text().split() == ["--quiet", "7"]


def test_nothing_is_cancelled_unasked_or_of_others(
    study: Path, queue: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(study, "A-0", "submitted")
    submit(study, ["A-0"], by="somebody")
    said = command("cancel", "--yes")
    assert "Jobs that somebody submitted can only be cancelled by them." in said
    assert "Nothing of toy is running or in the queue." in said
    submit(study, ["A-0"], number="8")
    queue.write_text("8_0|PENDING\n")
    monkeypatch.setattr("builtins.input", lambda *_: "")
    assert "Nothing was done." in command("cancel", code=1)
    assert Path(f"{queue}.cancelled").read_text() == ""
    assert read_status(study / "A-0").state == "submitted"


def test_a_launch_on_this_machine_is_asked_to_stop(
    study: Path, command: Callable[..., str], working: Callable[..., subprocess.Popen[str]]
) -> None:
    """The launch, where the whole study is meant; the process of a run, where that one is; none needs SLURM."""
    launch, run, other = (
        working(study, "a launch"),
        working(study / "A-0", "process 1"),
        working(study / "B-1", "process 2"),
    )
    assert f"Asked process 1 (process {run.pid}) to save and stop" in command("cancel", "A", "--yes")
    assert run.wait(timeout=PATIENCE) == 0
    assert read_status(study / "A-0").error == "asked to stop; saved"
    assert launch.poll() is other.poll() is None
    assert f"Asked a launch (process {launch.pid}) to save and stop" in command("cancel", "--yes")
    assert launch.wait(timeout=PATIENCE) == 0
    assert other.poll() is None


def test_a_process_of_another_machine_is_named_with_what_to_do(study: Path, command: Callable[..., str]) -> None:
    folder = add(study, "A-0", "running")
    lease = {"owner": "process 5", "host": "laptop", "pid": 5, "token": "x", "place": "laptop"}
    (folder / "lease.json").write_text(json.dumps(lease))
    assert "process 5 runs on laptop: there, `kill 5` stops it." in command("cancel", "--yes", code=1)


def test_the_number_of_a_dead_launch_is_nobody_s(
    study: Path, command: Callable[..., str], working: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its lease names a process that has another's number by now; that one is not signalled."""
    process = working(study / "A-0", "process 1")
    lease = json.loads((study / "A-0/lease.json").read_text())
    bystander = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    (study / "A-0/lease.json").write_text(json.dumps({**lease, "pid": bystander.pid}))
    assert "Nothing of toy is running" in command("cancel", "--yes")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()

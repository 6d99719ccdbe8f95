"""How jobs end: whose fault it was, what nobody said, and when starting anew is of no use."""

from __future__ import annotations

import errno
import getpass
import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from cpt.study.cluster.job_record import SubmittedJob, record_jobs
from cpt.study.cluster.settle import settle
from cpt.study.cluster.submission import REQUEUE_LINES
from cpt.study.cluster.task import (
    MAX_STARTS,
    REQUEUE_FILE,
    fruitless_starts,
    may_resume,
    process_rank_of,
)
from cpt.study.execute.run_worker import is_machine_error
from cpt.study.state.lease import Lease
from cpt.study.state.run_status import Status, now, read_status, write_status


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, remote process exited or there was a network error"), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("HIP out of memory. Tried to allocate 2 GiB; NCCL holds 1"), False),
        (MemoryError(), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("nccl is not a number"), False),
    ],
)
def test_only_what_a_machine_did_is_tried_again(error: Exception, machine: bool) -> None:
    assert is_machine_error(error) is machine


def test_starts_that_bring_nothing_are_counted(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert [fruitless_starts(tmp_path, f"7.{n}", "7") for n in range(MAX_STARTS)] == [1, 2, 3]
    (tmp_path / "checkpoints" / "step-00000005").mkdir()
    assert fruitless_starts(tmp_path, "7.3", "7") == 1, "a step forward"
    assert fruitless_starts(tmp_path, "7.4", "7") == 2
    assert fruitless_starts(tmp_path, "8.0", "8") == 1, "another job, launched by a person"
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "one").write_text("an answer")
    assert fruitless_starts(tmp_path, "8.1", "8") == 1
    assert json.loads((tmp_path / "attempts.json").read_text())["starts"] == ["8.1"]


def run(study: Path, name: str, state: str, job: str = "") -> Path:
    folder = study / name
    folder.mkdir(parents=True)
    write_status(folder, Status(name, name, state, job=job))
    return folder


def test_what_nobody_is_at_any_more_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    study, queue = tmp_path / "toy", tmp_path / "queue"
    queue.write_text("5_1|PENDING\n5_3|COMPLETED\n")
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\ncat {queue}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:/usr/bin:/bin")
    folders = {
        "done": run(study, "done", "finished"),
        "waits": run(study, "waits", "submitted", "5_1"),
        "cancelled": run(study, "cancelled", "submitted", "5_2"),
        "killed": run(study, "killed", "running", "5_3"),
        "lives": run(study, "lives", "running", "5_4"),
        "other's": run(study, "other's", "submitted", "6"),
    }
    mine = SubmittedJob("train", "train", "5", [*folders][:5], True, "slurm", now(), getpass.getuser())
    other = SubmittedJob("train", "train", "6", ["other's"], False, "slurm", now(), "somebody else")
    record_jobs(study, [mine, other])
    said = study / ".submitit" / "5_3" / "5_3_0_log.err"
    said.parent.mkdir(parents=True)
    said.write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=5.0\n")
    with Lease(folders["lives"], "job 5_4"):
        settled = settle(study)
    assert settled.failed == ["cancelled", "killed"]
    assert settled.queued == {"waits", "other's"}
    states = {name: read_status(folder) for name, folder in folders.items()}
    assert {name: status.state for name, status in states.items() if status} == {
        "done": "finished",
        "waits": "submitted",
        "cancelled": "failed",
        "killed": "failed",
        "lives": "running",
        "other's": "submitted",
    }
    assert states["killed"] is not None
    assert str(states["killed"].error).startswith("out of memory; the last lines of")
    assert states["cancelled"] is not None
    assert str(states["cancelled"].error).startswith("it never started")


def test_processes_of_a_job_meet_where_no_other_job_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    env = SimpleNamespace(
        hostnames=["nid1", "nid2"], num_nodes=2, num_tasks=16, global_rank=9, local_rank=1, raw_job_id="4711"
    )
    process = process_rank_of(env)
    assert (process.rank, process.world_size, process.local_rank, process.attempt) == (9, 16, 1, "4711.0")
    assert os.environ["MASTER_ADDR"] == "nid1"
    port = os.environ["MASTER_PORT"]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert process_rank_of(env).attempt == "4711.1"
    assert os.environ["MASTER_PORT"] != port, "the one before may still be closing"


def test_a_job_may_go_on_after_an_announcement_or_where_slurm_is_asked() -> None:
    slurm, local = SimpleNamespace(cluster="slurm"), SimpleNamespace(cluster="local")
    assert may_resume(slurm, signal.SIGTERM), "a preemption; what was cancelled the script does not put back"
    assert may_resume(local, signal.SIGUSR2)
    assert not may_resume(local, signal.SIGTERM)


@pytest.mark.parametrize(
    ("asked", "state", "put_back"),
    [
        (True, "RUNNING", True),
        (True, "SIGNALING", True),
        (True, "COMPLETING", False),
        (True, "CANCELLED", False),
        (False, "RUNNING", False),
    ],
)
def test_the_script_puts_back_what_asked_and_was_not_cancelled(
    tmp_path: Path, asked: bool, state: str, put_back: bool
) -> None:
    again, told = tmp_path / "again-12", "JobId={} ArrayJobId=12 JobName=x JobState={} Reason=None"
    scontrol = tmp_path / "scontrol"  # of the whole array; the last element has its number
    lines = "".join(f"echo '{line}'\n" for line in (told.format(11, "RUNNING"), told.format(12, state)))
    scontrol.write_text(f'#!/bin/sh\n[ "$1" = show ] || {{ echo "$@" >> {tmp_path}/done; exit 1; }}\n{lines}')
    scontrol.chmod(0o755)
    if asked:
        again.touch()
    script = "\n".join(["sh -c 'exit 3'", *REQUEUE_LINES])
    path = f"{tmp_path}:/usr/bin:/bin"
    ended = subprocess.run(
        ["bash", "-c", script], env={"PATH": path, REQUEUE_FILE: str(again), "SLURM_JOB_ID": "12"}, check=False
    )
    assert ended.returncode == 3, "the job's own end"
    assert (tmp_path / "done").exists() is put_back
    assert not again.exists()

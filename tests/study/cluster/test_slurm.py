"""Studies on a real SLURM: submitted, preempted, stopped by a limit, robbed of a node, failed, cancelled."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from launching import finish, start
from small_slurm import Slurm, lacking, small_slurm
from test_end_to_end import table
from waiting import PATIENCE

from cpt.files import read_lines

LEAST = [
    "mixing.budget_factor=3e-5",
    "train.save_every=5",
    "train.curve.at=[]",
    "evals=[bpb]",
    "evals.benchmarks.bpb.items=2",
    "evals.bootstrap=100",
    "tracking=none",
]
BOTH = ["-m", "data=mono,bi", *LEAST]
CLUSTER = ["hardware=slurm_test", "hydra.launcher.array_parallelism=1"]
TWO_HERE = ["data=mono", "study=two", "hardware.engine=zero3", "hardware.processes=2", "hardware.micro_batch=2"]
ONE = ["hydra.launcher.nodes=1", "hardware.engine=plain"]
ONE_HERE = ["data=bi", "study=one", "hardware.engine=plain", "hardware.micro_batch=2"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Where it is not installed these tests are skipped; what is checked before a change lands has it."""
    if why := lacking():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no SLURM: {why}")
    with pytest.MonkeyPatch.context() as patch, small_slurm(tmp_path_factory.mktemp("slurm")) as found:
        patch.setenv("SLURM_CONF", found.conf)
        yield found


@dataclass
class Study:
    """A study that was submitted, and what was seen of it on the way."""

    folder: Path
    slurm: Slurm
    told: list[str] = field(default_factory=list)
    """What launches printed."""
    jobs: dict[str, str] = field(default_factory=dict)
    """Its jobs as they were when the launches had ended."""
    nodes: list[str] = field(default_factory=list)
    """A node that died under a run, and those on which the run went on."""
    starts: int = 0
    """Of the job of the run that was stopped."""

    def run(self, data: str) -> Path:
        [found] = self.folder.glob(f"L3-{data}-Alt-*")
        return found

    def status(self, data: str) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.run(data) / "status.json").read_text())
        return found

    def steps(self, data: str) -> int:
        path = self.run(data) / "metrics.jsonl"
        return len(read_lines(path)) if path.exists() else 0

    def hold(self, data: str, job: str, steps: int) -> str:
        """Wait until a job has trained some steps, and hold it there, lest it end; returns its last node."""
        until(lambda: self.slurm.queue().get(job) == "RUNNING", f"{job} starts")
        node, before = self.slurm.nodes_of(job)[-1], self.steps(data)
        until(lambda: self.steps(data) >= before + steps, f"{job} trains", pause=0.02)
        self.slurm.freeze(node)
        return node

    def leaves(self, job: str) -> None:
        """Wait until a job runs no longer."""
        until(lambda: self.slurm.queue().get(job) != "RUNNING", f"{job} is stopped")

    def weights(self, data: str) -> bytes:
        return (self.run(data) / "model/model.safetensors").read_bytes()

    def cpt(self, *arguments: str) -> str:
        """What the command line says of it."""
        command = [sys.executable, "-m", "cpt", "--runs", str(self.folder.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


def until(true: Callable[[], bool], what: str, pause: float = 0.2) -> None:
    """Wait for what must come, for longer than a busy machine takes."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(pause)


@pytest.fixture(scope="module")
def straight(slurm: Slurm, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Weights of the same runs, never stopped: on this machine, for where a run trained is no part of what it is."""
    folder = tmp_path_factory.mktemp("straight")
    processes = [start(folder, cache, *LEAST, *how) for how in (TWO_HERE, ONE_HERE)]

    def ended(run: str) -> bytes:
        for process in processes:
            if process.returncode is None:
                finish(process)
        [weights] = folder.glob(f"runs/*/{run}/model/model.safetensors")
        return weights.read_bytes()

    return ended


@pytest.fixture(scope="module")
def first(
    slurm: Slurm, straight: Callable[[str], bytes], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """Two people launch a study at once. One of its runs loses one of its two nodes, the other cannot save."""
    folder = tmp_path_factory.mktemp("submitted")
    study = Study(folder / "runs/toy", slurm)
    slurm.starting(False)
    launches = [start(folder, cache, *BOTH, *CLUSTER) for _ in range(2)]
    study.told = [process.communicate(timeout=PATIENCE)[0] for process in launches]
    study.jobs = slurm.jobs()
    (study.run("Bi") / "checkpoints").write_text("a file where training wants a folder")
    slurm.starting(True)
    job = study.status("Mono")["job"]
    lost = study.hold("Mono", job, steps=3)
    slurm.kill(lost)
    study.leaves(job)
    until(lambda: slurm.queue().get(job, "RUNNING") == "RUNNING", "the job starts elsewhere")
    study.nodes = [lost, *slurm.nodes_of(job)]
    until(lambda: not slurm.queue(), "the study ends")
    study.starts = slurm.starts(job)
    slurm.start(lost)
    return study


@pytest.fixture(scope="module")
def again(first: Study, cache: Path) -> Study:
    """The study once more, its mistake mended. The run comes to its time limit, and later is preempted."""
    slurm, study = first.slurm, Study(first.folder, first.slurm)
    (study.run("Bi") / "checkpoints").unlink()
    limit = "+hardware.jobs.train={timeout_min:2,signal_delay_s:59}"  # told to save after 30 to 60 s
    slurm.starting(False)  # on a busy machine the run would be done before it can be held
    study.told = [finish(start(study.folder.parents[1], cache, *BOTH, *CLUSTER, *ONE, limit))]
    job = study.status("Bi")["job"]
    slurm.starting(True)
    study.hold("Bi", job, steps=3)
    study.leaves(job)
    urgent = slurm.preempt(study.hold("Bi", job, steps=3))
    until(lambda: slurm.jobs()[urgent] == "COMPLETED", "the urgent job has the node")
    until(lambda: not slurm.queue(), "the study ends")
    study.starts = slurm.starts(job)
    return study


def test_the_shell_returns_and_two_launches_submit_once(first: Study) -> None:
    """No job had started when the commands had ended, and there is one set of them."""
    assert len(first.jobs) == 7, "data, base, 2 × training, 2 × evaluation, comparison"
    assert set(first.jobs.values()) == {"PENDING"}
    assert sum("Submitted: prepare" in told for told in first.told) == 1
    assert sum("wait for it" in told or "running, skipped" in told for told in first.told) == 1


def test_a_run_that_loses_a_node_ends_elsewhere_bit_identical(first: Study, straight: Callable[[str], bytes]) -> None:
    lost, *nodes = first.nodes
    assert len(nodes) == 2
    assert lost not in nodes
    assert first.starts >= 2
    assert first.weights("Mono") == straight(first.run("Mono").name)
    assert json.loads((first.run("Mono") / "ledger.json").read_text())["processes"] == 2
    assert (first.run("Mono") / "evaluate.done").exists()


def test_a_failure_is_shown_and_takes_nothing_else_down(first: Study) -> None:
    shown = first.cpt("status")
    assert "2 finished" in shown
    assert "1 failed" in shown
    for told in (shown, first.cpt("logs")):
        assert "NotADirectoryError" in told
    assert {row["data"] for row in table(first.folder)} == {"base", "mono"}


def test_launched_again_only_what_failed_is_submitted(again: Study) -> None:
    [submitted] = [line for line in again.told[0].splitlines() if line.startswith("Submitted")]
    assert re.sub(r" \d+", "", submitted) == "Submitted: train, evaluate, compare"


def test_stopped_by_its_limit_and_preempted_a_run_ends_bit_identical(
    again: Study, straight: Callable[[str], bytes]
) -> None:
    assert again.starts >= 3
    assert again.weights("Bi") == straight(again.run("Bi").name)
    assert {row["data"] for row in table(again.folder)} == {"base", "mono", "bi"}
    assert "3 finished" in again.cpt("status")


def test_a_study_is_cancelled(slurm: Slurm, cache: Path, tmp_path: Path) -> None:
    slurm.starting(False)
    finish(start(tmp_path, cache, "study=other", "seed=2", *LEAST, *CLUSTER))
    study = Study(tmp_path / "runs/other", slurm)
    assert len(slurm.queue()) == 5
    assert "Cancelled 5 jobs" in study.cpt("cancel", "--yes")
    slurm.starting(True)
    until(lambda: not slurm.queue(), "its jobs are gone")
    assert "running" not in study.cpt("status")
    assert "submitted" not in study.cpt("status")

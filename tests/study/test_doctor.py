"""Preflight: real probes over gloo that go well and wrong, and judgements of facts as they are told."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from waiting import PATIENCE

from cpt.doctor import disk, judge, probe_record
from cpt.doctor.check_result import Result, print_results, redact, run_checks
from cpt.doctor.cluster_check import wait_for_probe
from cpt.doctor.diagnosis import communication_advice, progress_results
from cpt.doctor.gpus import Machine, Torch, ask_torch, check_gpu
from cpt.doctor.measurements import bus_bandwidth, product_rate
from cpt.doctor.packages import Package, check_version
from cpt.doctor.probe import network_of
from cpt.doctor.probe_record import HUNG, ProbeStep, ProcessRecord
from cpt.doctor.system import check_connection

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"HF_TOKEN": "hf_secretofthehub", "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567"}
HERE = (
    "import sys; from pathlib import Path; from rich.console import Console;"
    "from cpt.commands.doctor import check_local, print_results;"
    "sys.exit(print_results(check_local(Path('runs'), Path('cache')), Console(width=200)))"
)
HOST = socket.gethostname()


@dataclass
class Started:
    folder: Path
    process: subprocess.Popen[str]
    here: subprocess.Popen[str]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Probes that go on while the first test looks at them, and `cpt doctor` beside them."""
    folder = tmp_path_factory.mktemp("probes")
    told = {"NCCL_CONF_FILE": f"/home/{SECRETS['HF_TOKEN']}", "SLURMD_NODENAME": HOST, "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **SECRETS, **told}
    arguments: dict[str, Any] = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    script = [sys.executable, str(Path(__file__).with_name("doctor_processes.py")), str(folder)]
    with (
        subprocess.Popen(script, text=True, **arguments) as process,
        subprocess.Popen([sys.executable, "-c", HERE], text=True, cwd=folder, **arguments) as here,
    ):
        yield Started(folder, process, here)
        process.kill()
        here.kill()


@pytest.fixture(scope="module")
def probes(started: Started) -> Started:
    """The same when all have ended."""
    said, _ = started.process.communicate(timeout=PATIENCE)
    (started.folder / "codes.json").write_text(said)
    return started


def test_a_rank_that_stays_apart_is_named_and_holds_nobody_longer_than_its_limit(started: Started) -> None:
    folder, shown = started.folder / "apart", StringIO()
    console = Console(file=shown, width=500)
    assert wait_for_probe(folder, 2, lambda: started.process.poll() is None, 300, console) == 1
    said = shown.getvalue()
    found = probe_record.read_records(folder, 2)
    assert [one and one.last and one.last.name for one in found] == [probe_record.SECOND] * 2
    blamed = next(line for line in said.splitlines() if "rank 1 " in line and " hung in " in line)
    assert f"│ rank 1 on {HOST} hung in '{probe_record.SECOND}', limit 3 s, at doctor_processes.py:" in blamed
    assert "stay_apart" in blamed, "the code it hung in"
    assert "of 2 ranks" in said, "progress"
    assert "Thread 0x" in (folder / "log.txt").read_text(), "stacks of all threads"


def test_two_ranks_come_through(probes: Started) -> None:
    findings = judge.judge(probes.folder / "well", 2)
    assert [finding for finding in findings if finding.state == "fail"] == []
    assert findings[0] == Result("all steps", "ok", f"all 2 ranks came through: ranks 0, 1 on {HOST}")
    names = [finding.name for finding in findings]
    assert names[1:] == ["versions", f"GPUs of {HOST}", probe_record.LARGE, "files in runs"]
    record = probe_record.read_records(probes.folder / "well", 2)[1]
    assert record is not None
    assert record.values(probe_record.SECOND) == {"sum": 3.0, "expected": 3.0}
    assert not list(probes.folder.rglob(".cpt-doctor-*"))


def test_a_rank_that_dies_is_named_and_the_one_cut_off_is_not(probes: Started) -> None:
    codes = json.loads((probes.folder / "codes.json").read_text())
    assert (codes["well"], codes["dies"], codes["apart"][1]) == ([0, 0], [1, -9], HUNG)
    failed = [finding for finding in judge.judge(probes.folder / "dies", 2) if finding.state == "fail"]
    assert len(failed) == 1
    assert failed[0].detail.startswith(f"rank 1 on {HOST} ended without a word in '{probe_record.DEFAULT}'")


def test_no_secret_is_on_disk_or_said(probes: Started) -> None:
    """Neither a variable that is recorded nor an error that quotes a key gives it away."""
    failed = next(f for f in judge.judge(probes.folder / "fails", 2) if f.state == "fail")
    assert failed.detail == f"rank 1 on {HOST} failed in '{probe_record.LEAVE}': RuntimeError: denied to …"
    texts = {path: path.read_text(errors="replace") for path in probes.folder.rglob("*.*") if path.is_file()}
    assert any("NCCL_CONF_FILE" in text for text in texts.values())
    assert [path for path, text in texts.items() if any(secret in text for secret in SECRETS.values())] == []


def test_this_machine_is_examined(probes: Started) -> None:
    said, _ = probes.here.communicate(timeout=PATIENCE)
    assert "Traceback" not in said
    assert not any(secret in said for secret in SECRETS.values())
    lines = {line.split("│")[2].strip(): line for line in said.splitlines() if line.startswith("│ ")}
    for name in ("python", "torch", "other packages", "runs: locks", "cache: room", "hub: key", "W&B: key", "text"):
        assert "│ ok " in lines[name], lines[name]
    assert "HF_HUB_OFFLINE" in lines["hub: network"]
    assert "WANDB_MODE=offline" in lines["W&B: network"]
    assert {"GPUs", "SLURM", "shared memory", "runs: speed", "time"} <= lines.keys()
    assert probes.here.returncode == int(any("│ fail" in line for line in lines.values()))


def test_a_job_that_never_starts_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpt.doctor.cluster_check.LATE_SECONDS", 0.1)
    shown = StringIO()
    assert wait_for_probe(tmp_path, 4, lambda: False, 100, Console(file=shown, width=200)) == 1
    assert "no rank has begun" in shown.getvalue()


LUMI = Machine(amd=8, visible=8, container="/x/pytorch.sif", environment="/project/venv")
HIDDEN = Torch("2.9.1+cu128", "/project/venv/lib/torch/__init__.py", cuda="12.8")
ROCM = Torch("2.9.1", "/opt/torch/__init__.py", hip="6.2", devices=("AMD Instinct MI250X",) * 8)


@pytest.mark.parametrize(
    ("machine", "torch", "state", "words"),
    [
        (LUMI, HIDDEN, "fail", "without HIP.* hides the container's torch: make it with --system-site-packages"),
        (Machine(amd=8, visible=8), HIDDEN, "fail", "without HIP.* built for ROCm"),
        (Machine(nvidia=4, visible=4), Torch("2.9.1+cpu", "/x"), "fail", "CPU only.*without CUDA.* built for CUDA"),
        (LUMI, ROCM, "ok", "8 AMD GPUs here; .*HIP 6.2.* sees 8: AMD Instinct MI250X"),
        (LUMI, Torch("2.9.1", "/x", hip="6.2"), "fail", "sees 0 .*--rocm"),
        (Machine(nvidia=2, hiding={"CUDA_VISIBLE_DEVICES": ""}), Torch("2", "/x", "12"), "warn", "hidden on purpose"),
        (Machine(nvidia=2, visible=2), Torch("2", "/x", "12", devices=("H100",)), "warn", "sees 1: H100 .*nvidia-smi"),
        (Machine(), HIDDEN, "ok", "none here"),
        (Machine(), Torch(broken="cannot be imported: no libhsa"), "fail", "no libhsa"),
    ],
)
def test_torch_is_judged_by_the_gpus_that_are_here(machine: Machine, torch: Torch, state: str, words: str) -> None:
    (finding,) = check_gpu(machine, torch)
    assert finding.state == state
    assert re.search(words, f"{finding.detail} {finding.advice}"), finding


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('libamdhip64.so.6: cannot open')", "libamdhip64.so.6"),
        ("import time; time.sleep(60)", "longer than 1 s"),
        ("import os; os.abort()", "killed by signal 6"),
    ],
)
def test_a_torch_that_breaks_or_hangs_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    (tmp_path / "torch.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert words in ask_torch(1 if "longer" in words else 60).broken


def test_versions_are_set_beside_what_the_project_asks_for() -> None:
    found = [
        Package("torch", ">=2.6", "2.5.1"),
        Package("deepspeed", ">=0.19.8", "0.20.0a0+rocm"),
        Package("flash-attn", ">=2.7", None, optional=True),
        Package("numpy", ">=2.0", "1.26.4"),
    ]
    told = {finding.name: finding for finding in check_version(found)}
    assert {name: finding.state for name, finding in told.items()} == {
        "torch": "fail",
        "deepspeed": "ok",
        "flash-attn": "ok",
        "numpy": "fail",
    }
    assert told["torch"].detail == "2.5.1, the project asks for >=2.6"


def test_a_mount_is_found_by_its_longest_point() -> None:
    lines = [
        "21 1 8:1 / / rw,relatime - ext4 /dev/root rw",
        "40 21 0:50 / /scratch\\040two rw - lustre 10.0.0.1@o2ib:/s rw,localflock",
    ]
    mount = disk.mount_of(Path("/scratch two/project/runs"), lines)
    assert mount is not None
    assert (mount.kind, mount.networked) == ("lustre", True)
    assert "localflock" in mount.options.split(",")
    local = disk.mount_of(Path("/scratch/runs"), lines)
    assert local is not None
    assert disk.check_file_system("runs", Path("/scratch/runs"), local, cluster=False).state == "ok"
    assert "every node" in disk.check_file_system("runs", Path("/scratch/runs"), local, cluster=True).advice


def test_a_folder_that_cannot_be_written_is_a_finding() -> None:
    findings = disk.check_disk("runs", Path("/proc/runs"), cluster=False)
    assert [finding.name for finding in findings if finding.state == "fail"] == ["runs: room", "runs: writing"]


def test_what_breaks_or_hangs_does_not_hide_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[Result]:
        raise OSError("no such device")

    never = threading.Event()
    well = Result("three", "ok", "[bold]as it is")
    looks = {"one": broken, "two": lambda: [Result("two", "ok", str(never.wait()))], "three": lambda: [well]}
    findings = run_checks(looks, 0.5)
    never.set()
    assert [finding.name for finding in findings] == ["one", "two", "three"]
    assert [finding.state for finding in findings] == ["fail", "fail", "ok"]
    assert print_results(findings, Console(width=200)) == 1
    assert "[bold]as it is" in capsys.readouterr().out
    assert print_results([well], Console(width=200)) == 0


def test_secrets_are_hidden_in_any_text() -> None:
    environment = {"MY_API_KEY": "sk-123456789", "TOKENIZERS_PARALLELISM": "false", "HOME": "/home/me"}
    assert redact("sk-123456789 is false in /home/me", environment) == "… is false in /home/me"


def test_a_server_is_reached_by_the_proxy_whose_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", f"http://user:hidden@127.0.0.1:{port}")
        well = check_connection("hub", "http://hub.example", "", "use")
    lost = check_connection("hub", "http://hub.example", "", "use")
    assert well == Result("hub: network", "ok", f"hub.example by the proxy 127.0.0.1:{port} answers")
    assert lost.state == "warn"
    assert "hidden" not in lost.detail


def record(rank: int, host: str = "", **values: dict[str, Any]) -> ProcessRecord:
    """One of eight on two nodes, on a GPU with cores of its own, that came through."""
    facts = {"python": "3.11.7", "cores": [rank, rank + 8], "fast": ["hsn0"], "environment": {}}
    facts |= {"machine": {"amd": 4, "visible": 4, "container": "/x.sif"}}
    measured: dict[str, dict[str, Any]] = {
        probe_record.TORCH: {"torch": "2.9", "hip": "6.2", "cuda": None, "nccl": "2.20", "file": "/opt/torch"},
        probe_record.DEVICE: {
            "type": "cuda",
            "name": "AMD Instinct MI250X",
            "names": ["MI250X"] * 4,
            "identity": str(rank),
        },
        probe_record.PRODUCT: {"flops": 130e12, "finite": True},
        probe_record.JOIN: {},
        probe_record.DEFAULT: {"sum": 36.0, "expected": 36.0, "network": "AWS Libfabric"},
        probe_record.SECOND: {"sum": 36.0, "expected": 36.0},
        probe_record.LARGE: {"bytes": 1 << 29, "seconds": 0.02, "bus": 47e9},
        probe_record.LEAVE: {},
    }
    steps = [ProbeStep(name, 0, 60, "ok", 1, values=told | values.get(name, {})) for name, told in measured.items()]
    host = host or f"nid00{1 + rank // 4}"
    return ProcessRecord(rank, 8, rank % 4, host, 100 + rank, facts, steps, ended=True)


def judged(folder: Path, found: list[ProcessRecord], ranks: int = 8) -> dict[str, Result]:
    for one in found:
        one.write(folder)
    return {finding.name: finding for finding in judge.judge(folder, ranks)}


def test_nodes_that_are_well_are_said_to_be(tmp_path: Path) -> None:
    findings = judged(tmp_path, [record(rank) for rank in range(8)])
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert findings[probe_record.PRODUCT].detail == (
        "130 TFLOP/s in bf16 (slowest 130), 68% of the 191.5 of AMD Instinct MI250X"
    )
    assert findings[probe_record.LARGE].detail.startswith("47.00 GB/s bus bandwidth")
    assert {"GPUs of nid001", "GPUs of nid002", "CPU masks"} <= findings.keys()


def test_a_bad_node_and_altered_numbers_are_named(tmp_path: Path) -> None:
    slow = {probe_record.PRODUCT: {"flops": 60e12}}
    wrong = {probe_record.SECOND: {"sum": 35.0}, probe_record.DEFAULT: {"network": "Socket"}}
    found = [record(rank, **(slow if rank == 6 else wrong if rank == 2 else {})) for rank in range(8)]
    found[1].facts["cores"] = found[0].facts["cores"]
    found[5].steps[0].values["torch"] = "2.8"
    found[7].steps[1].values["identity"] = "6"
    findings = judged(tmp_path, found)
    assert findings[probe_record.PRODUCT].detail == "rank 6 on nid002: 60 TFLOP/s, the others 130"
    assert findings[probe_record.PRODUCT].advice.endswith("hydra.launcher.exclude=nid002")
    assert findings[probe_record.SECOND].detail == "rank 2 on nid001: the sum is 35.0 and should be 36.0"
    assert findings["CPU masks"].detail == "cores are shared: ranks 0, 1 on nid001"
    assert findings["versions"].detail.endswith("2.8 on rank 5 on nid002")
    assert findings["devices"].detail == "ranks 6, 7 on nid002 use one GPU, 6"
    assert findings["network"].detail == "TCP, although there is hsn0"


def test_a_torch_without_hip_fails_once_for_each_node(tmp_path: Path) -> None:
    plain: dict[str, Any] = {
        probe_record.TORCH: {"hip": None, "cuda": "12.8"},
        probe_record.DEVICE: {"type": "cpu", "names": []},
    }
    findings = judged(tmp_path, [record(rank, **plain) for rank in range(8)])
    assert [name for name, finding in findings.items() if finding.state == "fail"] == [
        "GPUs of nid001",
        "GPUs of nid002",
    ]


def stopped(rank: int, name: str, state: Any, **more: Any) -> ProcessRecord:
    """One that came as far as a step, and there is in a state."""
    one = record(rank)
    at = [step.name for step in one.steps].index(name)
    one.steps = [*one.steps[:at], ProbeStep(name, time.time(), 60, state, **more)]
    one.ended = state in ("hung", "failed")
    return one


def test_who_is_furthest_behind_is_blamed() -> None:
    found: list[ProcessRecord | None] = [
        stopped(rank, probe_record.SECOND, "hung", where="all_reduce") for rank in range(8)
    ]
    (alone,) = progress_results(found, over=True)
    assert alone.detail.startswith(
        "ranks 0, 1, 2, 3 on nid001; ranks 4, 5, 6, 7 on nid002 hung in 'all-reduce on a sec"
    )
    assert "FI_MR_CACHE_MONITOR=userfaultfd in hydra.launcher.setup" in alone.advice
    found[5] = stopped(5, probe_record.PRODUCT, "running")
    blamed, others = progress_results(found, over=True)
    assert blamed.detail.startswith("rank 5 on nid002 ended without a word in 'matrix product'")
    assert blamed.advice.endswith("hydra.launcher.exclude=nid002")
    assert others.state == "warn"
    now = time.time()
    assert "still is in" in progress_results(found, over=False, now=now)[0].detail
    assert "is frozen in 'matrix product', for 9" in progress_results(found, over=False, now=now + 95)[0].detail
    missing, others = progress_results([*found[:5], None, *found[6:]], over=True)
    assert missing.detail.startswith("rank 5 never began")
    assert others.detail.endswith(f"waited for them in '{probe_record.SECOND}'")


def test_a_failure_of_its_own_is_not_taken_for_anothers() -> None:
    cut = stopped(1, probe_record.DEFAULT, "failed", error="RuntimeError: Connection closed by peer")
    own = stopped(2, probe_record.DEFAULT, "failed", error="OutOfMemoryError: HIP out of memory")
    hung = stopped(3, probe_record.DEFAULT, "hung", where="x")
    said = [finding.detail for finding in progress_results([record(0), cut, own, hung], over=True)]
    assert sorted(line.split(" on ")[0] for line in said) == ["rank 1", "rank 2", "rank 3"]
    assert next(line for line in said if line.startswith("rank 1")).endswith(
        f"waited for them in '{probe_record.DEFAULT}'"
    )


def test_advice_against_a_hang_knows_what_is_set() -> None:
    one = record(0)
    one.facts["environment"] = {"FI_MR_CACHE_MONITOR": "userfaultfd", "NCCL_NET_GDR_LEVEL": "3"}
    one.steps[0].values["hip"] = "7.0"
    told = communication_advice(one, nodes=2)
    assert "another container image" in told
    assert "unset NCCL_NET_GDR_LEVEL" in told


def test_numbers_that_people_quote() -> None:
    assert bus_bandwidth(8e9, 1.0, 2) == 8e9
    assert bus_bandwidth(8e9, 2.0, 16) == pytest.approx(7.5e9)
    assert product_rate(1000, 2.0, 10) == 1e10


def test_the_network_is_read_from_the_librarys_own_log(tmp_path: Path) -> None:
    log = tmp_path / "nccl-0.log"
    lines = ["NCCL INFO RCCL version : 2.20.5-HEAD:abc", "NCCL INFO Using network AWS Libfabric"]
    log.write_text("".join(f"nid001:1:1 [0] {line}\n" for line in lines))
    assert network_of(log) == {"network": "AWS Libfabric", "library": "2.20.5-HEAD:abc"}
    assert network_of(tmp_path / "none") == {"network": None, "library": None}

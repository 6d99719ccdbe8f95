"""The mirror on W&B, with wandb itself writing: what arrives, and that no failure of it reaches the run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from wandb_reader import OfflineRun, read_ended, read_offline

from cpt.evals.rows import Row
from cpt.results.tracking import Tracker, open_tracker, resolve_mode
from cpt.train.hooks import StepRecord

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef" * 3
TRAIN = """
import sys, time
from pathlib import Path
from test_tracking import record, tracker
with tracker(Path(sys.argv[1])) as mirror:
    for step in range(1, 31):
        mirror.after_step(record(step))
    time.sleep(60)
"""
NONE = """
import sys
from pathlib import Path
from cpt.results.tracking import open_tracker, resolve_mode
from cpt.train.hooks import StepRecord
mode = resolve_mode("none", print)
with open_tracker(mode, folder=Path(sys.argv[1]), run_id="r", name="r", group="g", tags=[], config={}, project="p",
                  entity=None, job_type="train") as mirror:
    mirror.after_step(StepRecord(1, 1, 1.0, 1.0, 1.0, 1, 1.0))
    mirror.log_rows([])
assert not {"wandb", "torch"} & sys.modules.keys()
"""


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, settings, server or proxy of whoever runs the tests; wandb reads them anew in each."""
    import wandb

    for name in list(os.environ):
        if name.startswith("WANDB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    empty = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(empty))
    monkeypatch.setenv("NETRC", str(empty / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(empty))
    yield
    wandb.teardown()


def tracker(folder: Path, mode: str = "offline", **changes: Any) -> Tracker:
    described: dict[str, Any] = {
        "run_id": "L3-Bi+Code-Stag-1a2b3c4d",
        "name": "L3-Bi+Code-Stag",
        "group": "toy36",
        "tags": ["model=l3", "data=bi"],
        "config": {"train": {"lr": 2e-5}, "words": {"zul_Latn": 1000}},
        "project": "cpt",
        "entity": None,
        "job_type": "train",
    }
    return open_tracker(mode, folder=folder, **(described | changes))


def record(step: int) -> StepRecord:
    return StepRecord(step, 50, loss=4 / step, lr=1e-4 / step, gradient_norm=1.5, tokens=2048, seconds=0.5)


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "run": "L3-Bi+Code-Stag",
        "run_id": "L3-Bi+Code-Stag-1a2b3c4d",
        "model": "l3",
        "data": "bi",
        "code": True,
        "langcat": "stag",
        "seed": 1,
        "language": "zul_Latn",
        "role": "train",
        "task": "sib200",
        "direction": "",
        "protocol": "",
        "metric": "accuracy",
        "value": 0.5,
        "n": 10,
        "ci_low": 0.4,
        "ci_high": 0.6,
    }
    return Row(**(values | changes))


@contextmanager
def listening(backlog: int = 5) -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server.getsockname()[1]


def test_what_a_run_tells_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with tracker(tmp_path) as mirror:
        for step in (1, 2, 3):
            mirror.after_step(record(step))
        mirror.log_rows(
            [
                row(),
                row(protocol="paper", value=0.25),
                row(task="flores200", direction="en-x", metric="chrf++", value=31.5),
            ]
        )
    run = read_ended(tmp_path)
    assert run.steps == [1, 2, 3]
    wanted = {"loss": 4 / 3, "lr": 1e-4 / 3, "gradient_norm": 1.5, "tokens": 2048, "tokens_per_second": 4096}
    assert {name: run.history[2][name] for name in wanted} == pytest.approx(wanted)
    assert run.summary["sib200/zul_Latn/accuracy"] == 0.5
    assert run.summary["sib200/paper/zul_Latn/accuracy"] == 0.25
    assert run.summary["flores200/en-x/zul_Latn/chrf++"] == 31.5
    assert (run.id, run.name) == ("L3-Bi_Code-Stag-1a2b3c4d", "L3-Bi+Code-Stag")
    assert (run.project, run.group, run.job_type, run.host) == ("cpt", "toy36", "train", "")
    assert run.tags == ["model=l3", "data=bi"]
    assert run.config["train"] == {"lr": 2e-5}
    assert run.config["words"] == {"zul_Latn": 1000}
    assert run.exits == [0]
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY.encode() not in written
    assert f'"{socket.gethostname()}"'.encode() not in written  # quoted: a short name turns up in any binary file
    assert capfd.readouterr() == ("", "")


def test_a_killed_run_goes_on_as_one(tmp_path: Path) -> None:
    paths = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    child = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path)], env=os.environ | {"PYTHONPATH": paths})
    _wait_for(lambda: len(read_offline(tmp_path).steps) == 30, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for begin, end in ((20, 40), (40, 45), (33, 50)):  # from checkpoints before and at the last step sent
        with tracker(tmp_path) as mirror:
            for step in range(begin, end):
                mirror.after_step(record(step + 1))
    run = read_ended(tmp_path, parts=3)
    assert run.steps == list(range(1, 51))
    assert [values["loss"] for values in run.history] == pytest.approx([4 / step for step in range(1, 51)])
    assert run.exits == [0, 0, 0]


def _wait_for(condition: Any, child: subprocess.Popen[bytes], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, "the process ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_failed_run_ends_as_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracker(tmp_path):
        raise ZeroDivisionError
    assert read_ended(tmp_path).exits == [1]


def test_none_writes_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", NONE, str(tmp_path)], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "url", "reason"),
    [
        (None, None, "no API key"),
        ("too-short", None, "API key"),
        (KEY, "http://127.0.0.1:9", "127.0.0.1:9 cannot be reached"),
        (KEY, "http://w-and-b.invalid", "w-and-b.invalid:80 cannot be reached"),
        (KEY, "not an address", "wandb cannot be used"),
    ],
)
def test_online_falls_back_and_says_so_once(
    key: str | None, url: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WANDB_API_KEY", key), ("WANDB_BASE_URL", url)):
        if value:
            monkeypatch.setenv(name, value)
    said = _offline_in_time()
    assert reason in said
    assert "wandb sync" in said
    assert not key or key not in said


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(backlog=0) as port, socket.create_connection(("127.0.0.1", port)):  # further ones wait for ever
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        assert f"127.0.0.1:{port}" in _offline_in_time()


def _offline_in_time() -> str:
    said: list[str] = []
    begin = time.monotonic()
    assert resolve_mode("online", said.append) == "offline"
    assert time.monotonic() - begin < 15
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize("proxy", [False, True])
def test_online_stays_where_a_key_and_a_server_are(proxy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = Path(os.environ["NETRC"])
    said: list[str] = []
    with listening() as port:
        host = "w-and-b.invalid" if proxy else f"127.0.0.1:{port}"
        netrc.write_text(f"machine {host} login user password {KEY}\n")
        monkeypatch.setenv("WANDB_BASE_URL", f"http://{host}")
        if proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert resolve_mode("online", said.append) == "online", said
    assert said == []


class _Refuses(BaseHTTPRequestHandler):
    """A server that knows nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_refused_run_is_written_offline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    with tracker(tmp_path, "online") as mirror:
        mirror.after_step(record(1))
    server.shutdown()
    server.server_close()
    run = read_ended(tmp_path)
    assert (run.id, run.steps) == ("L3-Bi_Code-Stag-1a2b3c4d", [1])
    assert "cannot be opened online" in _only_warning(caplog)
    assert KEY not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_wandb_dying_in_the_middle_leaves_the_run_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracker(tmp_path / "first") as mirror:
        mirror.after_step(record(1))
        deadline = time.monotonic() + 30
        while not read_offline(tmp_path / "first").steps and time.monotonic() < deadline:
            time.sleep(0.1)  # it is opened aside
        found = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True, check=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)
        for step in range(2, 200):
            mirror.after_step(record(step))
            time.sleep(0.001)
        mirror.log_rows([row()])
    assert "the run goes on" in _only_warning(caplog)
    with tracker(tmp_path / "second") as mirror:  # of the next run in the same process
        mirror.after_step(record(1))
    assert read_ended(tmp_path / "second").steps == [1]


def test_a_folder_that_cannot_be_written_leaves_the_run_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "wandb").write_text("a file where wandb's folder should be")
    with tracker(tmp_path) as mirror:
        mirror.after_step(record(1))
        mirror.log_rows([row()])
    assert "cannot be opened offline" in _only_warning(caplog)
    assert read_offline(tmp_path) == OfflineRun()


def _only_warning(caplog: pytest.LogCaptureFixture) -> str:
    ours = [entry for entry in caplog.records if entry.name == "cpt.results.tracking"]
    assert [entry.levelno for entry in ours] == [logging.WARNING], caplog.text
    return ours[0].getMessage()

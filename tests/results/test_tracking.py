"""The mirror on W&B, with wandb itself writing: what arrives, and that no failure of it reaches the run."""

from __future__ import annotations

import json
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
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from study_folder import row, write_rows
from waiting import wait_until
from wandb_reader import OfflineRun, read_ended, read_offline
from wandb_server import KEY, no_account

from cpt.files import read_lines, write_json, write_lines
from cpt.results.tracking.base import Identity
from cpt.results.tracking.destinations import resolve_mode
from cpt.results.tracking.mirror import Tracker, open_tracker
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.metrics_log import MetricsLog

RUN = "L3-Bi+Code-Stag-1a2b3c4d"
ROOT = Path(__file__).parents[2]
TELL = """
import json, sys, time
from pathlib import Path
from cpt.results.tracking.base import Identity
from cpt.results.tracking.mirror import open_tracker
folder, mode, identity = sys.argv[1:]
with open_tracker(mode, Path(folder), Identity(**json.loads(identity))) as mirror:
    mirror.on_start(None)
    time.sleep(600)
"""
NONE = """
import sys
from pathlib import Path
from cpt.files import read_lines, write_json, write_lines
from cpt.results.tracking.base import Identity
from cpt.results.tracking.destinations import resolve_mode
from cpt.results.tracking.mirror import open_tracker
from cpt.train.hooks import StepRecord
mode = resolve_mode("none", print)
with open_tracker(mode, Path(sys.argv[1]), Identity("r", "r", "g", [], {}, "p", None, "train")) as mirror:
    mirror.after_step(StepRecord(1, 1, 1.0, 1.0, 1.0, 1, 1.0))
    mirror.scored()
assert not {"wandb", "trackio", "torch", "pandas"} & sys.modules.keys()
"""


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with no_account(tmp_path_factory.mktemp("home"), monkeypatch):
        yield


def identity(**changes: Any) -> Identity:
    described: dict[str, Any] = {
        "run_id": "L3-Bi+Code-Stag-1a2b3c4d",
        "name": "L3-Bi+Code-Stag",
        "group": "toy36",
        "tags": ["model=l3", "data=bi"],
        "config": {"train": {"lr": 2e-5}, "words": {"zul_Latn": 1000}},
        "project": "cpt",
        "entity": None,
        "job_type": "train",
        "notes": "TOY",
    }
    return Identity(**(described | changes))


def tracker(folder: Path, mode: str = "offline", **changes: Any) -> Tracker:
    return open_tracker(mode, folder, identity(**changes))


def record(step: int) -> StepRecord:
    losses = {"bi/eng_Latn-zul_Latn": 5 / step}
    return StepRecord(step, 50, 4 / step, 1e-4 / step, 1.5, tokens=2048, seconds=0.5, source_losses=losses)


def train(folder: Path, mirror: Tracker, begin: int, end: int, curve_every: int = 20) -> None:
    """Steps after `begin` up to `end` as a training tells them: to its log, and then to the mirror."""
    log = MetricsLog(folder / "metrics.jsonl")
    session = Session(None, begin, 50)  # type: ignore[arg-type]  # of no interest to either
    held_out = HeldOut(folder / "curve.jsonl", curve_every)
    for hook in (held_out, log, mirror):
        hook.on_start(session)
    for step in range(begin + 1, end + 1):
        for hook in (held_out, log, mirror):
            hook.after_step(record(step))


UNTOLD = Tracker(Path(), identity(), [])
"""For a training that has no mirror."""


class HeldOut(Hook):
    """Writes a curve as an evaluation while training does, without a model."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_start(self, session: Session) -> None:
        write_lines(self.path, [line for line in read_lines(self.path) if line["step"] <= session.step])
        if session.step == 0:
            self._write(0)

    def after_step(self, record: StepRecord) -> None:
        if record.step % self.every == 0:
            self._write(record.step)

    def _write(self, step: int) -> None:
        values = {"zul_Latn": 2.0 - step / 100, "code": 0.5}
        mean = {"train": 2.0 - step / 100, "code": 0.5}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "bits_per_byte": values, "mean": mean, "distance": step / 10}) + "\n")


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
        train(tmp_path, mirror, 0, 3, curve_every=2)
        chrf = ("flores200", "en-x", "sound", "chrf++")
        scores = [row(RUN, "zul_Latn", 0.5), row(RUN, "xho_Latn", 0.25), row(RUN, "zul_Latn", 31.5, chrf)]
        write_rows(tmp_path, scores)
        write_json(tmp_path / "ledger.json", {"tokens_seen": 6144, "flops": 1e9, "packing": {}})
        mirror.scored()
    run = read_ended(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    wanted = {"loss": 4 / 3, "lr": 1e-4 / 3, "gradient_norm": 1.5, "tokens": 6144, "tokens_per_second": 4096}
    wanted |= {"loss/bi/eng_Latn-zul_Latn": round(5 / 3, 5)}
    assert {name: run.history[3][name] for name in wanted} == pytest.approx(wanted)
    before, at_two = ({"train": value, "zul_Latn": value, "code": 0.5} for value in (2.0, 1.98))
    for place, held_out in ((0, before), (2, at_two)):
        found = {name: run.history[place][f"bits_per_byte/{name}"] for name in held_out}
        assert found == pytest.approx(held_out)
    assert "loss" in run.history[2]
    assert not [name for name in run.history[3] if name.startswith("bits_per_byte")]
    assert run.summary["sib200/sound/zul_Latn/accuracy"] == 0.5
    assert run.summary["mean/sib200/sound/train/accuracy"] == pytest.approx(0.375)
    assert run.summary["flores200/sound/en-x/zul_Latn/chrf++"] == 31.5
    assert (run.summary["ledger/tokens_seen"], run.summary["ledger/flops"]) == (6144, 1e9)
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
    train(tmp_path, UNTOLD, 0, 30)
    with telling(tmp_path, "offline", identity()) as child:
        wait_until(lambda: len(read_offline(tmp_path).steps) == 31, child)
    for begin, end in ((20, 40), (40, 45), (33, 50)):  # from checkpoints before and at the last step sent
        with tracker(tmp_path) as mirror:
            train(tmp_path, mirror, begin, end)
    run = read_ended(tmp_path, parts=3)
    assert run.steps == list(range(51))
    assert [values["loss"] for values in run.history[1:]] == pytest.approx([4 / step for step in range(1, 51)])
    assert [step for step, values in enumerate(run.history) if "bits_per_byte/train" in values] == [0, 20, 40]
    assert run.exits == [0, 0, 0]


@contextmanager
def telling(folder: Path, mode: str, who: Identity) -> Iterator[subprocess.Popen[bytes]]:
    """A process that tells what there is of a run and then is killed."""
    arguments = [str(folder), mode, json.dumps(asdict(who))]
    child = subprocess.Popen([sys.executable, "-c", TELL, *arguments], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        yield child
    finally:
        child.kill()
        child.wait()


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
    assert "cpt sync" in said
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
        train(tmp_path, mirror, 0, 1)
    server.shutdown()
    server.server_close()
    run = read_ended(tmp_path)
    assert (run.id, run.steps) == ("L3-Bi_Code-Stag-1a2b3c4d", [0, 1])
    assert "W&B online cannot be opened" in _only_warning(caplog)
    assert KEY not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_wandb_dying_in_the_middle_leaves_the_run_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with tracker(first) as mirror:
        train(first, mirror, 0, 1)
        wait_until(lambda: read_offline(first).steps)  # it is opened aside
        found = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True, check=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)
        train(first, mirror, 1, 50)
        write_rows(first, [row(RUN, "zul_Latn", 0.5)])
        time.sleep(0.2)
        mirror.scored()
    assert "the run goes on" in _only_warning(caplog)
    with tracker(second) as mirror:  # of the next run in the same process
        train(second, mirror, 0, 1)
    assert read_ended(second).steps == [0, 1]


def test_a_folder_that_cannot_be_written_leaves_the_run_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "wandb").write_text("a file where wandb's folder should be")
    with tracker(tmp_path) as mirror:
        train(tmp_path, mirror, 0, 1)
        mirror.scored()
    assert "W&B offline cannot be opened" in _only_warning(caplog)
    assert read_offline(tmp_path) == OfflineRun()


def _only_warning(caplog: pytest.LogCaptureFixture) -> str:
    ours = [entry for entry in caplog.records if entry.name == "cpt.results.tracking.mirror"]
    assert [entry.levelno for entry in ours] == [logging.WARNING], caplog.text
    return ours[0].getMessage()

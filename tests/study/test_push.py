"""Publishing models: what arrives at a hub, byte for byte, and what never leaves. The hub is a small, local one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from cpt.cli import main as cpt
from cpt.config import StudyConfig
from cpt.files import file_hash, write_json, write_text
from cpt.study.state.run import Run

TOKEN = "hf_secret"
ROOT = Path(__file__).resolve().parents[2]
Compose = Callable[..., list[StudyConfig]]


@dataclass
class Repository:
    visibility: str
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    def info(self, name: str) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in self.files]
        sha = f"{len(self.commits):040x}"
        return {"id": name, "private": self.visibility == "private", "sha": sha, "siblings": siblings, "tags": []}


@dataclass
class SmallHub:
    """As much of a hub as its client needs to publish a model; every file comes within the commit."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    """Every request that would change something."""
    down: str = ""
    """Part of a path at which the hub fails."""

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        parts = path.split("?")[0].strip("/").split("/")
        if self.down and self.down in path:
            return 418, {"error": f"out of order, {token}"}
        match method, parts:
            case "GET", ["api", "whoami-v2"]:
                return 200, {"name": "ada", "orgs": [{"name": "helsinki"}]}
            case "POST", ["api", "validate-yaml"]:
                return 200, {"errors": [], "warnings": []}
            case "POST", ["api", "repos", "create"]:
                self.written.append(path)
                return self.create(json.loads(body))
        name = "/".join(parts[2:4])
        if (repository := self.repositories.get(name)) is None:
            return 404, {"error": "Repository not found"}
        match method, parts[4:]:
            case "GET", [] | ["revision", "main"]:
                return 200, repository.info(name)
            case "POST", ["preupload", "main"]:
                names = [file["path"] for file in json.loads(body)["files"]]
                return 200, {"files": [self.standing(repository, path) for path in names]}
            case "POST", ["commit", "main"]:
                self.written.append(path)
                self.commit(repository, [json.loads(line) for line in body.splitlines()])
                return 200, {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": repository.info(name)["sha"]}
        return 400, {"error": f"not in this hub: {method} {path}"}

    def create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        if wanted["organization"] not in ("ada", "helsinki"):
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        name = f"{wanted['organization']}/{wanted['name']}"
        known = name in self.repositories
        self.repositories.setdefault(name, Repository(wanted["visibility"]))
        return 409 if known else 200, {"url": f"{self.url}/{name}"}

    def standing(self, repository: Repository, path: str) -> dict[str, Any]:
        content = repository.files.get(path)
        blob = None if content is None else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": blob}

    def commit(self, repository: Repository, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
            else:
                assert line["key"] == "file"
                repository.files[value["path"]] = base64.b64decode(value["content"])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallHub]:
    """A small hub, and this process' client turned to it. No account of this machine is at hand."""
    small = SmallHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = small.answer(self.command, self.path, body, self.headers.get("Authorization") or "")
            content = json.dumps(answer).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    small.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", small.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    huggingface_hub.close_session()
    yield small
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/mine"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def trained(compose: Compose, study: Path) -> Callable[..., Path]:
    """The folder of a run of a real model, as training leaves it."""

    [composed] = compose("data=bi", "code=true", "langcat=stag", f"paths.runs={study.parent}", "study=mine")

    def made(digits: str = "0123abcd", **changes: Any) -> Path:
        config = deepcopy(composed)
        config.scale, config.model.path = "paper", "org/some-model"
        for key, value in changes.items():
            setattr(config.model if hasattr(config.model, key) else config, key, value)
        run = Run(config)
        folder = study / f"{run.name}-{digits}"
        run.__dict__["train_key"] = digits * 8  # of content that is not here
        run.save_config()
        (folder / "model").mkdir()
        save_file({"weight": torch.arange(6.0)}, folder / "model/model.safetensors")
        for name in ("config.json", "tokenizer.json"):
            write_json(folder / "model" / name, {"of": folder.name})
        write_text(folder / "model/README.md", f"---\ntags:\n  - continual-pretraining\n---\n# {run.name}\n")
        write_json(folder / "ledger.json", {"steps": 3})
        write_text(folder / "log.txt", "in /home/ada")
        digest = file_hash(folder / "model/model.safetensors")
        run.state.finish("train", steps=3, weights={"model.safetensors": digest})
        return folder

    return made


@pytest.fixture
def push(study: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and everything that was said; the token is never part of it."""

    def pushed(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cpt(["--runs", str(study.parent), "push", *arguments])
        said = "".join(capsys.readouterr())
        assert TOKEN not in said
        assert "Traceback" not in said
        return int(str(ended.value.code)), said

    return pushed


def contents(folder: Path) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    return files | {"ledger.json": (folder / "ledger.json").read_bytes()}


def test_the_command_publishes_the_model_and_the_ledger_alone(hub: SmallHub, trained: Callable[..., Path]) -> None:
    folder = trained()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder.parents[2]), "HF_TOKEN": TOKEN}
    command = [sys.executable, "-m", "cpt", "--runs", str(folder.parents[1]), "push", "--to", "helsinki"]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    [(name, repository)] = hub.repositories.items()
    assert name == "helsinki/L3-Bi-Code-Stag"
    assert repository.visibility == "private"
    assert repository.files == contents(folder)
    assert repository.commits == ["Run L3-Bi+Code-Stag-0123abcd"]
    assert f"{hub.url}/helsinki/L3-Bi-Code-Stag (private)" in ended.stdout
    assert TOKEN not in ended.stdout


def test_all_that_are_trained_go_one_commit_each(hub: SmallHub, trained: Callable[..., Path], push) -> None:
    trained()
    trained(seed=2)
    (trained(seed=3) / "train.done").unlink()
    code, said = push("mine", "--to", "ada", "--public")
    assert code == 0
    assert "not finished: 1 of 3" in said
    assert set(hub.repositories) == {"ada/L3-Bi-Code-Stag", "ada/L3-Bi-Code-Stag-S2"}
    assert {(found.visibility, len(found.commits)) for found in hub.repositories.values()} == {("public", 1)}


def test_pushing_again_sends_what_has_changed(hub: SmallHub, trained: Callable[..., Path], push) -> None:
    folder = trained()
    assert push("--to", "ada")[0] == 0
    code, said = push("L3-Bi+Code-Stag", "--to", "ada")
    assert code == 0
    assert "ada/L3-Bi-Code-Stag (private, unchanged)" in said
    [repository] = hub.repositories.values()
    assert len(repository.commits) == 1
    write_text(folder / "model/README.md", "# Said better")
    repository.files["model-00001-of-00002.safetensors"] = b"of a model in other shards"
    repository.files["thanks.txt"] = b"somebody else's"
    assert push("mine", folder.name, "--to", "ada")[0] == 0
    assert len(repository.commits) == 2
    assert repository.files == contents(folder) | {"thanks.txt": b"somebody else's"}


def test_a_dry_run_sends_nothing_and_needs_no_account(
    hub: SmallHub, trained: Callable[..., Path], push, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    monkeypatch.delenv("HF_TOKEN")
    code, said = push("--to", "helsinki", "--dry-run")
    assert code == 0
    assert "L3-Bi+Code-Stag-0123abcd: 5 files, " in said
    assert "helsinki/L3-Bi-Code-Stag (private)" in said
    assert not hub.written


@pytest.mark.parametrize("change", [{"scale": "toy"}, {"path": "toy:l3"}, {"weights": "random"}])
def test_a_model_of_no_worth_is_published_only_as_a_toy(
    hub: SmallHub, trained: Callable[..., Path], push, change: dict[str, str]
) -> None:
    trained(**change)
    code, said = push("--to", "ada")
    assert code == 2
    assert "--toy" in said
    assert ("random weights" if "weights" in change else "a toy model") in said
    assert not hub.written
    assert push("--to", "ada", "--toy")[0] == 0
    [name] = hub.repositories
    assert name == f"ada/toy-L3{'Random' if 'weights' in change else ''}-Bi-Code-Stag"


def _unfinished(folder: Path) -> None:
    (folder / "train.done").unlink()


def _damaged(folder: Path) -> None:
    with (folder / "model/model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")


def _foreign_weights(folder: Path) -> None:
    (folder / "model/other.safetensors").write_bytes(b"")


def _foreign_file(folder: Path) -> None:
    (folder / "model/config.yaml").write_text("paths: /home/ada")


def _hidden_file(folder: Path) -> None:
    (folder / "model/.notes.md").write_text("")


def _no_card(folder: Path) -> None:
    (folder / "model/README.md").unlink()


def _no_digests(folder: Path) -> None:
    write_json(folder / "train.done", {"key": "0"})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_unfinished, "its training is not finished"),
        (_damaged, "model/model.safetensors differs from what training saved"),
        (_foreign_weights, "model/other.safetensors is not of this training"),
        (_foreign_file, "model/config.yaml is not part of a model"),
        (_hidden_file, "model/.notes.md is not part of a model"),
        (_no_card, "README.md is missing"),
        (_no_digests, "its train.done has no digests of weights"),
    ],
)
def test_nothing_is_sent_when_one_model_is_not_fit(
    hub: SmallHub, trained: Callable[..., Path], push, spoil: Callable[[Path], None], reason: str
) -> None:
    trained()
    spoil(trained(seed=2))
    code, said = push("mine", "L3-Bi+Code-Stag", "L3-Bi+Code-Stag-S2", "--to", "ada")
    assert code == 2
    assert f"L3-Bi+Code-Stag-S2-0123abcd: {reason}" in said
    assert not hub.written


def test_runs_are_named_by_name_or_id(hub: SmallHub, trained: Callable[..., Path], push, study: Path) -> None:
    folder = trained()
    trained(digits="9999abcd")
    assert "did you mean 'L3-Bi+Code-Stag'?" in push("L3-Bi+Cod-Stag", "--to", "ada")[1]
    _, said = push("L3-Bi+Code-Stag", "--to", "ada")
    assert "give an id: L3-Bi+Code-Stag-0123abcd, L3-Bi+Code-Stag-9999abcd" in said
    assert "several runs have that name" in push("--to", "ada")[1]
    write_text(study / "L3-Base-11112222/config.yaml", (folder / "config.yaml").read_text())
    write_json(study / "L3-Base-11112222/categories.json", [])
    assert "an untouched base model" in push("L3-Base", "--to", "ada")[1]
    assert not hub.written
    assert push(folder.name, "--to", "ada")[0] == 0
    assert len(hub.repositories) == 1


def test_an_untrained_study_has_nothing_to_send(hub: SmallHub, push) -> None:
    code, said = push("--to", "ada")
    assert code == 2
    assert "no run is trained yet" in said


def test_what_is_wrong_with_the_account_is_said(
    hub: SmallHub, trained: Callable[..., Path], push, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    code, said = push("--to", "helsink")
    assert code == 2
    assert "no such user or organisation; it is ada's, who belongs to helsinki; did you mean 'helsinki'?" in said
    assert "not a name a hub allows" in push("--to", "hel sinki")[1]
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    code, said = push("--to", "helsinki")
    assert code == 2
    assert "does not accept the token" in said
    monkeypatch.delenv("HF_TOKEN")
    code, said = push("--to", "helsinki")
    assert code == 2
    assert "HF_TOKEN" in said
    assert "hf auth login" in said
    assert not hub.repositories


def test_a_token_that_cannot_be_sent_is_not_shown(
    hub: SmallHub, trained: Callable[..., Path], push, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\f!")  # no header may hold it, and the transport's complaint quotes it
    code, said = push("--to", "ada")
    assert code == 2
    assert "LocalProtocolError" in said


def test_a_hub_out_of_reach_is_said(
    hub: SmallHub, trained: Callable[..., Path], push, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        code, said = push("--to", "ada")
        assert code == 2
        assert "the hub at http://127.0.0.1:9 cannot be reached (ConnectError)" in said
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, said = push("--to", "ada")
    assert code == 2
    assert "HF_HUB_OFFLINE" in said
    assert not hub.written


@pytest.mark.parametrize(("there", "asked"), [("public", []), ("private", ["--public"])])
def test_a_repository_of_other_visibility_is_left_alone(
    hub: SmallHub, trained: Callable[..., Path], push, there: str, asked: list[str]
) -> None:
    trained()
    trained(seed=2)
    hub.repositories["ada/L3-Bi-Code-Stag-S2"] = Repository(there)
    code, said = push("--to", "ada", *asked)
    assert code == 2
    assert f"exists and is {there}" in said
    assert not hub.written


def test_what_was_sent_before_the_hub_failed_is_said(hub: SmallHub, trained: Callable[..., Path], push) -> None:
    trained()
    trained(seed=2)
    hub.down = "Stag-S2/commit"
    code, said = push("--to", "ada")
    assert code == 2
    assert "the hub answered 418" in said
    assert "1 of 2 were uploaded; pushing again resumes" in said
    hub.down = ""
    assert push("--to", "ada")[0] == 0
    assert [len(repository.commits) for repository in hub.repositories.values()] == [1, 1]

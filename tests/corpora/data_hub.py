"""A small hub of data sets and web server on this machine, which counts what is asked of it and can break."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
import huggingface_hub
import pytest

from cpt import hub as hub_module

TOKEN = "hf_secret"


@dataclass
class DataSet:
    files: dict[str, bytes]
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    def info(self, name: str) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in self.files]
        gated = "auto" if self.gated else False
        return {"id": name, "private": False, "gated": gated, "sha": self.commit, "siblings": siblings, "tags": []}

    def listing(self, folder: str) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in self.files.items()
            if path.rpartition("/")[0] == folder
        ]


@dataclass
class Answer:
    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """After so many bytes of the content the connection breaks."""


def as_json(value: Any, status: int = 200, code: str = "") -> Answer:
    return Answer(status, json.dumps(value).encode(), {"X-Error-Code": code} if code else {})


@dataclass
class DataHub:
    url: str = ""
    sets: dict[str, DataSet] = field(default_factory=dict)
    web: dict[str, bytes] = field(default_factory=dict)
    packing: bool = False
    """Whether .gz files of the web are said to be packed for the way, and unpacked for who does not accept that."""
    requests: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes of files, by name."""
    breaks: dict[str, int] = field(default_factory=dict)
    """Files of which only so many bytes ever arrive."""
    down: bool = False

    def asked_for(self, name: str) -> int:
        return sum(name in request for request in self.requests)

    def answer(self, path: str, headers: Any) -> Answer:
        if path == "/api/agent-harnesses":  # the client's own curiosity
            return Answer(404)
        self.requests.append(path)
        if self.down:
            return Answer(418)
        if path.startswith("/web/"):
            return self._web(path.removeprefix("/web/"), headers)
        token = headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            return as_json({"error": "Invalid credentials"}, 401)
        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            return self._stretch(found[2], self.sets[found[1]].files[found[2]], headers)
        found = re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/([^/]+))?(?:/([^/]+))?(?:/(.+))?", path)
        if found is None or (known := self.sets.get(found[1])) is None:
            return as_json({"error": "Repository not found"}, 404, "RepoNotFound")
        name, what, revision, rest = found.groups()
        if known.gated and token is None and what in ("auth-check", "resolve"):
            return as_json({"error": "gated"}, 401, "GatedRepo")
        if revision not in (None, "main", known.commit):
            return as_json({"error": "Revision not found"}, 404, "RevisionNotFound")
        if what in (None, "revision"):
            return as_json(known.info(name))
        if what == "tree":
            return as_json(known.listing(rest or ""))
        if what == "resolve":
            return Answer(302, headers={"Location": f"{self.url}/cdn/{name}/{rest}"})
        return as_json({"what": what})

    def _web(self, name: str, headers: Any) -> Answer:
        if name not in self.web:
            return Answer(404)
        if self.packing and "gzip" not in headers.get("Accept-Encoding", ""):
            import gzip

            return Answer(200, gzip.decompress(self.web[name]), {"Accept-Ranges": "none"})
        answer = self._stretch(name, self.web[name], headers)
        if self.packing:
            answer.headers["Content-Encoding"] = "gzip"
        return answer

    def _stretch(self, name: str, content: bytes, headers: Any) -> Answer:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(content)) if asked and asked[2] else len(content)
        told = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if asked:
            told["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        limit = self.breaks.get(name)
        cut = max(limit - begin, 0) if limit is not None and end > limit else None
        return Answer(206 if asked else 200, content[begin:end], told, cut)


class Handler(BaseHTTPRequestHandler):
    hub: DataHub

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        answer = self.hub.answer(path, self.headers)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.hub.sent[path] = self.hub.sent.get(path, 0) + len(answer.content[: answer.cut])
            self.wfile.write(answer.content[: answer.cut])

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[DataHub]:
    """A hub, and this process' clients turned to it; none waits before it tries again, no account is at hand."""
    hub = DataHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(hub_module, "WEB_WAITS", (0, 0))
    monkeypatch.setattr(hub_module, "_failures", {})
    fresh()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        fresh()


def fresh() -> None:
    """Clients as a new process has them."""
    huggingface_hub.close_session()
    huggingface_hub.HfFileSystem.clear_instance_cache()
    fsspec.get_filesystem_class("https").clear_instance_cache()

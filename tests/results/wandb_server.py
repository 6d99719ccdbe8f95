"""A server that speaks as much of W&B as wandb asks of one when a run is sent, resumed and closed; it keeps what comes.

History, summary and the end of a run come as a stream of files, each line at an offset; the rest as GraphQL.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789abcdef" * 3
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


@dataclass
class Arrived:
    """A run as the server has it."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Group, tags and the like, from the first message on."""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]


@dataclass
class Server:
    url: str = ""
    runs: dict[str, Arrived] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """What was asked that nothing here answers."""
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: bool = False
    """Answer everything as if the key were nobody's."""

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "cHJv", "name": variables.get("project"), "entity": {"id": "ZW50", "name": "someone"}}
        if "query RunResumeStatus" in query:
            return {"model": project | {"bucket": self._known(variables["name"])}}
        if "mutation UpsertBucket" in query:
            run = self.runs.setdefault(variables["name"], Arrived())
            run.facts |= {name: value for name, value in variables.items() if value is not None}
            run.config |= {name: item["value"] for name, item in json.loads(variables["config"] or "{}").items()}
            bucket = {"id": "aWQ=", "name": variables["name"], "displayName": run.facts.get("displayName")}
            bucket |= {"config": "{}", "project": project, "historyLineCount": len(run.history)}
            return {"upsertBucket": {"bucket": bucket, "inserted": not run.history}}
        if "mutation CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "aWQ=", "uploadHeaders": [], "files": files}}
        if "query Viewer" in query:
            person = {"id": "dXNy", "entity": "someone", "username": "someone", "email": "", "flags": "{}"}
            return {"viewer": person | {"teams": {"edges": []}}}
        if "query ArtifactType" in query:
            return {"project": None}
        if "query ServerFeaturesQuery" in query:
            return {"serverInfo": {"features": []}}
        if "mutation CreateArtifact " in query:  # as if the same files had come before: then none are sent again
            known = {"id": "YXJ0", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
            return {"createArtifact": {"artifact": known}}
        if "mutation UpsertView2" in query:
            view = {"id": variables.get("id") or f"view-{len(self.views)}", "name": variables["name"]}
            self.views[view["id"]] = variables | view
            return {"upsertView": {"view": view, "inserted": True}}
        if "query View(" in query:
            found = [view for view in self.views.values() if view["name"] == variables["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}
        self.unknown.append(query.split("(")[0].strip())
        return {}

    def _known(self, name: str) -> dict[str, Any] | None:
        if (run := self.runs.get(name)) is None:
            return None
        tail = json.dumps([json.dumps(row) for row in run.history[-1:]])
        kept = {"summaryMetrics": json.dumps(run.summary), "config": json.dumps({}), "wandbConfig": '{"t": 1}'}
        counts = {"historyLineCount": len(run.history), "eventsLineCount": 0, "logLineCount": 0}
        tails = {"historyTail": tail, "eventsTail": "[]"}
        return {"id": "aWQ=", "name": name, "displayName": name, "tags": [], "notes": None, **kept, **counts, **tails}

    def take(self, name: str, stream: dict[str, Any]) -> None:
        run = self.runs[name]
        for file, part in stream.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if file == HISTORY:
                run.history[part["offset"] : part["offset"] + len(lines)] = lines
            elif file == SUMMARY:
                run.summary = lines[-1]
        if stream.get("complete"):
            run.exits.append(stream["exitcode"])


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that were killed."""

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            server.requests.append(body)
            said: dict[str, Any] = {}
            if not server.refuse and self.path == "/graphql":
                asked = json.loads(body)
                said = {"data": server.answer(asked["query"], asked.get("variables") or {})}
            elif not server.refuse and self.path.endswith("/file_stream"):
                server.take(self.path.split("/")[-2], json.loads(body))
            self._say(401 if server.refuse else 200, json.dumps(said).encode())

        do_PUT = do_POST  # noqa: N815

        def _say(self, code: int, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = _Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


@contextmanager
def no_account(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, settings, server or proxy of whoever runs the tests; wandb reads them anew each time."""
    import wandb

    for name in list(os.environ):
        if name.startswith("WANDB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(home))
    yield
    wandb.teardown()

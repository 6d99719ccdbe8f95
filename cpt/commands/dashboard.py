"""`cpt dashboard`: serves trackio's pages of the mirrored studies to this machine alone.

Not by `trackio.show`: that prints a key with which runs can be changed and deleted, opens a browser, and opens a public
tunnel if an environment variable says so. Here nobody has the key, so the pages are read-only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from cpt.commands.arguments import StudyName, find_study, runs_of, studies
from cpt.errors import UserError
from cpt.results.tracking.trackio import FOLDER, Trackio, connect, drop_old_summaries, library, project_of

HOST = "127.0.0.1"
FIRST_PORT = 7860
"""trackio's default; the first free port from here is used."""
PORTS = 100
_COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#7a5c00", "#5c6570")
"""One for each combination of data and code; the colour-blind can distinguish them."""
_OTHER = "#8a8f96"
"""The colour of base models and of the comparison."""
_HUB_VARIABLES = ("SYSTEM", "SPACE_ID", "SPACE_REPO_NAME", "GRADIO_MCP_SERVER")
"""With these trackio would believe that it runs in a Space of the hub."""
_ORDER = "loss,bits_per_byte/mean/*,bits_per_byte/*,mean/*"
INBOX = "inbox"
"""Files that processes wrote on a network file system; the server imports them into the database."""
_REFRESH = 2.0
"""Seconds between updates of the runs' colours and summaries."""


def serve(runs: Path, study: str | None, port: int | None, say: Callable[[str], None]) -> int:
    """Serve the mirrored studies, or one of them, until interrupted."""
    folder = runs / FOLDER
    if obstacle := Trackio(folder).obstacle():
        raise UserError(f"cpt dashboard: {obstacle}")
    for name in _HUB_VARIABLES:
        os.environ.pop(name, None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    library(folder)
    project = project_of(study) if study else None
    if not any(folder.glob(f"{project or '*'}.db")) and not (folder / INBOX).exists():
        missing, words = (f"nothing of {study}", ("sync", study)) if study else ("nothing", ("sync",))
        command = " ".join(("cpt", *words, "--to trackio"))
        raise UserError(f"{folder}: {missing} there; launch with tracking=trackio, or `{command}`")
    with closing(DashboardServer(folder, project, port)) as server:
        say(f"Dashboard of {folder}: {server.url} (Ctrl-C ends it)")
        try:
            while server.up:
                server.refresh()
                time.sleep(_REFRESH)
        except KeyboardInterrupt:
            return 0
    raise UserError(f"cpt dashboard: its server at {server.url} has ended")


class DashboardServer:
    """Runs trackio's server in a thread of this process."""

    def __init__(self, folder: Path, project: str | None, port: int | None) -> None:
        from trackio.frontend_config import BUNDLED_FRONTEND_DIR
        from trackio.launch import start_server
        from trackio.server import build_starlette_app_only

        os.environ["TRACKIO_PLOT_ORDER"] = _ORDER
        self._folder, self._project, self._seen = folder, project, 0
        app, _ = build_starlette_app_only(frontend_dir=str(BUNDLED_FRONTEND_DIR))
        self.refresh()
        for wanted in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
            try:
                _, _, url, self._server = start_server(app, server_name=HOST, server_port=wanted)
                break
            except OSError:
                continue
        else:
            taken = f"port {port}" if port else f"all ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
            raise UserError(f"cpt dashboard: {taken} of {HOST} cannot be had; choose another with --port")
        self.url = url + (f"?project={project}" if project else "")

    @property
    def up(self) -> bool:
        return bool(self._server.thread.is_alive())

    def refresh(self) -> None:
        """Update summaries and colours if the databases have changed; a page reads its colours when it is opened."""
        databases = list(self._folder.glob(f"{self._project or '*'}.db"))
        seen = max((path.stat().st_mtime_ns for path in self._folder.glob("*.db*")), default=0)
        if seen == self._seen:
            return
        self._seen = seen
        if (self._folder / INBOX).exists():  # otherwise the writer has done it
            for database in databases:
                drop_old_summaries(database)
        if self._project and databases:
            os.environ["TRACKIO_COLOR_PALETTE"] = ",".join(colours(databases[0]))

    def close(self) -> None:
        self._server.should_exit = True
        self._server.thread.join(timeout=5)


def colours(path: Path) -> list[str]:
    """A colour for each run, newest first like the pages; runs of the same data and code share one."""
    with closing(connect(path)) as database:
        runs = database.execute(
            "SELECT run_id, run_name, min(timestamp) FROM metrics GROUP BY run_id, run_name ORDER BY 3 DESC"
        ).fetchall()
        configs: dict[str, Any] = dict(database.execute("SELECT run_id, config FROM configs"))
    groups = {run: json.loads(config).get("data and code") for run, config in configs.items()}
    known = sorted({group for group in groups.values() if group})
    shades = {group: _COLOURS[number % len(_COLOURS)] for number, group in enumerate(known)}
    return [shades.get(groups.get(run) or "", _OTHER) for run, _, _ in runs] or [_OTHER]


def command(
    ctx: typer.Context,
    study: StudyName = None,
    port: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Port; without it 7860 or the next free.")
    ] = None,
) -> int:
    """Curves and scores that were copied to trackio, as pages for this machine alone."""
    runs = runs_of(ctx)
    name = find_study(runs, study).name if study or len(studies(runs)) == 1 else None
    return serve(runs, name, port, lambda line: print(line, flush=True))

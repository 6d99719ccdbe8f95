"""Weights & Biases as a mirror: online, or as files of its own beside a run."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cpt.results.tracking.base import Identity, describe, run_name
from cpt.results.tracking.history import Values

if TYPE_CHECKING:
    import pandas as pd

    from cpt.results.tracking.comparison_run import ComparisonArtifacts

_LOG = logging.getLogger(__name__)

_CONNECT = 5.0
_DEADLINE = 12.0
"""Seconds for the whole question whether W&B can be used; a name server alone can hang for a minute."""
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "init_timeout": 10,
    "finish_timeout_raises": True,
    "x_transaction_log_flush_interval": 1,  # what a kill can cost the mirror, in seconds
    # Only what a comparison needs leaves the machine: no code, no git, no packages, no names of hosts and people.
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "x_save_requirements": False,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "host": "",
    "username": "",
    "email": "",
    "program": "",
    "symlink": False,  # `latest-run` is of no use in a folder of one run
}


def library() -> Any:
    """The library, imported where it is used: it takes half a second, and most runs have no mirror."""
    os.environ.setdefault("WANDB_SILENT", "true")  # its login speaks before any setting of a run is known
    # Its reports about itself, with the server gone, hold a finished process back for 10 s and complain on screen.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


class Wandb:
    """The destination, in the mode `online` or `offline`."""

    def __init__(self, mode: str, patience: int = 30) -> None:
        """`patience`: seconds for all to arrive, when a run is closed; without it a lost server is waited for."""
        self.mode, self.patience, self.name = mode, patience, f"W&B {mode}"

    @property
    def address(self) -> str:
        return base_url() if self.mode == "online" else "files"

    def obstacle(self) -> str | None:
        if self.mode == "offline":
            return None
        answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=lambda: answer.put(_obstacle()), daemon=True).start()
        try:
            return answer.get(timeout=_DEADLINE)
        except queue.Empty:
            return f"its server gave no answer within {_DEADLINE:.0f} s"

    def open(self, folder: Path, identity: Identity) -> WandbRun:
        return WandbRun(folder, self.mode, identity, self.patience)

    def abandon(self) -> None:
        """Let go of wandb's own process: it would keep the run's id taken, or be dead for the next run."""
        with suppress(Exception, SystemExit):  # it exits with the code of its process
            library().teardown(exit_code=1)


class WandbRun:
    """One process's part of a W&B run: a resumed run has several, of one id."""

    def __init__(self, folder: Path, mode: str, identity: Identity, patience: int) -> None:
        self._folder, files = folder, folder / "wandb"
        files.mkdir(parents=True, exist_ok=True)
        # Of files that were written offline no server knows. To touch it fails where wandb would silently write to the
        # system's temporary folder instead.
        last_step = files / "last_step"
        last_step.touch()
        self._run = start(folder, mode, identity, patience)
        self._last_step = last_step.open("r+") if mode == "offline" else None
        self.known_step = int(last_step.read_text() or -1) if self._last_step else self._run.starting_step - 1

    def log(self, values: Values, step: int) -> None:
        if self._last_step:
            # Before the step is sent: a kill in between leaves a gap in a mirror, not a step that counts twice.
            # Overwritten in place and of one width, so that no kill leaves half a number.
            self._last_step.seek(0)
            self._last_step.write(f"{step:012d}")
            self._last_step.flush()
        self._run.log(values, step=step, commit=True)  # else the last row waits for the next

    def summarise(self, values: Values) -> None:
        self._run.summary.update(values)

    def log_comparison(self, artifacts: ComparisonArtifacts, step: int) -> None:
        wandb = library()
        shown: dict[str, Any] = {name: table_of(table) for name, table in artifacts.tables.items()}
        shown |= {name: wandb.Html(path.read_text(encoding="utf-8")) for name, path in artifacts.pages.items()}
        self._run.log(shown, step=step, commit=True)
        if self._last_step is None:
            self._save_view(artifacts)

    def _save_view(self, artifacts: ComparisonArtifacts) -> None:
        """The study's view, for whoever opens the project; without it the runs and tables are there all the same."""
        from cpt.results.tracking.workspace import save, workspace_of

        rows, place = artifacts.rows, (self._run.entity, self._run.project)
        try:
            save(workspace_of(self._run.group, rows, *place), self._folder / "view")
        except Exception as error:
            _LOG.warning("W&B: the study's view could not be saved (%s); runs and tables are there", describe(error))

    def close(self, failed: bool) -> None:
        if self._last_step:
            self._last_step.close()
        self._run.finish(exit_code=int(failed))


def table_of(table: pd.DataFrame) -> Any:
    """A table of the library, with nothing where a value is missing, whatever its column calls that.

    The library is told the columns' types: to find them out cell by cell takes it a second for 5,000 rows.
    """
    kinds = {"b": bool, "i": float, "u": float, "f": float}
    types = [kinds.get(dtype.kind, str) for dtype in table.convert_dtypes().dtypes]
    found = library().Table(columns=list(table.columns), data=[], dtype=types)
    found.data = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return found


def start(folder: Path, mode: str, identity: Identity, patience: int) -> Any:
    """A run of the library under the identity's id; its files go to `<folder>/wandb`."""
    wandb = library()
    # `create_new` leaves alone whatever other run lives in this process.
    settings = wandb.Settings(**_SETTINGS, finish_timeout=patience, reinit="create_new")
    return wandb.init(
        mode=mode,
        dir=str(folder),
        resume="allow",
        settings=settings,
        id=run_name(identity.run_id),
        name=identity.name,
        group=identity.group,
        tags=identity.tags,
        config=identity.config,
        project=identity.project,
        entity=identity.entity,
        job_type=identity.job_type,
        notes=identity.notes or None,
    )


def _obstacle() -> str | None:
    """Why W&B cannot be used online from this process, or None."""
    try:
        url = base_url()
        if not _has_key(url):
            return "no API key was found (set WANDB_API_KEY or run `wandb login`)"
        host, port = _first_stop(url)
    except Exception as error:
        return f"wandb cannot be used here ({describe(error)})"
    try:
        socket.create_connection((host, port), timeout=_CONNECT).close()
    except Exception as error:
        return f"{host}:{port} cannot be reached ({describe(error)})"
    return None


def base_url() -> str:
    """Address of the server that wandb would talk to."""
    library()
    # Not its public interface, which would ask for a key at a terminal, or start a process and talk to the server.
    from wandb.sdk import wandb_setup

    url: str = wandb_setup.singleton().settings.base_url
    return url


def _has_key(url: str) -> bool:
    """Whether wandb finds a key for a server: in the environment, netrc or its settings."""
    from wandb.sdk.lib import wbauth

    return bool(wbauth.authenticate_session(host=url, source="cpt", prompt=False, update_session=False))


def _first_stop(url: str) -> tuple[str, int]:
    """Where a connection to the server begins: there, or at the proxy that many clusters have before it."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

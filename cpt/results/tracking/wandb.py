"""Mirrors runs to Weights & Biases: online, or as offline files beside a run."""

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

_CONNECT_SECONDS = 5.0
_CHECK_SECONDS = 12.0
"""Seconds to connect, and for the whole check of W&B; name resolution alone can hang for a minute."""
# Nothing leaves the machine but what a comparison needs: no code, git, packages, or names of hosts and people.
_DISABLED = ("disable_code", "disable_git", "x_disable_meta", "x_disable_machine_info", "x_disable_stats")
_PRIVATE = dict.fromkeys(_DISABLED, True) | dict.fromkeys(("save_code", "x_save_requirements"), False)
_SETTINGS: dict[str, Any] = {
    **_PRIVATE,
    **dict.fromkeys(("host", "username", "email", "program"), ""),
    "console": "off",
    "silent": True,
    "init_timeout": 10,
    "finish_timeout_raises": True,
    "x_transaction_log_flush_interval": 1,  # seconds that a kill can cost the mirror
    "symlink": False,  # `latest-run` is useless in a folder of one run
    "reinit": "create_new",  # does not end another run of this process
}


def library() -> Any:
    """The library; imported late because it takes half a second and most runs have no mirror."""
    os.environ.setdefault("WANDB_SILENT", "true")  # its login prints before a run's settings apply
    # Without a server, its error reports delay the exit of a process by 10 s and print.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


class Wandb:
    """W&B as a destination, in the mode `online` or `offline`."""

    def __init__(self, mode: str, patience: int = 30) -> None:
        """`patience`: seconds to wait for the server when a run is closed."""
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
            return answer.get(timeout=_CHECK_SECONDS)
        except queue.Empty:
            return f"its server gave no answer within {_CHECK_SECONDS:.0f} s"

    def open(self, folder: Path, identity: Identity) -> WandbRun:
        return WandbRun(folder, self.mode, identity, self.patience)

    def abandon(self) -> None:
        """Stop wandb's service process: it would block the run's id, or be dead for the next run."""
        with suppress(Exception, SystemExit):  # it exits with the code of its process
            library().teardown(exit_code=1)


class WandbRun:
    """One process's part of a W&B run; a resumed run has several parts with one id."""

    def __init__(self, folder: Path, mode: str, identity: Identity, patience: int) -> None:
        self._folder, files = folder, folder / "wandb"
        files.mkdir(parents=True, exist_ok=True)
        # No server knows the steps of offline files. Touching the file fails where wandb would silently write to the
        # system's temporary folder.
        last_step = files / "last_step"
        last_step.touch()
        self._run = library().init(
            mode=mode,
            dir=str(folder),
            resume="allow",
            settings=library().Settings(**_SETTINGS, finish_timeout=patience),
            id=run_name(identity.run_id),
            **{name: value for name, value in vars(identity).items() if name != "run_id" and value},
        )
        self._last_step = last_step.open("r+") if mode == "offline" else None
        self.known_step = int(last_step.read_text() or -1) if self._last_step else self._run.starting_step - 1

    def log(self, values: Values, step: int) -> None:
        if self._last_step:
            # Before the step is sent: a kill in between leaves a gap, not a step that counts twice.
            # Overwritten in place with a fixed width, so that no kill leaves half a number.
            self._last_step.seek(0)
            self._last_step.write(f"{step:012d}")
            self._last_step.flush()
        self._run.log(values, step=step, commit=True)  # otherwise the last row waits for the next

    def summarise(self, values: Values) -> None:
        self._run.summary.update(values)

    def log_comparison(self, artifacts: ComparisonArtifacts, step: int) -> None:
        wandb = library()
        shown: dict[str, Any] = {name: table_of(table) for name, table in artifacts.tables.items()}
        shown |= {name: wandb.Html(path.read_text(encoding="utf-8")) for name, path in artifacts.pages.items()}
        self._run.log(shown, step=step, commit=True)
        if self._last_step is None:
            self._save_view(artifacts.rows)

    def _save_view(self, rows: pd.DataFrame) -> None:
        """Save the study's view; runs and tables are complete without it."""
        from cpt.results.tracking.workspace import save, workspace_of

        try:
            save(workspace_of(self._run.group, rows, self._run.entity, self._run.project), self._folder / "view")
        except Exception as error:
            _LOG.warning("W&B: the study's view could not be saved (%s); runs and tables are there", describe(error))

    def close(self, failed: bool) -> None:
        if self._last_step:
            self._last_step.close()
        self._run.finish(exit_code=int(failed))


def table_of(table: pd.DataFrame) -> Any:
    """A W&B table, with None for missing values.

    The columns' types are given, because W&B infers them cell by cell: a second for 5,000 rows.
    """
    kinds = {"b": bool, "i": float, "u": float, "f": float}
    types = [kinds.get(dtype.kind, str) for dtype in table.convert_dtypes().dtypes]
    wandb_table = library().Table(columns=list(table.columns), data=[], dtype=types)
    wandb_table.data = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return wandb_table


def _obstacle() -> str | None:
    """Why W&B cannot be used online from this process, or None."""
    try:
        url = base_url()
        if not _has_key(url):
            return "no API key was found (set WANDB_API_KEY or run `wandb login`)"
        host, port = _first_hop(url)
    except Exception as error:
        return f"wandb cannot be used here ({describe(error)})"
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except Exception as error:
        return f"{host}:{port} cannot be reached ({describe(error)})"
    return None


def base_url() -> str:
    """Address of the server that wandb uses."""
    library()
    # The public interface would ask for a key at the terminal, or start a process and connect to the server.
    from wandb.sdk import wandb_setup

    url: str = wandb_setup.singleton().settings.base_url
    return url


def _has_key(url: str) -> bool:
    """Whether wandb has a key for a server: in the environment, netrc or its settings."""
    from wandb.sdk.lib import wbauth

    return bool(wbauth.authenticate_session(host=url, source="cpt", prompt=False, update_session=False))


def _first_hop(url: str) -> tuple[str, int]:
    """Host and port to connect to: the server's, or its proxy's."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

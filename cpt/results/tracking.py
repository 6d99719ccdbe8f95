"""The mirror of curves and scores on Weights & Biases, for people who compare runs in a browser.

The truth is on disk and the mirror can be filled again from it, so nothing that happens here may stop or change a run:
what fails is said once and then done without.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cpt.train.hooks import Hook, StepRecord

if TYPE_CHECKING:
    from cpt.evals.rows import Row

_LOG = logging.getLogger(__name__)

_CONNECT = 5.0
_DEADLINE = 12.0
"""Seconds for the whole question whether W&B can be used; a name server alone can hang for a minute."""
_ATTEMPTS = {"offline": ("offline",), "online": ("online", "offline")}
"""What is tried for each mode, in order, before going without."""
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "init_timeout": 10,
    "finish_timeout": 30,  # without it, finishing waits for a lost server for ever
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


def _wandb() -> Any:
    """The library, imported where it is used: it takes half a second, and most runs have no mirror."""
    os.environ.setdefault("WANDB_SILENT", "true")  # its login speaks before any setting of a run is known
    # Its reports about itself, with the server gone, hold a finished process back for 10 s and complain on screen.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def resolve_mode(mode: str, say: Callable[[str], None]) -> str:
    """The mode that will work from here: `online` becomes `offline`, and says so, without a key or a server.

    Asked once, where a study is launched, so that 36 runs do not each wait for a server that is not there.
    """
    if mode != "online":
        return mode
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(_obstacle()), daemon=True).start()
    try:
        obstacle = answer.get(timeout=_DEADLINE)
    except queue.Empty:
        obstacle = f"its server gave no answer within {_DEADLINE:.0f} s"
    if obstacle is None:
        return "online"
    say(
        f"tracking: offline instead of online, for {obstacle}. Curves and scores are kept in each run's folder; "
        "with a key and a connection, `wandb sync <run folder>/wandb/offline-run-*` sends them later"
    )
    return "offline"


def _obstacle() -> str | None:
    """Why W&B cannot be used online from this process, or None."""
    try:
        url = _authenticated_url()
        if url is None:
            return "no API key was found (set WANDB_API_KEY or run `wandb login`)"
        host, port = _first_stop(url)
    except Exception as error:
        return f"wandb cannot be used here ({_describe(error)})"
    try:
        socket.create_connection((host, port), timeout=_CONNECT).close()
    except Exception as error:
        return f"{host}:{port} cannot be reached ({_describe(error)})"
    return None


def _authenticated_url() -> str | None:
    """Address of the server, where wandb finds a key for it: in the environment, netrc or its settings."""
    _wandb()
    # Not its public interface, which would ask for a key at a terminal, or start a process and talk to the server.
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    url: str = wandb_setup.singleton().settings.base_url
    key = wbauth.authenticate_session(host=url, source="cpt", prompt=False, update_session=False)
    return url if key else None


def _first_stop(url: str) -> tuple[str, int]:
    """Where a connection to the server begins: there, or at the proxy that many clusters have before it."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _describe(error: BaseException) -> str:
    """An error in one line that never shows the key."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    key = os.environ.get("WANDB_API_KEY")
    return line.replace(key, "…") if key else line


class Sink(Protocol):
    """Where a tracker's values go."""

    def log(self, values: dict[str, float], step: int) -> None: ...

    def summarise(self, values: dict[str, float]) -> None: ...

    def close(self, failed: bool) -> None: ...


class Nowhere:
    """The sink of mode `none`, and of a run whose mirror failed."""

    def log(self, values: dict[str, float], step: int) -> None:
        pass

    def summarise(self, values: dict[str, float]) -> None:
        pass

    def close(self, failed: bool) -> None:
        pass


class Aside:
    """A sink in a thread of its own, opened at its first use: W&B takes seconds to start, which no step waits for."""

    def __init__(self, opening: Callable[[], Sink]) -> None:
        self._opening = opening
        self._sink: Sink | None = None
        self._error: Exception | None = None
        self._pool = ThreadPoolExecutor(1, "tracking")

    def log(self, values: dict[str, float], step: int) -> None:
        self._pass_on(lambda sink: sink.log(values, step))

    def summarise(self, values: dict[str, float]) -> None:
        self._pass_on(lambda sink: sink.summarise(values))

    def close(self, failed: bool) -> None:
        """Returns when all that was passed on has arrived."""
        self._pass_on(lambda sink: sink.close(failed)).result()
        self._pool.shutdown()
        self._raise()

    def _pass_on(self, action: Callable[[Sink], None]) -> Future[None]:
        self._raise()
        return self._pool.submit(self._perform, action)

    def _perform(self, action: Callable[[Sink], None]) -> None:
        try:
            self._sink = self._sink or self._opening()
            action(self._sink)
        except Exception as error:
            self._error = self._error or error

    def _raise(self) -> None:
        """What went wrong aside is told at the next occasion, once."""
        error, self._error = self._error, None
        if error:
            raise error


class WandbRun:
    """One process's part of a W&B run. A resumed run has several of one id; `last_step` keeps them from overlapping."""

    def __init__(self, folder: Path, **identity: Any) -> None:
        files = folder / "wandb"
        files.mkdir(parents=True, exist_ok=True)
        last_step = files / "last_step"
        last_step.touch()  # fails where wandb would silently write to the system's temporary folder instead
        self._last = int(last_step.read_text() or 0)
        wandb = _wandb()
        # `create_new` leaves alone whatever other run lives in this process.
        settings = wandb.Settings(**_SETTINGS, reinit="create_new")
        self._run = wandb.init(dir=str(folder), resume="allow", settings=settings, **identity)
        self._last_step = last_step.open("r+")

    def log(self, values: dict[str, float], step: int) -> None:
        if step <= self._last:
            return  # trained again from an earlier checkpoint, to the same bits
        self._last = step
        # Before the step is sent: a kill in between leaves a gap in a mirror, not a step that counts twice.
        # Overwritten in place and of one width, so that no kill leaves half a number.
        self._last_step.seek(0)
        self._last_step.write(f"{step:012d}")
        self._last_step.flush()
        self._run.log(values, step=step, commit=True)  # else the last row waits for the next

    def summarise(self, values: dict[str, float]) -> None:
        self._run.summary.update(values)

    def close(self, failed: bool) -> None:
        self._last_step.close()
        self._run.finish(exit_code=int(failed))


def _start_afresh() -> None:
    """Let go of wandb's own process after a failure: it would keep the run's id taken, or be dead for the next run."""
    with suppress(Exception, SystemExit):  # it exits with the code of its process
        _wandb().teardown(exit_code=1)


class Tracker(Hook):
    """A run's mirror: a hook of the training loop, and a place for the rows of an evaluation."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(lambda sink: sink.close(failed=kind is not None))

    def after_step(self, record: StepRecord) -> None:
        values = {"loss": record.loss, "lr": record.lr, "gradient_norm": record.gradient_norm, "tokens": record.tokens}
        if record.seconds > 0:
            values["tokens_per_second"] = record.tokens / record.seconds
        values |= {f"loss/{source}": loss for source, loss in record.source_losses.items()}
        self._attempt(lambda sink: sink.log(values, record.step))

    def log_rows(self, rows: list[Row]) -> None:
        """Every score into the summary, under a name like `flores200/sound/en-x/zul_Latn/chrf++`."""
        values = {summary_name(row): row.value for row in rows}
        self._attempt(lambda sink: sink.summarise(values))

    def _attempt(self, action: Callable[[Sink], None]) -> None:
        try:
            action(self._sink)
        except Exception as error:
            _LOG.warning("W&B failed (%s); the run goes on without it, its results are on disk", _describe(error))
            broken, self._sink = self._sink, Nowhere()
            with suppress(Exception):
                broken.close(failed=True)
            _start_afresh()


def summary_name(row: Row) -> str:
    """Task, protocol, direction, language and metric, as far as the row has them."""
    return "/".join(part for part in (row.task, row.protocol, row.direction, row.language, row.metric) if part)


def open_tracker(
    mode: str,
    *,
    folder: Path,
    run_id: str,
    name: str,
    group: str,
    tags: list[str],
    config: dict[str, Any],
    project: str,
    entity: str | None,
    job_type: str,
) -> Tracker:
    """A tracker for the run in `folder`, as near to `mode` as W&B lets us; its W&B id is the run's own."""
    if mode == "none":
        return Tracker(Nowhere())
    identity = {
        "id": re.sub(r"[^A-Za-z0-9_.-]", "_", run_id),
        "name": name,
        "group": group,
        "tags": tags,
        "config": config,
        "project": project,
        "entity": entity,
        "job_type": job_type,
    }
    return Tracker(Aside(lambda: _open(mode, folder, identity)))


def _open(mode: str, folder: Path, identity: dict[str, Any]) -> Sink:
    for attempt in _ATTEMPTS[mode]:
        try:
            return WandbRun(folder, mode=attempt, **identity)
        except Exception as error:
            _LOG.warning("W&B cannot be opened %s (%s)", attempt, _describe(error))
            _start_afresh()
    return Nowhere()

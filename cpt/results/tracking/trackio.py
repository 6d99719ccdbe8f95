"""Mirrors runs to trackio: a database beside the studies, for a dashboard without account or network.

Rows are written through trackio's storage and not through `trackio.init` and `log`. Those print, ask a hub for the
user's name, lose rows in a kill because they send from threads, and give each row a random key. Here the key is the run
and step, and the database stores each key once, so a step that is sent twice is there once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpt.files import write_text
from cpt.results.tracking.history import MEAN, Values, digest

if TYPE_CHECKING:
    import sqlite3

    from cpt.results.tracking.base import Identity
    from cpt.results.tracking.comparison_run import ComparisonArtifacts

FOLDER = ".trackio"
"""Folder of the databases, one for each study, beside the studies."""
INSTALL = "pip install -e '.[trackio]' -c constraints.txt"
SCORES = "scores"
_STORAGE_MODE = "TRACKIO_STORAGE_MODE"
_CHARTED = (f"{MEAN}/", "ledger/")
"""Values of a whole run that are charted; hundreds of single scores are shown with its settings, on its own page."""
_LONGEST = 2000
"""Rows; a page does not show longer tables, which are on disk anyway."""
_INTERVAL, _FILE_INTERVAL = 0.05, 30.0
"""Seconds between writes to the database (10 ms each), and between writes that each make a file."""


class Trackio:
    """The folder of the databases as a destination."""

    name = "trackio"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def address(self) -> str:
        """A random id stored in the folder: a folder that is made again has received nothing."""
        mark, own = self.folder / "id", secrets.token_hex(8)
        if not mark.exists():
            write_text(self.folder / own, own + "\n")
            with suppress(FileExistsError):  # another run was first
                os.link(self.folder / own, mark)
            (self.folder / own).unlink()
        return mark.read_text(encoding="utf-8").strip()

    def obstacle(self) -> str | None:
        if find_spec("trackio") is None:
            return f"trackio is not installed here; `{INSTALL}` adds it"
        return None

    def open(self, folder: Path, identity: Identity) -> TrackioRun:
        """Open the run; `folder` is not used, for all runs of a study are in one database."""
        return TrackioRun(self.folder, identity)

    def abandon(self) -> None:
        """Nothing to release: no connection stays open between writes."""


class TrackioRun:
    """One run in the database of its study."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self._fragments = library(folder)
        self._identity, self._project = identity, project_of(identity.group)
        self._database = folder / f"{self._project}.db"
        shared = _is_shared(folder)
        self._writer = self._fragments.FragmentWriter() if shared else None
        self._interval = _FILE_INTERVAL if shared else _INTERVAL
        self.known_step, self._summary, scores = self._stored()
        self._waiting: list[dict[str, Any]] = []
        self._written = 0.0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._settings = settings_of(identity)
        self._config: dict[str, Any] | None = self._settings | scores

    def log(self, values: Values, step: int) -> None:
        self.known_step = step
        self._add(dict(values), step, str(step))
        if time.monotonic() - self._written >= self._interval:
            self._write()
        elif self._timer is None:
            self._timer = threading.Timer(self._interval, self._write_later)
            self._timer.daemon = True
            self._timer.start()

    def summarise(self, values: Values) -> None:
        if digest(values) == self._summary:
            return
        self._summary = digest(values)
        charted = {name: value for name, value in values.items() if name.startswith(_CHARTED)}
        self._config = self._settings | {SCORES: {name: value for name, value in values.items() if name not in charted}}
        self._replace(charted, max(self.known_step, 0), "summary", self._summary)

    def log_comparison(self, artifacts: ComparisonArtifacts, step: int) -> None:
        """Tables that are short enough for a page, and pages as files beside the databases."""
        from trackio import Html, Table
        from trackio.utils import project_media_dir

        shown: dict[str, Any] = {}
        for name, table in artifacts.tables.items():
            if len(table) <= _LONGEST:
                rows = json.loads(table.to_json(orient="values"))
                shown[name] = Table(columns=list(table.columns), data=rows)._to_dict("", "")
        for name, path in artifacts.pages.items():
            page = Html(path.read_text(encoding="utf-8"))
            page._save(self._project, self._identity.name, step)
            shown[name] = page._to_dict()
        self._replace(shown, step, "shown", artifacts.digest)
        for pages in (project_media_dir(self._project) / self._identity.name).glob("*"):
            if pages.name != str(step):
                shutil.rmtree(pages)

    def _replace(self, values: dict[str, Any], step: int, kind: str, state: str) -> None:
        """Values of the whole run; they replace earlier ones of the same kind."""
        self._add(values, step, f"{kind}/{state}/{secrets.token_hex(4)}")
        self._write()
        if self._writer is None:
            drop_old_summaries(self._database)

    def close(self, failed: bool) -> None:
        if self._timer:
            self._timer.cancel()
        self._write()

    def _add(self, values: dict[str, Any], step: int, key: str) -> None:
        """Queue a row for the next write; the first row after a change carries the run's settings."""
        config, self._config = self._config, None
        entry = {
            "project": self._project,
            "run": self._identity.name,
            "run_id": self._identity.run_id,
            "metrics": values,
            "step": step,
            "timestamp": datetime.now(UTC).isoformat(),
            "config": config,
            "log_id": f"{self._identity.run_id}/{key}",
        }
        with self._lock:
            self._waiting.append(self._fragments.metric_record(entry))

    def _write(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            if self._writer:
                self._writer.write_local(self._waiting)
            else:
                self._fragments.import_records(self._waiting)
            self._waiting = []
            self._written = time.monotonic()

    def _write_later(self) -> None:
        self._timer = None
        with suppress(Exception):  # the rows stay waiting, and the next write raises the error
            self._write()

    def _stored(self) -> tuple[int, str, dict[str, Any]]:
        """The run in the database: its last step, the digest of its summary, and its single scores."""
        from trackio.sqlite_storage import SQLiteStorage

        if self._writer is None:
            SQLiteStorage.init_db(self._project)
        elif not self._database.exists():
            return -1, "", {}
        run = self._identity.run_id
        with closing(connect(self._database)) as database:
            rows = database.execute("SELECT log_id, step FROM metrics WHERE run_id = ?", (run,)).fetchall()
            configs = database.execute("SELECT config FROM configs WHERE run_id = ?", (run,)).fetchall()
        stored = {key.removeprefix(f"{run}/"): step for key, step in rows if key}
        summaries = [key.split("/")[1] for key in stored if key.startswith("summary/")]
        steps = [step for key, step in stored.items() if not key.startswith("summary/")]
        config = json.loads(configs[0][0]) if configs else {}
        return max(steps, default=-1), "".join(summaries[-1:]), {SCORES: config[SCORES]} if SCORES in config else {}


def library(folder: Path) -> Any:
    """trackio's module `fragments`, with its databases in `folder`. Nothing else here changes trackio's state.

    trackio has no public way to choose its folder after the import, so its constants are replaced if another folder
    was used before. The user's TRACKIO_* variables are removed from this process: they belong to other work, and
    several of them make trackio send what it stores to a Space, a server or a bucket.
    """
    for name in [name for name in os.environ if name.startswith("TRACKIO_") and name != _STORAGE_MODE]:
        del os.environ[name]
    folder = folder.resolve()
    os.environ["TRACKIO_DIR"] = str(folder)
    level = logging.getLogger("httpx").level
    from trackio import fragments, utils

    logging.getLogger("httpx").setLevel(level)  # the import changes it
    if folder != utils.TRACKIO_DIR:
        paths = {"TRACKIO_DIR": folder, "MEDIA_DIR": folder / "media", "ARTIFACTS_DIR": folder / "artifacts"}
        for module in [module for name, module in sys.modules.items() if name.split(".")[0] == "trackio"]:
            for name in paths.keys() & vars(module).keys():
                setattr(module, name, paths[name])
    return fragments


def _is_shared(folder: Path) -> bool:
    """Whether the folder is on a network file system, where a database must have a single writer.

    There each process writes files, which the dashboard imports; the same rule as trackio's own.
    """
    from trackio import utils

    mode = os.environ.get(_STORAGE_MODE, "auto")
    return mode == "jsonl" or (mode != "sqlite" and bool(utils.is_network_filesystem(folder.resolve())))


def project_of(study: str) -> str:
    """trackio's name of a study: the study's own if trackio accepts it and no other study can share its file."""
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import canonical_project_name

    plain = str(canonical_project_name(study))
    with suppress(ValueError):
        SQLiteStorage.validate_project_name(study)
        if plain == study:
            return study
    return f"study-{plain}-{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def settings_of(identity: Identity) -> dict[str, Any]:
    """The factors by which the dashboard groups runs, then all settings."""
    config = identity.config
    axes: dict[str, Any] = {}
    if identity.job_type in ("train", "base"):
        axes["model"] = config["model"]["label"]
    if identity.job_type == "train":
        data, code = config["data_mix"]["label"], "with code" if config["code"] else "without code"
        category = config["lang_category"]["label"]
        axes |= {"data": data, "code": code, "data and code": f"{data}, {code}", "category": category}
        axes["seed"] = config["seed"]
    kind = {"train": "trained", "base": "untouched base"}.get(identity.job_type, identity.job_type)
    note = {"note": identity.notes} if identity.notes else {}
    return axes | {"kind": kind} | note | {"settings": config}  # nested, so not offered for grouping


def drop_old_summaries(path: Path) -> None:
    """Keep only the latest summary row of each kind."""
    kind = "substr(log_id, 1, instr(substr(log_id, length(run_id) + 2), '/') + length(run_id) + 1)"
    rows = "FROM metrics WHERE log_id LIKE run_id || '/%/%/%'"
    with closing(connect(path)) as database, database:
        database.execute(f"DELETE {rows} AND id NOT IN (SELECT max(id) {rows} GROUP BY {kind})")


def connect(path: Path) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(path, timeout=30)

"""trackio as a mirror: curves and scores in a database beside the studies, for a dashboard without account or network.

What is written goes through trackio's storage and never through its `init` and `Run`: those print, ask a hub who the
user is, send from threads of their own what a kill then loses, and give every row a random key. Here a row's key is
its run and step, and the database takes a key once, so whatever is told twice is there once.
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
"""Of the databases, one a study, in the folder of the studies."""
INSTALL = "pip install -e '.[trackio]' -c constraints.txt"
SCORES = "scores"
_STORAGE_MODE = "TRACKIO_STORAGE_MODE"
_PLACES = ("TRACKIO_DIR", "MEDIA_DIR", "ARTIFACTS_DIR")
_CHARTED = (f"{MEAN}/", "ledger/")
"""Numbers of a whole run that are charted; the hundreds of single scores stand with its settings, on its own page."""
_LONGEST = 2000
"""Rows of a table that a page still shows at once; that of all rows is one of files anyway."""
_BETWEEN, _BETWEEN_FILES = 0.05, 30.0
"""Seconds from one write to the next: to the database, which takes one 10 ms, and where each write leaves a file."""


class Trackio:
    """The destination, by the folder of its databases."""

    name = "trackio"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def address(self) -> str:
        """A name that the folder was given when it was made: what was sent to another one is not here."""
        mark, own = self.folder / "id", secrets.token_hex(8)
        if not mark.exists():
            write_text(self.folder / own, own + "\n")
            with suppress(FileExistsError):  # of runs that begin at once the first gives the name
                os.link(self.folder / own, mark)
            (self.folder / own).unlink()
        return mark.read_text(encoding="utf-8").strip()

    def obstacle(self) -> str | None:
        if find_spec("trackio") is None:
            return f"trackio is not installed here; `{INSTALL}` adds it"
        return None

    def open(self, folder: Path, identity: Identity) -> TrackioRun:
        """The run; the folder of a run is not needed, for all runs are in one database."""
        return TrackioRun(self.folder, identity)

    def abandon(self) -> None:
        """Nothing is held between two writes."""


class TrackioRun:
    """One run in the database of its study."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self._fragments = library(folder)
        self._identity, self._project = identity, project_of(identity.group)
        self._database = folder / f"{self._project}.db"
        shared = _is_shared(folder)
        self._writer = self._fragments.FragmentWriter() if shared else None
        self._between = _BETWEEN_FILES if shared else _BETWEEN
        self.known_step, self._summary, scores = self._known()
        self._waiting: list[dict[str, Any]] = []
        self._written = 0.0
        self._lock = threading.Lock()
        self._later: threading.Timer | None = None
        self._told = settings_of(identity)
        self._config: dict[str, Any] | None = self._told | scores

    def log(self, values: Values, step: int) -> None:
        self.known_step = step
        self._add(dict(values), step, str(step))
        if time.monotonic() - self._written >= self._between:
            self._write()
        elif self._later is None:
            self._later = threading.Timer(self._between, self._write_late)
            self._later.daemon = True
            self._later.start()

    def summarise(self, values: Values) -> None:
        if digest(values) == self._summary:
            return
        self._summary = digest(values)
        charted = {name: value for name, value in values.items() if name.startswith(_CHARTED)}
        self._config = self._told | {SCORES: {name: value for name, value in values.items() if name not in charted}}
        self._replace(charted, max(self.known_step, 0), "summary", self._summary)

    def log_comparison(self, artifacts: ComparisonArtifacts, step: int) -> None:
        """Its tables, but for those too long for a page, and its pages, as files beside the databases."""
        from trackio import Html
        from trackio.utils import project_media_dir

        tables = {name: table for name, table in artifacts.tables.items() if len(table) <= _LONGEST}
        shown = {
            name: table_of(list(table.columns), json.loads(table.to_json(orient="values")))
            for name, table in tables.items()
        }
        for name, path in artifacts.pages.items():
            page = Html(path.read_text(encoding="utf-8"))
            page._save(self._project, self._identity.name, step)
            shown[name] = page._to_dict()
        self._replace(shown, step, "shown", artifacts.digest)
        for pages in (project_media_dir(self._project) / self._identity.name).glob("*"):
            if pages.name != str(step):
                shutil.rmtree(pages)

    def _replace(self, values: dict[str, Any], step: int, kind: str, state: str) -> None:
        """Values of the run as a whole, instead of those of their kind that were told before."""
        self._add(values, step, f"{kind}/{state}/{secrets.token_hex(4)}")
        self._write()
        if self._writer is None:
            drop_replaced(self._database)

    def close(self, failed: bool) -> None:
        if self._later:
            self._later.cancel()
        self._write()

    def _add(self, values: dict[str, Any], step: int, key: str) -> None:
        """A row for the next write; the first of a process carries what is to be told of the run beside its numbers."""
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

    def _write_late(self) -> None:
        self._later = None
        with suppress(Exception):  # it waits on, and who writes next is told
            self._write()

    def _known(self) -> tuple[int, str, dict[str, Any]]:
        """What is there of the run: its last step, the digest of its summary, and the summary's single scores."""
        if self._writer is None:
            _create(self._project)
        elif not self._database.exists():
            return -1, "", {}
        run = self._identity.run_id
        with closing(connect(self._database)) as database:
            rows = database.execute("SELECT log_id, step FROM metrics WHERE run_id = ?", (run,)).fetchall()
            configs = database.execute("SELECT config FROM configs WHERE run_id = ?", (run,)).fetchall()
        told = {key.removeprefix(f"{run}/"): step for key, step in rows if key}
        summaries = [key.split("/")[1] for key in told if key.startswith("summary/")]
        steps = [step for key, step in told.items() if not key.startswith("summary/")]
        config = json.loads(configs[0][0]) if configs else {}
        return max(steps, default=-1), "".join(summaries[-1:]), {SCORES: config[SCORES]} if SCORES in config else {}


def library(folder: Path) -> Any:
    """trackio's module of records that are written once, with its databases in that folder.

    The environment is the user's own, of other work: settings in it that would send what is written here elsewhere,
    to a Space, a server or a bucket, are taken out of this process's.
    """
    for name in [name for name in os.environ if name.startswith("TRACKIO_") and name != _STORAGE_MODE]:
        del os.environ[name]
    folder = folder.resolve()
    os.environ["TRACKIO_DIR"] = str(folder)
    level = logging.getLogger("httpx").level
    from trackio import fragments, utils

    logging.getLogger("httpx").setLevel(level)  # it changes it for everybody
    if folder != utils.TRACKIO_DIR:
        _move(folder, utils)
    return fragments


def _move(folder: Path, utils: Any) -> None:
    """Have the library use another folder than it found in the environment when it was imported."""
    places = dict(zip(_PLACES, (folder, folder / utils.MEDIA_DIR.name, folder / utils.ARTIFACTS_DIR.name), strict=True))
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "trackio":
            for place in places.keys() & vars(module).keys():
                setattr(module, place, places[place])


def _is_shared(folder: Path) -> bool:
    """Whether the folder is on a network's file system, where the database must have a single writer.

    There every process adds files of its own, which the dashboard takes into the database; as trackio itself decides.
    """
    from trackio import utils

    mode = os.environ.get(_STORAGE_MODE, "auto")
    return mode == "jsonl" or (mode != "sqlite" and bool(utils.is_network_filesystem(folder.resolve())))


def project_of(study: str) -> str:
    """The name of a study's project: its own, where trackio can have a file of that name for it alone."""
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import canonical_project_name

    plain = str(canonical_project_name(study))
    try:
        SQLiteStorage.validate_project_name(study)
    except ValueError:
        pass
    else:
        if plain == study:
            return study
    return f"study-{plain}-{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def settings_of(identity: Identity) -> dict[str, Any]:
    """What the dashboard shows of a run and groups runs by: the axes as words of their own, then all settings."""
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
    return axes | {"kind": kind} | note | {"settings": config}  # what is nested makes no groups


def table_of(columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    """Rows as a table of the dashboard."""
    from trackio import Table

    table: dict[str, Any] = Table(columns=columns, data=rows)._to_dict("", "")
    return table


def _create(project: str) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage.init_db(project)


def drop_replaced(path: Path) -> None:
    """Of what is told of a run as a whole, keep what was told last, of each kind."""
    kind = "substr(log_id, 1, instr(substr(log_id, length(run_id) + 2), '/') + length(run_id) + 1)"
    rows = "FROM metrics WHERE log_id LIKE run_id || '/%/%/%'"
    with closing(connect(path)) as database, database:
        database.execute(f"DELETE {rows} AND id NOT IN (SELECT max(id) {rows} GROUP BY {kind})")


def connect(path: Path) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(path, timeout=30)

"""lm-eval's benchmarks from the hub, for `paths.harness=hub`: what a study asks of them, brought into the cache once.

They are read there as from a folder that somebody downloaded. The commit is on record beside the files, so a study
goes on with what it began with; a folder that is removed is fetched anew, as the data set then is.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from cpt.corpora.reading.base import Stored
from cpt.errors import UserError, config_error
from cpt.evals.benchmarks.harness.tasks import data
from cpt.files import locked, read_json, replacing, write_json
from cpt.hub import PROGRESS_SECONDS, UnavailableError, dataset_file, dataset_info, dataset_page

HUB = "hub"
"""What `paths.harness` says in place of a folder."""
RECORD = "hub.json"
WHOLE = "whole"
"""Folder of the files of a set that has all languages in one split, until they are told apart."""
READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""What of the `datasets` library reads such files. A set that is there in several forms is read in the first."""
Say = Callable[[str], None]


def folder_of(cache: Path, place: str) -> Path:
    """Where a benchmark of the hub is read, by the name of its folder."""
    return cache / "benchmarks" / "harness" / place


def check(name: str, languages: Iterable[str], folder: Path) -> None:
    """Stop before anything starts when what is not there yet cannot be had, saying why and what to do instead."""
    if _missing(name, languages, folder):
        _record(name, folder)


def fetch(name: str, languages: Iterable[str], folder: Path, say: Say) -> None:
    """Bring what is not there yet of these languages, as far as the benchmark has them."""
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (missing := _missing(name, languages, folder)):
            return
        record = _record(name, folder)
        if not data.SOURCES[name].whole:
            _bring(name, sorted(missing & set(record["files"])), record, folder, say)
        elif missing & set(record.get("languages", missing)):
            _bring(name, _with_rows(record)[1], record, folder / WHOLE, say)
            write_json(folder / RECORD, {**record, "languages": _told_apart(name, record, folder)})
            shutil.rmtree(folder / WHOLE)


def _missing(name: str, languages: Iterable[str], folder: Path) -> set[str]:
    """What is in none of its places, by its place on the hub. Of what the hub has not, any part is enough."""
    source, codes = data.SOURCES[name], data.codes(name)
    wanted: dict[str, bool] = {}
    for code in (codes[language] for language in languages if language in codes):
        for places in filter(None, (source.test, source.shots)):
            names = [place.format(code=code) for place in places]
            wanted[names[-1]] = any((folder / one).exists() for one in names)
    if source.get and any(wanted.values()):
        return set()
    return {file for file, there in wanted.items() if not there}


def _record(name: str, folder: Path) -> Any:
    """Commit and files of the data set when it was first used on this machine."""
    path, source = folder / RECORD, data.SOURCES[name]
    if path.exists():
        return read_json(path)
    instead = f"leave it out, or put its files into its folder in {folder.parent} (docs/benchmarks.md)"
    if source.get:
        raise config_error("evals", name, f"the hub has no open copy for paths.harness=hub: {source.get}; {instead}")
    repo = source.whole or source.hub
    where = f"{name} ({dataset_page(repo)})"
    try:
        record = {"hub": repo, **dataset_info(repo, source.revision)}
    except UnavailableError as error:
        raise config_error("evals", where, f"paths.harness=hub, but {error}; or {instead}") from error
    names = [source.test[-1].format(code=code) for code in data.codes(name).values()]
    if not (_with_rows(record)[1] if source.whole else set(names) & set(record["files"])):
        expected = ", ".join(READERS) if source.whole else names[0]
        found = ", ".join(record["files"][:5]) or "nothing"
        reason = f"none of its files there; expected such as {expected}; found {found}; {instead}"
        raise config_error("evals", where, reason)
    write_json(path, record)
    return record


def _with_rows(record: Any) -> tuple[str, list[str]]:
    """What reads the rows of a set, and which of its files have them."""
    for ending, reader in READERS.items():
        if found := [name for name in record["files"] if name.endswith(ending)]:
            return reader, sorted(found)
    return "", []


def _bring(name: str, files: Sequence[str], record: Any, folder: Path, say: Say) -> None:
    """File by file, each whole or not there, so what a kill leaves is gone on with."""
    shown = time.monotonic()
    missing = [file for file in files if not (folder / file).exists()]
    for count, file in enumerate(missing, start=1):
        with (
            Stored(dataset_file(record["hub"], record["commit"], file), hub=True).open() as stored,
            replacing(folder / file) as out,
        ):
            shutil.copyfileobj(stored, out)
        if time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            say(f"{name}: {count} of {len(missing)} files")
    if missing:
        say(f"{name}: {len(missing)} files of {record['hub']} are now in {folder}")


def _told_apart(name: str, record: Any, folder: Path) -> list[str]:
    """A file for each language of a set that has all in one split; none has its name before all are read."""
    from datasets import load_dataset

    reader, names = _with_rows(record)
    files = {code: data.SOURCES[name].test[-1].format(code=code) for code in data.codes(name).values()}
    paths = [str(folder / WHOLE / one) for one in names]
    outs: dict[str, IO[bytes]] = {}
    others: set[str] = set()
    try:
        with ExitStack() as stack:
            for row in load_dataset(reader, data_files=paths, split="train", streaming=True):
                if (code := row["language"]) not in files:
                    others.add(str(code))
                    continue
                if code not in outs:
                    outs[code] = stack.enter_context(replacing(folder / files[code]))
                outs[code].write(json.dumps(row, default=str).encode() + b"\n")
    except Exception as error:  # each of the library's readers has its own
        why = f"no column {error}" if isinstance(error, KeyError) else type(error).__name__
        expected = f"expected rows of {name} with a column `language`"
        raise UserError(f"{folder / WHOLE}: cannot be told apart by language ({why}); {expected}") from error
    if not outs:
        found = ", ".join(sorted(others)[:5]) or "no rows"
        expected = ", ".join(list(files)[:5])
        raise UserError(f"{folder / WHOLE}: `language` is none of {name}, such as {expected}; found {found}")
    return sorted(files[code] for code in outs)

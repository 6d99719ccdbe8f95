"""Download lm-eval's benchmarks from the hub (`paths.harness=hub`) into the cache.

They are read from there like a folder of the user. The commit is recorded beside the files, so that a study keeps the
version it began with; a folder that is removed is downloaded again, at the current commit.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from cpt.corpora.reading.layout import Stored
from cpt.errors import UserError, config_error
from cpt.evals.benchmarks.harness.tasks import data
from cpt.files import locked, read_json, replacing, write_json
from cpt.hub import PROGRESS_SECONDS, UnavailableError, dataset_file, dataset_info, dataset_page

HUB = "hub"
"""Value of `paths.harness` in place of a folder."""
RECORD = "hub.json"
WHOLE = "whole"
"""Folder of the files of a set that has all languages in one split, until they are split by language."""
READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Readers of the `datasets` library by ending. Of a set in several formats the first one is read."""
Say = Callable[[str], None]


def folder_of(cache: Path, name: str) -> Path:
    """The folder that a benchmark of the hub is read from."""
    return cache / "benchmarks" / "harness" / name


def check(name: str, languages: Iterable[str], folder: Path) -> None:
    """Refuse a benchmark whose missing files are not available, before anything starts."""
    if _missing(name, languages, folder):
        _record(name, folder)


def fetch(name: str, languages: Iterable[str], folder: Path, say: Say) -> None:
    """Download the missing files of these languages, as far as the benchmark has them."""
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (missing := _missing(name, languages, folder)):
            return
        record = _record(name, folder)
        if not data.SOURCES[name].whole:
            _download(name, sorted(missing & set(record["files"])), record, folder, say)
        elif missing & set(record.get("languages", missing)):
            _download(name, _with_rows(record)[1], record, folder / WHOLE, say)
            write_json(folder / RECORD, {**record, "languages": _split_by_language(name, record, folder)})
            shutil.rmtree(folder / WHOLE)


def _missing(name: str, languages: Iterable[str], folder: Path) -> set[str]:
    """Missing files, by their name on the hub. For a benchmark that is not on the hub, any file is enough."""
    source, codes = data.SOURCES[name], data.codes(name)
    wanted: dict[str, bool] = {}
    for code in (codes[language] for language in languages if language in codes):
        for patterns in filter(None, (source.test, source.shots)):
            names = [pattern.format(code=code) for pattern in patterns]
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
        existing = ", ".join(record["files"][:5]) or "nothing"
        reason = f"none of its files there; expected such as {expected}; found {existing}; {instead}"
        raise config_error("evals", where, reason)
    write_json(path, record)
    return record


def _with_rows(record: Any) -> tuple[str, list[str]]:
    """The reader for the rows of a set, and the files that hold them."""
    for ending, reader in READERS.items():
        if names := [name for name in record["files"] if name.endswith(ending)]:
            return reader, sorted(names)
    return "", []


def _download(name: str, files: Sequence[str], record: Any, folder: Path, say: Say) -> None:
    """Download file by file, each whole or not at all, so that an interrupted call resumes."""
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


def _split_by_language(name: str, record: Any, folder: Path) -> list[str]:
    """Write a file for each language of a set that has all in one split, after reading all of it."""
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
        raise UserError(f"{folder / WHOLE}: cannot be split by language ({why}); {expected}") from error
    if not outs:
        existing = ", ".join(sorted(others)[:5]) or "no rows"
        expected = ", ".join(list(files)[:5])
        raise UserError(f"{folder / WHOLE}: `language` is none of {name}, such as {expected}; found {existing}")
    return sorted(files[code] for code in outs)

"""The files of a source: on this machine, at a web address, in a data set of a hub, or in the toy world."""

from __future__ import annotations

import difflib
import fnmatch
import glob
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpt.config import TextConfig
from cpt.corpora.reading import LAYOUTS, layout_of
from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.reading.opening import split_ending
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError, config_error
from cpt.files import file_hash
from cpt.hub import WEB, UnavailableError, dataset_file, dataset_record, shown_address, web_record
from cpt.languages import registry

TOY = "toy:"
INSTEAD = "or download its files and name them: corpora=folder paths.corpora=<folder>, for one source corpora.other"


@dataclass(frozen=True)
class CorpusLocation:
    """The location of the text of one source."""

    key: str
    """The configuration's key, for messages."""
    text: TextConfig
    names: tuple[tuple[str, str], ...]
    """Values for the braces in the pattern."""
    languages: tuple[str, ...]
    world: ToyWorld
    cache: Path

    @property
    def pattern(self) -> str:
        pattern = self.text.files
        for name, value in self.names:
            pattern = pattern.replace(f"{{{name}}}", value)
        return pattern

    @property
    def remote(self) -> bool:
        return bool(self.text.hub) or self.pattern.startswith(WEB)

    def fingerprint(self) -> str:
        """Identifies the content: by the toy world, a hash of files, a commit of a hub, or a version of a web file."""
        if not self.pattern:
            return "nowhere"
        self._refuse_unknown_names()
        if self.pattern.startswith(TOY):
            return f"{self.world.fingerprint}/{self.pattern.removeprefix(TOY)}"
        how = self._how()
        if self.text.hub:
            return f"hub:{self.text.hub}@{self.commit() or self.text.revision}/{self.pattern}{how}"
        if self.remote:
            return f"web:{self.pattern}@{self._version()}{how}"
        lanes = (",".join(file_hash(Path(p), self.cache) for p in self._paths(lane)) for lane in braces(self.pattern))
        return f"files:{'|'.join(lanes)}{how}"

    def _refuse_unknown_names(self) -> None:
        if unknown := re.search(r"{(\w+)}", self.pattern):
            names = ", ".join(f"{{{name}}}" for name, _ in self.names) or "none"
            raise config_error(self.key, self.pattern, f"{unknown[0]} stands for nothing here; what does: {names}")

    def _how(self) -> str:
        """The layout and fields of each file, which its name may decide."""
        try:
            files = [(volume.layout, volume.fields, len(volume.files), volume.lane) for volume in self.volumes()]
        except UserError:
            if not self.remote:
                raise
            return json.dumps([self.text.layout, self.fields])  # not available now; `check` says so
        return json.dumps(files)

    @property
    def fields(self) -> tuple[str, ...]:
        names = dict(self.names)
        given = [field.format_map(names) if "{" in field else field for field in self.text.fields]
        return tuple(given)

    def volumes(self) -> tuple[Volume, ...]:
        """The files in their order, those of a Moses pair together."""
        if self.pattern.startswith(TOY):
            path = self.world.file(self.pattern.removeprefix(TOY))
            return (Volume("jsonl", (Stored(str(path)),), self._fields_of("jsonl")),)
        lanes: dict[tuple[Stored, ...], int] = {}
        for lane, pattern in enumerate(braces(self.pattern)):
            for files in self._files(pattern):
                lanes.setdefault(files, lane)
        return tuple(self._volume(files, lane) for files, lane in lanes.items())

    def _files(self, pattern: str) -> list[tuple[Stored, ...]]:
        """The files of a pattern without alternatives."""
        if self.text.hub:
            return [(Stored(path, hub=True),) for path in self._hub_files(pattern)]
        if self.remote:
            return [(Stored(pattern),)]
        return [tuple(Stored(path) for path in paths) for paths in self._grouped(pattern)]

    def _volume(self, files: tuple[Stored, ...], lane: int) -> Volume:
        layout = "moses" if len(files) == 2 else self.text.layout or layout_of(files[0].path)
        if layout not in LAYOUTS:
            raise config_error(f"{self.key}.layout", layout, f"no such layout; known: {', '.join(LAYOUTS)}")
        if len(files) == 1 and len(self.languages) == 2 and len(self.fields) != 1 and layout in ("text", "moses"):
            reason = "one text a line; a pair needs two such files that end in its languages, or another layout"
            raise config_error(self.key, files[0].name, reason)
        return Volume(layout, files, self._fields_of(layout), lane)

    def _fields_of(self, layout: str) -> tuple[str, ...]:
        """The fields that hold the texts, with the layout's defaults."""
        if self.fields:
            return self.fields
        if layout == "tmx":
            return tuple(registry()[code].madlad or code.split("_")[0] for code in self.languages)
        if len(self.languages) == 1:
            return ("text",)
        names = dict(self.names)
        sides = ("1", "2") if layout == "tsv" else ("source", "target")
        return sides[::-1] if "{first}" in self.text.files and names["first"] != names["source"] else sides

    def _paths(self, pattern: str) -> list[str]:
        pattern = str(Path(pattern).expanduser())
        paths = sorted({path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()})  # noqa: PTH207
        if not paths:
            raise config_error(self.key, pattern, "no such file, which this run trains on")
        return paths

    def _grouped(self, pattern: str) -> list[tuple[str, ...]]:
        """Files that end in a pair's two languages belong together; any other is one by itself."""
        paths = self._paths(pattern)
        if len(self.languages) == 1:
            return [(path,) for path in paths]
        sides: dict[str, dict[str, str]] = {}
        alone = []
        short = {code: {code, code.split("_")[0], registry()[code].madlad} for code in self.languages}
        endings = {ending: code for code, names in short.items() for ending in names if ending}
        for path in paths:
            stem, _, ending = path[: len(split_ending(path)[0])].rpartition(".")
            if ending in endings:
                sides.setdefault(stem, {})[endings[ending]] = path
            else:
                alone.append((path,))
        for stem, paths_by_code in sides.items():
            if len(paths_by_code) != 2:
                [(code, lonely)] = paths_by_code.items()
                other = next(language for language in self.languages if language != code)
                raise config_error(self.key, lonely, f"the other side of the pair, {stem}.{other}, is not there")
        pairs = [tuple(both[code] for code in self.languages) for both in sides.values()]
        return sorted([*alone, *pairs])

    def _hub_files(self, pattern: str) -> list[str]:
        """Files of the data set at its commit, `datasets/<owner>/<name>@<commit>/<path>`."""
        record = self._hub_record()
        names = sorted(name for name in record["files"] if matches(name, pattern))
        if not names:
            near = difflib.get_close_matches(pattern, record["files"], n=5, cutoff=0)
            has = f"of its {len(record['files']):,} files the nearest are {', '.join(near)}" if near else "it is empty"
            raise config_error(self.key, pattern, f"{self.text.hub} has no such file; {has}; {INSTEAD}")
        return [dataset_file(self.text.hub, record["commit"], name) for name in names]

    def commit(self) -> str | None:
        """The recorded commit. Keys need it before anything is checked; `check` reports why there is none."""
        try:
            return str(self._hub_record()["commit"])
        except UserError:
            return None

    def _version(self) -> str:
        """The recorded version of files at web addresses."""
        try:
            return ",".join(self._web_record(address)["version"] for address in braces(self.pattern))
        except UserError:
            return ""

    def check(self) -> None:
        """Refuse a text that is not available, before anything starts."""
        if not self.text.files:
            raise config_error(self.key, "", "nowhere said where this text is; choose another `corpora`, or say")
        self._refuse_unknown_names()
        if self.pattern.startswith(TOY):
            return
        if self.remote and not self.text.hub:
            for address in braces(self.pattern):
                self._web_record(address)
        self.volumes()

    def _hub_record(self) -> Any:
        try:
            return dataset_record(self.cache, self.text.hub, self.text.revision)
        except UnavailableError as error:
            raise config_error(self.key, self.text.hub, f"{error}; {INSTEAD}") from error

    def _web_record(self, address: str) -> Any:
        try:
            return web_record(self.cache, address)
        except UnavailableError as error:
            raise config_error(self.key, shown_address(address), f"{error}; {INSTEAD}") from error


def matches(name: str, pattern: str) -> bool:
    """Match like a glob on disk: `*` stays within a folder, `**` is any number of folders."""
    return _matches(name.split("/"), pattern.split("/"))


def _matches(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    head, *rest = patterns
    if head == "**":
        return any(_matches(parts[skip:], rest) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], head) and _matches(parts[1:], rest)


def braces(pattern: str) -> list[str]:
    """Expand `a/{b,c}/d` to `a/b/d` and `a/c/d`."""
    head, opened, rest = pattern.partition("{")
    if not opened:
        return [pattern]
    inside, _, tail = rest.partition("}")
    return [f"{head}{choice}{end}" for choice in inside.split(",") for end in braces(tail)]

"""Patterns to files: on this machine, at a web address, in a data set of a hub, or in the toy world."""

from __future__ import annotations

import fnmatch
import glob
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpt.config import TextConfig
from cpt.corpora.reading import layout_of
from cpt.corpora.reading.base import Stored, Volume
from cpt.corpora.reading.opening import split_ending
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError, config_error
from cpt.files import file_hash, read_json, write_json
from cpt.languages import registry

TOY = "toy:"
WEB = ("https://", "http://")


@dataclass(frozen=True)
class Spot:
    """Where the text of one source is."""

    key: str
    """The configuration's key, for messages."""
    text: TextConfig
    names: tuple[tuple[str, str], ...]
    """What the pattern's braces stand for."""
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
        """Of content: a toy file is a pure function of its world, a file is hashed, a hub's set is at a commit."""
        if self.pattern.startswith(TOY):
            return f"{self.world.fingerprint}/{self.pattern.removeprefix(TOY)}"
        how = json.dumps([self.layout, self.fields])
        if self.text.hub:
            return f"hub:{self.text.hub}@{self.commit() or self.text.revision}/{self.pattern}{how}"
        if self.remote:
            return f"web:{self.pattern}{how}"
        return f"files:{','.join(file_hash(Path(path), self.cache) for path in self._paths())}{how}"

    @property
    def layout(self) -> str:
        return self.text.layout

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
        if self.text.hub:
            return tuple(self._volume((Stored(path, hub=True),)) for path in self._hub_files())
        if self.remote:
            return (self._volume((Stored(self.pattern),)),)
        return tuple(self._volume(tuple(Stored(path) for path in paths)) for paths in self._grouped())

    def _volume(self, files: tuple[Stored, ...]) -> Volume:
        layout = self.layout or ("moses" if len(files) == 2 else layout_of(files[0].path))
        return Volume(layout, files, self._fields_of(layout))

    def _fields_of(self, layout: str) -> tuple[str, ...]:
        """What holds the texts where nothing else is said."""
        if self.fields:
            return self.fields
        if layout == "tmx":
            return tuple(registry()[code].madlad or code.split("_")[0] for code in self.languages)
        if len(self.languages) == 1:
            return ("text",)
        names = dict(self.names)
        sides = ("1", "2") if layout == "tsv" else ("source", "target")
        return sides[::-1] if "{first}" in self.text.files and names["first"] != names["source"] else sides

    def _paths(self) -> list[str]:
        patterns = braces(str(Path(self.pattern).expanduser()))
        found = sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})  # noqa: PTH207
        if not found:
            raise config_error(self.key, self.pattern, "no such file, which this run trains on")
        return found

    def _grouped(self) -> list[tuple[str, ...]]:
        """Files that end in a pair's two languages belong together; any other is one by itself."""
        paths = self._paths()
        if len(self.languages) == 1:
            return [(path,) for path in paths]
        sides: dict[str, dict[str, str]] = {}
        alone = []
        for path in paths:
            stem, _, ending = split_ending(path)[0].rpartition(".")
            if ending in self.languages:
                sides.setdefault(stem, {})[ending] = path
            else:
                alone.append((path,))
        for stem, found in sides.items():
            if len(found) != 2:
                [lonely] = found.values()
                raise config_error(self.key, lonely, f"the other side of the pair, {stem}.<language>, is not there")
        pairs = [tuple(found[code] for code in self.languages) for found in sides.values()]
        return sorted([*alone, *pairs])

    def _hub_files(self) -> list[str]:
        """Files of the data set at its commit, `datasets/<owner>/<name>@<commit>/<path>`."""
        record = self._record()
        patterns = braces(self.pattern)
        names = [name for name in record["files"] if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
        if not names:
            some = ", ".join(record["files"][:5])
            raise config_error(self.key, self.pattern, f"{self.text.hub} has no such file; it has {some}, …")
        return [f"datasets/{self.text.hub}@{record['commit']}/{name}" for name in sorted(names)]

    def commit(self) -> str | None:
        """The commit a data set was at when it was first used on this machine; it stays until the record is removed."""
        return str(read_json(self._record_path)["commit"]) if self._record_path.exists() else None

    @property
    def _record_path(self) -> Path:
        return self.cache / "hub" / f"{self.text.hub.replace('/', '--')}@{self.text.revision}.json"

    def _record(self) -> Any:
        if not self._record_path.exists():
            self.check()
        return read_json(self._record_path)

    def check(self) -> None:
        """Stop before anything starts when the text cannot be had, saying which set, why, and what to do instead."""
        if not self.text.files:
            raise config_error(self.key, "", "nowhere said where this text is; choose another `corpora`, or say")
        if self.text.hub and not self._record_path.exists():
            self._ask_hub()
        elif self.remote and not self.text.hub:
            self._ask_web()
        elif not self.pattern.startswith(TOY):
            self._grouped()

    def _ask_hub(self) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        instead = "or download its files and name them: corpora=folder paths.corpora=<folder>"
        try:
            if os.environ.get("HF_HUB_OFFLINE") == "1":
                raise config_error(self.key, self.text.hub, f"not known here and HF_HUB_OFFLINE=1; {instead}")
            info = HfApi().dataset_info(self.text.hub, revision=self.text.revision, timeout=20)
            names = [file.rfilename for file in info.siblings or ()]
            if getattr(info, "gated", False):
                HfApi().auth_check(self.text.hub, repo_type="dataset")
        except HFValidationError as error:
            raise config_error(self.key, self.text.hub, f"not the name of a data set ({error})") from error
        except GatedRepoError as error:
            reason = f"gated: accept its licence on the hub and log in with `hf auth login`, {instead}"
            raise config_error(self.key, self.text.hub, reason) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            what = f"no such data set on the hub at revision {self.text.revision}, or it is private"
            raise config_error(self.key, self.text.hub, f"{what}; {instead}") from error
        except UserError:
            raise
        except Exception as error:  # the hub client raises its transport's own errors
            reason = f"the hub cannot be reached ({type(error).__name__}); prepare where there is a network"
            raise config_error(self.key, self.text.hub, f"{reason} (prepare_only=true), {instead}") from error
        write_json(self._record_path, {"commit": info.sha, "files": names})

    def _ask_web(self) -> None:
        import fsspec

        try:
            fsspec.filesystem("https").info(self.pattern)
        except Exception as error:  # of the transport
            reason = f"cannot be reached ({type(error).__name__}: {str(error)[:120]})"
            instead = (
                "prepare where there is a network, or name files of your own: corpora=folder paths.corpora=<folder>"
            )
            raise config_error(self.key, self.pattern, f"{reason}; {instead}") from error


def braces(pattern: str) -> list[str]:
    """`a/{b,c}/d` as the patterns it stands for."""
    head, opened, rest = pattern.partition("{")
    if not opened:
        return [pattern]
    inside, _, tail = rest.partition("}")
    return [f"{head}{choice}{end}" for choice in inside.split(",") for end in braces(tail)]

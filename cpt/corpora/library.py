"""A folder of corpora in one layout, real or toy:

    monolingual/<language>.jsonl       {"text": …}
    bilingual/<source>-<target>.jsonl  {"source": …, "target": …}
    code/code.jsonl                    {"text": …}

The toy world writes the same layout, so toy and real text come in through the same code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpt.corpora.bitext import tagged
from cpt.corpora.source import CODE, Doc, Source, json_lines
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import config_error
from cpt.files import file_hash


@dataclass(frozen=True)
class Library:
    """The corpora a run can draw on: files of a folder, or the toy world that makes them on demand."""

    folder: Path | None
    world: ToyWorld

    def _file(self, name: str) -> Path:
        return self.world.file(name) if self.folder is None else self.folder / name

    def _fingerprint(self, name: str) -> str:
        """Of content: a toy file is a pure function of its world, a real one is hashed."""
        if self.folder is None:
            return f"{self.world.fingerprint}/{name}"
        path = self.folder / name
        if not path.exists():
            raise config_error("paths.corpora", self.folder, f"it lacks {name}, which this run trains on")
        return f"sha256:{file_hash(path)}"

    def monolingual(self, code: str) -> Source:
        name = f"monolingual/{code}.jsonl"

        def read() -> Iterator[Doc]:
            return (Doc(((code, text),)) for (text,) in json_lines(self._file(name), "text"))

        return Source(f"mono/{code}", (code,), self._fingerprint(name), read)

    def bitext(self, source: str, target: str, pairs_per_document: int) -> Source:
        name = f"bilingual/{source}-{target}.jsonl"

        def read() -> Iterator[Doc]:
            pairs = ((left, right) for left, right in json_lines(self._file(name), "source", "target"))
            return tagged(pairs, source, target, pairs_per_document)

        fingerprint = f"{self._fingerprint(name)}/tagged-{pairs_per_document}"
        return Source(f"bi/{source}-{target}", (source, target), fingerprint, read)

    def code(self) -> Source:
        name = "code/code.jsonl"

        def read() -> Iterator[Doc]:
            return (Doc(((CODE, text),)) for (text,) in json_lines(self._file(name), "text"))

        return Source(CODE, (CODE,), self._fingerprint(name), read)

"""Identification by a fastText model such as GlotLID, the one the study cleans with."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import file_hash

SAME_LANGUAGE = {
    "cmn_Hani": "zho_Hans",  # GlotLID has one label for Mandarin in either script
    "cmn_Hans": "zho_Hans",
    "zho_Hani": "zho_Hans",  # the first versions of GlotLID label the macrolanguage, and so does the study
    "yue_Hani": "yue_Hant",
    "yue_Hans": "yue_Hant",
    "nep_Deva": "npi_Deva",  # the macrolanguage again
    "fil_Latn": "tgl_Latn",  # Filipino is standardised Tagalog
}
"""Labels of models for languages that the registry files under another code."""
_MAGIC = 793712314
_HEADER = struct.Struct("<ii12id3i")


@dataclass(frozen=True)
class FastTextIdentifier:
    """A supervised fastText model whose labels are language codes with scripts; loaded once in each process."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise _unusable(self.path, "no such file")
        if not _is_whole(self.path):
            raise _unusable(self.path, "not a whole fastText classifier; perhaps the download was cut short")

    @property
    def fingerprint(self) -> str:
        return f"fasttext:{file_hash(self.path)[:16]}"

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        if not texts:
            return []
        # The binding takes single lines of valid Unicode.
        lines = [" ".join(text.splitlines()).encode("utf-8", "replace").decode() for text in texts]
        labels, confidences = _model(self.path).predict(lines)
        return [
            (_code(found[0]), min(1.0, float(sure[0]))) if found else ("", 0.0)
            for found, sure in zip(labels, confidences, strict=True)
        ]


def _code(label: str) -> str:
    code = label.removeprefix("__label__")
    return SAME_LANGUAGE.get(code, code)


@cache
def _model(path: Path) -> Any:
    import fasttext

    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise _unusable(path, f"fastText cannot load it ({error})") from error


def _is_whole(path: Path) -> bool:
    """Whether the file ends where its header says; fastText itself reads on past the end, and answers nonsense.

    The last thing in the file is the output matrix: its two sizes, and a row of numbers for each label.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or _HEADER.unpack(header)[0] != _MAGIC:
            return False
        values = _HEADER.unpack(header)
        width, labels = values[2], values[-1]
        matrix = path.stat().st_size - 4 * width * labels - 16
        if width < 1 or labels < 1 or matrix < _HEADER.size:
            return False
        file.seek(matrix)
        return struct.unpack("<qq", file.read(16)) == (labels, width)


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        f"{path}: {why}; expected a fastText language identifier. GlotLID is on the Hugging Face hub: "
        "cis-lmu/glotlid, file model.bin (paths.glotlid)"
    )

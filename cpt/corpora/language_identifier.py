"""The language of a text: by a fastText model such as GlotLID, or by a small model trained on available text.

The small model is multinomial naive Bayes over character n-grams of one to four characters, hashed into buckets. It
knows only the languages it was trained on, so its accuracy is measured on held-out texts before it is trusted.
scikit-learn's HashingVectorizer with MultinomialNB was no more accurate and 13 to 30 times as slow, and another model
would change the keys of finished evaluations.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cpt.errors import UserError
from cpt.files import file_hash, replacing


class Identifier(Protocol):
    """Picklable: every process that reads text has its own."""

    @property
    def fingerprint(self) -> str:
        """Changes when its answers may."""
        ...

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        """The likeliest language of each text and the confidence in it, from 0 to 1.

        The language is a code of the registry where that knows it, else the model's own label.
        """
        ...


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
            (_code(codes[0]), min(1.0, float(sure[0]))) if codes else ("", 0.0)
            for codes, sure in zip(labels, confidences, strict=True)
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
    """Whether the file is as long as its header says; fastText reads past the end and returns random labels.

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


ORDERS = 4
BUCKETS = 1 << 16
LIMIT = 500
"""Characters of a text that are looked at: its beginning decides, and more seldom change the answer."""
BACKGROUND = 0.05
"""Weight of what all languages have in common. It makes an n-gram never seen in training equally likely in all
languages, however much text each was trained on."""
SHARPNESS = 0.3
"""Evidence of overlapping n-grams is no sum of independent parts: it is taken to grow with the root of a text's
length. Without that, two words would already give confidences near 1."""
_BATCH = 1 << 15
_LETTERS = 0x32000


@dataclass(frozen=True)
class Accuracy:
    overall: float
    """Mean of the languages' shares, so that a language with many texts does not hide one with few."""
    n: int
    by_language: dict[str, float]
    """Share of its texts that were given its label."""
    confused: dict[str, dict[str, int]]
    """Number of texts of a language with the label of another."""


@dataclass(frozen=True)
class NgramIdentifier:
    labels: tuple[str, ...]
    table: NDArray[np.float32] = field(repr=False, compare=False)
    """Log-probability of each bucket (rows) in each language; the last row, for no n-gram, is zero."""

    @classmethod
    def train(cls, texts_by_language: Mapping[str, list[str]]) -> NgramIdentifier:
        labels = tuple(sorted(texts_by_language))
        shares = np.stack([_shares(texts_by_language[label]) for label in labels], axis=1)
        background = (shares.mean(axis=1, keepdims=True) + 1 / BUCKETS) / 2
        table = np.log((1 - BACKGROUND) * shares + BACKGROUND * background)
        return cls(labels, np.vstack([table, np.zeros(len(labels))]).astype(np.float32))

    @property
    def fingerprint(self) -> str:
        known = hashlib.sha256("\n".join(self.labels).encode() + self.table.tobytes())
        return f"ngrams:{known.hexdigest()[:16]}"

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        answers: list[tuple[str, float]] = []
        for batch in _batches(texts):
            grams, starts = _ngrams(batch)
            evidence = self.table[grams[:, 0]]
            for order in range(1, ORDERS):
                evidence += self.table[grams[:, order]]
            lengths = np.diff(starts, append=len(grams))
            scores = np.add.reduceat(evidence, starts, axis=0) * (SHARPNESS / np.sqrt(lengths))[:, None]
            likelihoods = np.exp(scores - scores.max(axis=1, keepdims=True))
            best = likelihoods.argmax(axis=1)
            sure = 1 / likelihoods.sum(axis=1)
            answers += [(self.labels[index], float(value)) for index, value in zip(best, sure, strict=True)]
        return answers

    def accuracy(self, texts_by_language: Mapping[str, list[str]]) -> Accuracy:
        """The share of right labels, on texts that were not trained on."""
        by_language: dict[str, float] = {}
        confused: dict[str, dict[str, int]] = {}
        for expected, texts in texts_by_language.items():
            wrong = [label for label, _ in self.predict(texts) if label != expected]
            by_language[expected] = 1 - len(wrong) / len(texts)
            if wrong:
                confused[expected] = {label: wrong.count(label) for label in sorted(set(wrong))}
        return Accuracy(
            overall=sum(by_language.values()) / len(by_language),
            n=sum(map(len, texts_by_language.values())),
            by_language=by_language,
            confused=confused,
        )

    def save(self, path: Path) -> None:
        with replacing(path) as file:
            np.savez(file, labels=np.array(self.labels), table=self.table)

    @classmethod
    def load(cls, path: Path) -> NgramIdentifier:
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(tuple(str(label) for label in stored["labels"]), stored["table"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a whole n-gram identifier ({error}); delete it and launch again") from error


def _shares(texts: list[str]) -> NDArray[np.float64]:
    """The share of each bucket among the n-grams of texts."""
    counts = np.zeros(BUCKETS, np.float64)
    for batch in _batches(texts):
        counts += np.bincount(_ngrams(batch)[0].ravel(), minlength=BUCKETS + 1)[:BUCKETS]
    return counts / max(1.0, float(counts.sum()))


def _batches(texts: list[str]) -> Iterator[list[str]]:
    """Texts as they are looked at, about `_BATCH` characters at a time, so that tables stay in the cache."""
    batch: list[str] = []
    size = 0
    for text in texts:
        plain = " ".join(text[:LIMIT].casefold().split())
        batch.append(plain)
        size += len(plain)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ngrams(texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Buckets of the n-grams that begin at each character, one column an order, and where texts begin.

    Each text begins with a line feed, which marks the border; an n-gram that would cross one has the last bucket.
    """
    joined = "".join(f"\n{text} " for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.flatnonzero(codes == ord("\n"))
    text = np.cumsum(codes == ord("\n"))
    letters = _folded()[np.minimum(codes, _LETTERS)].astype(np.uint64)
    grams = np.full((len(codes), ORDERS), BUCKETS, np.int64)
    rolling = np.zeros(len(codes), np.uint64)
    for order in range(ORDERS):
        end = len(codes) - order
        if end <= 0:
            break
        rolling = rolling[:end] * np.uint64(0x9E3779B97F4A7C15) + letters[order:] + np.uint64(1)
        mixed = (rolling ^ (rolling >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        inside = text[:end] == text[order:]
        grams[:end, order][inside] = (mixed >> np.uint64(64 - (BUCKETS - 1).bit_length())).astype(np.int64)[inside]
    return grams, starts


@cache
def _folded() -> NDArray[np.uint32]:
    """Letters and marks as they are, all else as a space: digits and punctuation say little of a language."""
    folded = np.full(_LETTERS + 1, ord(" "), np.uint32)
    for code in range(_LETTERS):
        if unicodedata.category(chr(code))[0] in "LM":
            folded[code] = code
    folded[ord("\n")] = ord("\n")
    return folded

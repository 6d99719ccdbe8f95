"""The files of SIB-200 and FLORES-200: from a folder, a data set of a hub, or the archive FLORES-200 was released as.

Benchmarks and cleaning read one layout, `<language>/{train,test}.tsv` and `{dev,devtest}/<language>.{dev,devtest}`.
Other files are converted to it once, in the cache, in a folder named after their content.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cpt.corpora.reading.layout import Stored
from cpt.errors import UserError, config_error
from cpt.files import locked, replacing, replacing_folder
from cpt.hub import (
    OFFLINE,
    PREPARE_ONLINE,
    PROGRESS_SECONDS,
    WEB,
    UnavailableError,
    dataset_file,
    dataset_page,
    dataset_record,
    download,
    offline,
    shown_address,
)
from cpt.languages import registry

HUB = "hub:"
ROWS = (".jsonl", ".parquet")
Say = Callable[[str], None]

ARCHIVE = "https://dl.fbaipublicfiles.com/nllb/flores200_dataset.tar.gz"
ARCHIVE_SHA256 = "b8b0b76783024b85797e5cc75064eb83fc5288b41e9654dabc7be6ae944011f6"
"""Of 25,585,843 bytes; pinned likewise by github.com/CHFreezer/Diesel-MT, configs/mvp_mt_evaluation.lock.json."""
WEB_WAIT = 60
"""Seconds in which a server has to send something."""

RENAMED = {
    "zho_Hans": "cmn_Hans",
    "zho_Hant": "cmn_Hant",
    "tgl_Latn": "fil_Latn",
    "tzm_Tfng": "zgh_Tfng",
    "est_Latn": "ekk_Latn",
    "grn_Latn": "gug_Latn",
    "kon_Latn": "ktu_Latn",
    "ajp_Arab": "apc_Arab_sout3123",
    "apc_Arab": "apc_Arab_nort3139",
    "aka_Latn": "twi_Latn_asan1239",
    "twi_Latn": "twi_Latn_akua1239",
}
"""Languages whose code FLORES+ corrected, by that of FLORES-200: its change log, github.com/openlanguagedata/flores."""


@dataclass(frozen=True)
class BenchmarkLayout:
    """Names of a benchmark's files, as they are read and as they are published."""

    title: str
    splits: tuple[str, str]
    file: str
    """In the one layout that is read."""
    roots: tuple[str, ...]
    """Folders that the layout begins at, inside what is released."""
    others: tuple[str, ...] = ()
    """Files of rows with `id` and `text`."""

    def names(self, code: str, split: str) -> list[str]:
        """Possible names of the file of a language and split, in order of preference."""
        plain = [f"{root}{self.file.format(code=code, split=split)}" for root in self.roots]
        codes = [code, RENAMED[code]] if code in RENAMED else [code]
        return plain + [other.format(code=name, split=split) for other in self.others for name in codes]


LAYOUTS = {
    # The hub's Davlan/sib200 has data/<language>/, github.com/dadelani/sib-200 data/annotated/<language>/.
    "sib200": BenchmarkLayout("SIB-200", ("train", "test"), "{code}/{split}.tsv", ("", "data/", "data/annotated/")),
    # The last two are FLORES+, the hub's openlanguagedata/flores_plus, today and before.
    "flores200": BenchmarkLayout(
        "FLORES-200",
        ("dev", "devtest"),
        "{split}/{code}.{split}",
        ("", "flores200_dataset/"),
        ("{split}/{code}.jsonl", "{split}/{code}.parquet"),
    ),
}


def is_remote(where: str) -> bool:
    return where.startswith((HUB, *WEB))


@dataclass(frozen=True)
class BenchmarkLocation:
    """The value of `paths.sib200` or `paths.flores200`: a folder, `hub:<data set>[@revision]`, `<archive>[@sha256]`."""

    name: str
    """A key of `LAYOUTS`."""
    where: str
    cache: Path

    @property
    def folder(self) -> Path:
        """The folder that the benchmark is read from, whether or not its files are there yet."""
        if not is_remote(self.where):
            return self._plain or (self._cached(self._listed) if self._rows else self._given)
        try:
            return self._cached(self._archive()[1] if self.where.startswith(WEB) else self._record["commit"])
        except UserError:
            return self._cached("nowhere")

    def check(self) -> None:
        """Refuse files that are not available, before anything starts."""
        if self.where.startswith(WEB):
            address, _ = self._archive()
            if offline() and not self.folder.exists():
                reason = f"not downloaded yet and {OFFLINE}; {PREPARE_ONLINE}"
                raise config_error(self.key, shown_address(address), reason)
        elif self.where.startswith(HUB):
            self._refuse_other(self._record["files"])
        elif not self._given.is_dir():
            raise config_error(self.key, self.where, "no such folder")
        elif not self._plain:
            self._refuse_other(self._rows or sorted(path.name for path in self._given.iterdir()))

    def fetch(self, languages: Iterable[str], say: Say) -> Path:
        """Download or convert the missing files of these languages, as far as the benchmark has them."""
        self.check()
        if not is_remote(self.where) and self._plain:
            return self.folder
        with locked(self.folder.with_name(f"{self.folder.name}.lock")):
            if self.where.startswith(HUB):
                self._convert(self._wanted(languages, self._record["files"]), self._read_from_hub, say)
            elif not self.where.startswith(WEB):
                self._convert(self._wanted(languages, self._rows), lambda name: (self._given / name).read_bytes(), say)
            elif not self.folder.exists():
                self._unpack(say)
        return self.folder

    @property
    def key(self) -> str:
        return f"paths.{self.name}"

    @property
    def layout(self) -> BenchmarkLayout:
        return LAYOUTS[self.name]

    @property
    def _instead(self) -> str:
        archive = f", or {self.key}={ARCHIVE}, which needs no login" if self.name == "flores200" else ""
        return f"or download its files and give {self.key}=<folder>{archive}"

    def _cached(self, content: str) -> Path:
        return self.cache / "benchmarks" / f"{self.name}-{content[:12]}"

    @property
    def _given(self) -> Path:
        return Path(self.where).expanduser()

    @cached_property
    def _plain(self) -> Path | None:
        """The folder in the given one at which the layout begins."""
        for root in self.layout.roots:
            folder = self._given / root
            if any(any(folder.glob(self.layout.file.format(code="*", split=s))) for s in self.layout.splits):
                return folder
        return None

    def _archive(self) -> tuple[str, str]:
        """Its address and its sum."""
        if self.name != "flores200":
            raise config_error(self.key, shown_address(self.where), f"expected a folder or {HUB}<data set>")
        address, at, given = self.where.rpartition("@")
        if at and re.fullmatch("[0-9a-f]{64}", given):
            return address, given
        return self.where, ARCHIVE_SHA256

    @property
    def _hub(self) -> tuple[str, str]:
        hub, _, revision = self.where.removeprefix(HUB).partition("@")
        return hub, revision or "main"

    @cached_property
    def _record(self) -> Any:
        """Commit and files of the hub's set when it was first used on this machine, as for a corpus."""
        repo, revision = self._hub
        try:
            return dataset_record(self.cache, repo, revision)
        except UnavailableError as error:
            reason = f"{error} (its page: {dataset_page(repo)}); {self._instead}"
            raise config_error(self.key, self.where, reason) from error

    @cached_property
    def _rows(self) -> list[str]:
        """Files of a folder that have to be converted, as a download of FLORES+ has them."""
        patterns = [other.format(code="*", split=s) for other in self.layout.others for s in self.layout.splits]
        return sorted(path.relative_to(self._given).as_posix() for p in patterns for path in self._given.glob(p))

    @property
    def _listed(self) -> str:
        status = [(name, (self._given / name).stat()) for name in self._rows]
        listing = json.dumps([(name, s.st_size, s.st_mtime_ns) for name, s in status])
        return hashlib.sha256(listing.encode()).hexdigest()

    def _wanted(self, languages: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """The available files of these languages, by their name in the layout that is read."""
        there = set(names)
        wanted = {}
        for code in languages:
            for split in self.layout.splits:
                if known := [name for name in self.layout.names(code, split) if name in there]:
                    wanted[self.layout.file.format(code=code, split=split)] = known[0]
        return wanted

    def _refuse_other(self, names: Sequence[str]) -> None:
        """Refuse a set without any file of the benchmark."""
        if self._wanted(registry(), names):
            return
        expected = " or ".join(self.layout.names("eng_Latn", self.layout.splits[0]))
        reason = f"no files of {self.layout.title} there; expected such as {expected}"
        if scripts := [name for name in names if name.endswith(".py") and "/" not in name]:
            reason += f"; it has a loading script, {scripts[0]}, and none is ever run"
        else:
            reason += f"; found {', '.join(names[:5]) or 'nothing'}"
        raise config_error(self.key, self.where, f"{reason}; {self._instead}")

    def _convert(self, wanted: dict[str, str], read: Callable[[str], bytes], say: Say) -> None:
        """Write file by file, each whole or not at all, so that an interrupted call resumes."""
        missing = {file: name for file, name in wanted.items() if not (self.folder / file).exists()}
        shown = time.monotonic()
        for count, (file, name) in enumerate(missing.items(), start=1):
            data = read(name)
            with replacing(self.folder / file) as out:
                out.write(data if name.endswith(file) else _as_lines(f"{self.where}: {name}", data))
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                say(f"{self.layout.title}: {count} of {len(missing)} files")
        if missing:
            say(f"{self.layout.title}: {len(missing)} files from {self.where} are now in {self.folder}")
            if any(name.endswith(ROWS) for name in missing.values()):
                say("This is FLORES+, a later edition with corrected sentences: compare its scores among themselves")

    def _read_from_hub(self, name: str) -> bytes:
        with Stored(dataset_file(self._hub[0], self._record["commit"], name), hub=True).open() as file:
            return file.read()

    def _unpack(self, say: Say) -> None:
        """All languages of the archive at once."""
        address, expected = self._archive()
        shown = shown_address(address)
        say(f"{self.layout.title}: fetching {shown}")
        wanted = re.compile(r"(?:^|/)(dev|devtest)/(\w+)\.\1$")
        with replacing_folder(self.folder) as new:
            archive = new / "archive"
            try:
                download(address, archive, expected, WEB_WAIT, lambda line: say(f"{self.layout.title}: {line}"))
            except UnavailableError as error:
                raise config_error(self.key, shown, f"{error}; or give {self.key}=<folder>") from error
            try:
                with tarfile.open(archive) as tar:
                    for member in tar:
                        if (match := wanted.search(member.name)) and (file := tar.extractfile(member)):
                            with replacing(new / match[1] / f"{match[2]}.{match[1]}") as out:
                                out.write(file.read())
            except tarfile.TarError as error:
                raise config_error(self.key, shown, f"not a tar archive ({error})") from error
            archive.unlink()
            self._refuse_other(_files_in(new))
        say(f"{self.layout.title}: {shown} is now in {self.folder}")


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _as_lines(name: str, data: bytes) -> bytes:
    """Rows of FLORES+ as FLORES-200 has them, one sentence a line in the order that makes languages parallel."""
    rows = sorted(_rows_of(name, data))
    numbers = [number for number, _ in rows]
    if rows and numbers != list(range(numbers[0], numbers[0] + len(rows))):
        raise UserError(f"{name}: a number in `id` is missing or there twice, so its lines would not be parallel")
    return "".join(text.replace("\r", " ").replace("\n", " ") + "\n" for _, text in rows).encode()


def _rows_of(name: str, data: bytes) -> list[tuple[int, str]]:
    try:
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq

            rows = pq.read_table(io.BytesIO(data)).to_pylist()
        else:
            rows = [json.loads(line) for line in data.decode("utf-8").split("\n") if line.strip()]
        return [(int(row["id"]), str(row["text"])) for row in rows]
    except KeyError as error:
        has = ", ".join(rows[0])
        raise UserError(f"{name}: no column {error} in it; expected id and text, it has {has}") from error
    except (ValueError, TypeError) as error:  # of JSON, UTF-8, Arrow or a number
        raise UserError(f"{name}: cannot be read ({error}); expected rows with id and text") from error

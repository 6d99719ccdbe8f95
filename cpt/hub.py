"""Downloads: data sets and models of a Hugging Face hub, and files at web addresses.

The commit of a data set, or the version of a web file, that was first used on this machine is recorded in the cache and
used from then on: run ids depend on it. No message quotes the text of a transport error, which may contain a token.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from cpt.errors import UserError
from cpt.files import read_json, replacing, write_json

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WEB = ("https://", "http://")
PREPARE_ONLINE = "prepare where there is a network (prepare_only=true)"
RESUMES = "what was downloaded before is stored; launch again where there is a network, it resumes from there"
OFFLINE = "HF_HUB_OFFLINE=1 keeps it out of reach"
NOT_A_NAME = {
    "data set": "not the name of a data set, which is <owner>/<name>",
    "model": "neither a folder nor a hub id, which is <owner>/<name>",
}
WEB_WAITS = (1, 2, 4, 8)
"""Seconds before a read from a web address is retried."""
ANSWER_SECONDS = 20
"""Seconds to wait for the first answer of a hub."""
PROGRESS_SECONDS = 5
"""Seconds between two progress messages about one download."""
Progress = Callable[[str], None]

_failures: dict[tuple[str, ...], str] = {}
"""Reasons by request, or by endpoint for a hub that does not answer. A launch has dozens of sources, and each would
wait for the same silent server."""


class UnavailableError(Exception):
    """Why something cannot be downloaded. The caller makes it a `UserError` that names the key."""

    def __init__(self, reason: str, answered: bool = True) -> None:
        """`answered`: whether the server gave any answer; if not, other requests to it are not worth waiting for."""
        super().__init__(reason)
        self.answered = answered


def offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def go_offline() -> None:
    """Send no further requests to a hub from this process: everything it needs was downloaded before."""
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True


def dataset_page(repo: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/datasets/{repo}"


# ---- records of what was first used ----------------------------------------------------------------------------------


def dataset_record(cache: Path, repo: str, revision: str) -> Any:
    """Commit and files of a data set when it was first used on this machine; fixed until the record is removed."""
    path = cache / "hub" / f"{repo}@{revision}.json".replace("/", "--")
    if not path.exists():
        write_json(path, dataset_info(repo, revision))
    return read_json(path)


def web_record(cache: Path, address: str) -> Any:
    """Version of a web file when it was first used on this machine; fixed until the record is removed."""
    path = cache / "web" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        write_json(path, _request(_web_info, address))
    return read_json(path)


def dataset_info(repo: str, revision: str) -> dict[str, Any]:
    """Current commit and files of a data set that this account may read."""
    return _request(_repo_info, "data set", repo, revision)


def model_info(repo: str, revision: str) -> dict[str, Any]:
    """Current commit and files of a model."""
    return _request(_repo_info, "model", repo, revision)


def _request(request: Callable[..., dict[str, Any]], *arguments: str) -> dict[str, Any]:
    from huggingface_hub import constants

    if offline():
        raise UnavailableError(f"not known here and {OFFLINE}")
    server, key = (constants.ENDPOINT,), (constants.ENDPOINT, request.__name__, *arguments)
    if request is not _web_info and server in _failures:
        raise UnavailableError(_failures[server])
    if key not in _failures:
        try:
            return request(*arguments)
        except UnavailableError as error:
            _failures[key if error.answered else server] = str(error)
            raise
    raise UnavailableError(_failures[key])


def _repo_info(kind: str, repo: str, revision: str) -> dict[str, Any]:
    from huggingface_hub import HfApi, errors

    try:
        info: Any = HfApi().repo_info(repo, revision=revision, repo_type=kind.replace(" ", ""), timeout=ANSWER_SECONDS)
        if kind == "data set" and getattr(info, "gated", False):
            HfApi().auth_check(repo, repo_type="dataset")
    except Exception as error:  # includes the errors of the client's transport
        answered = isinstance(error, errors.HfHubHTTPError | errors.HFValidationError)
        raise UnavailableError(explain(error, kind, revision), answered) from error
    return {"commit": info.sha, "files": [file.rfilename for file in info.siblings or ()]}


def _web_info(address: str) -> dict[str, Any]:
    try:
        info = web_files(address).info(address, timeout=40)
    except Exception as error:  # most often the transport's error wrapped as a missing file
        origin = error.__cause__ or error
        if (status := getattr(origin, "status", None)) in (404, 410):
            raise UnavailableError(f"no such file there (the server answered {status})") from error
        if status:
            raise UnavailableError(f"the server answered {status}") from error
        raise UnavailableError(f"the server cannot be reached ({type(origin).__name__}); {PREPARE_ONLINE}") from error
    version = info.get("ETag") or info.get("Last-Modified") or info.get("size") or ""
    return {"address": shown_address(address), "version": str(version), "size": info.get("size")}


# ---- errors ----------------------------------------------------------------------------------------------------------


def explain(error: Exception, kind: str = "data set", revision: str = "main", remedy: str = PREPARE_ONLINE) -> str:
    """The reason for an error of the hub's client, and what to do."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return OFFLINE
    if isinstance(error, errors.HFValidationError):
        return NOT_A_NAME[kind]
    if isinstance(error, errors.GatedRepoError):
        return "gated: accept its licence on the hub and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return f"no such {kind} on the hub at revision {revision}, or it is private"
    if isinstance(error, errors.HfHubHTTPError):
        if error.response.status_code == 401:
            return "the hub does not accept the token; log in again with `hf auth login` (HF_TOKEN has priority)"
        return f"the hub answered {error.response.status_code}; try later, {remedy}"
    return f"the hub at {constants.ENDPOINT} cannot be reached ({type(error).__name__}); {remedy}"


def _cause(error: Exception) -> str:
    """What interrupted a download, in a few words."""
    from huggingface_hub import errors

    origin = error.__cause__ or error
    if isinstance(origin, errors.OfflineModeIsEnabled):
        return OFFLINE
    status = getattr(origin, "status", None) or getattr(getattr(origin, "response", None), "status_code", None)
    return f"the server answered {status}" if status else type(origin).__name__


# ---- files -----------------------------------------------------------------------------------------------------------


def dataset_file(repo: str, commit: str, name: str) -> str:
    """The path of a file under which `RemoteFile` opens it."""
    return f"datasets/{repo}@{commit}/{name}"


def shown_address(path: str) -> str:
    """A path for messages: a web address without its password and its query, which may be a signature."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?…' if parts.query else ''}"


class RemoteFile(io.RawIOBase):
    """A file of a hub or at a web address, streamed block by block; a file that ends early is an error."""

    def __init__(self, path: str, on_hub: bool) -> None:
        self.shown = f"hf://{path}" if on_hub else shown_address(path)
        # The hub's client retries by itself, for half a minute.
        self._waits = () if on_hub else WEB_WAITS
        try:
            self._file = _hub_files().open(path, "rb") if on_hub else web_files(path).open(path, "rb")
        except Exception as error:  # each transport has its own
            raise UserError(f"{self.shown}: cannot be opened ({_cause(error)}); {RESUMES}") from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        data = self._read(len(target))
        target[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        for wait in (*self._waits, None):
            try:
                data: bytes = self._file.read(size)
                break
            except Exception as error:
                if wait is None:
                    raise self._broken(_cause(error)) from error
                time.sleep(wait)
        if size and not data and self.tell() < (self._file.size or 0):
            raise self._broken(f"it has {self._file.size:,}")
        return data

    def _broken(self, reason: str) -> UserError:
        return UserError(f"{self.shown}: the connection broke after {self.tell():,} bytes ({reason}); {RESUMES}")

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()


def _hub_files() -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


def web_files(address: str) -> Any:
    """The file system for a web address: through a proxy if one is set, and no limit on the duration of a stream."""
    import aiohttp
    import fsspec

    # A server that compresses the transfer must not unpack a file that is stored compressed, nor may the client.
    accepted = "gzip" if urlsplit(address).path.endswith(".gz") else "identity"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
    client = {"timeout": timeout, "trust_env": True, "auto_decompress": False}
    return fsspec.filesystem("https", client_kwargs=client, headers={"Accept-Encoding": accepted})


def download(address: str, path: Path, sha256: str, wait: float, progress: Progress | None = None) -> None:
    """Download a file of a known hash, whole or not at all; gives up after `wait` seconds without a byte."""
    digest, received, shown = hashlib.sha256(), 0, time.monotonic()
    try:
        with urllib.request.urlopen(address, timeout=wait) as response, replacing(path) as out:  # noqa: S310
            size = int(response.headers.get("Content-Length") or 0)
            while block := response.read(1 << 16):
                out.write(block)
                digest.update(block)
                received += len(block)
                if progress and time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    progress(f"{received / 1e6:.1f} of {size / 1e6:.1f} MB")
            if received < size:
                raise UnavailableError(f"the connection broke after {received:,} of {size:,} bytes")
            if (result := digest.hexdigest()) != sha256:
                raise UnavailableError(f"the file has sha256 {result}, expected {sha256}; it was removed")
    except HTTPError as error:
        raise UnavailableError(f"the server answered {error.code}") from error
    except URLError as error:
        raise UnavailableError(f"the server cannot be reached ({type(error.reason).__name__})") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnavailableError(f"it cannot be downloaded ({reason})") from error


# ---- models ----------------------------------------------------------------------------------------------------------


def cached_file(repo: str, name: str, revision: str = "main") -> Path | None:
    """A model's file in the local cache; raises `UnavailableError` for a path that is no repository's name."""
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        path = try_to_load_from_cache(repo, name, revision=revision)
    except errors.HFValidationError as error:
        raise UnavailableError(explain(error, "model", revision)) from error
    return Path(path) if isinstance(path, str) else None


def model_folder(repo: str, revision: str, patterns: Sequence[str], download: bool = True) -> Path | None:
    """The folder with a model's files, downloaded unless `download` is false; none where they are not there then."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=list(patterns), local_files_only=not download
        )
    except errors.LocalEntryNotFoundError:
        if download:
            raise
        return None
    return Path(folder)

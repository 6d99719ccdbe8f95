"""`cpt push`: upload the trained models of a study to a Hugging Face hub, each to a repository of its own.

An upload cannot be undone, so everything is checked before anything is sent. Only the model and the ledger of a run are
uploaded; the other files contain paths of this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal

from cpt import hub
from cpt.commands.arguments import Names, runs_of, study_and_runs
from cpt.config import StudyConfig
from cpt.console import make_console
from cpt.errors import UserError, nearest, some
from cpt.files import file_hash, read_json
from cpt.models.toy import PREFIX
from cpt.run_keys import hub_name
from cpt.study.state.run import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

ALLOWED = ("*.safetensors", "*.json", "*.md", "*.txt", "*.model", "*.jinja")
NEEDED = ("README.md", "config.json", "ledger.json")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PATIENCE = 15.0
"""Seconds to wait for the first answer of the hub."""


@dataclass(frozen=True)
class Upload:
    """A trained run's folder and the repository it goes to."""

    folder: Path
    repo: str

    @property
    def run_id(self) -> str:
        return self.folder.name

    @cached_property
    def files(self) -> dict[str, Path]:
        """Files to upload, by their path in the repository."""
        model = self.folder / "model"
        files = {path.relative_to(model).as_posix(): path for path in sorted(model.rglob("*")) if not path.is_dir()}
        return files | {"ledger.json": self.folder / "ledger.json"}

    @property
    def summary(self) -> str:
        size = sum(path.stat().st_size for path in self.files.values())
        return f"{len(self.files)} files, {decimal(size)}"


def push(
    study: Path,
    runs: Sequence[str],
    to: str,
    console: Console,
    *,
    public: bool = False,
    toy: bool = False,
    dry_run: bool = False,
) -> int:
    """Upload the named runs of a study, or all trained ones, to `to`, a user or an organisation of the hub."""
    from huggingface_hub import HfApi

    def print_line(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    uploads = planned(chosen(study, runs, print_line), to, toy)
    account = HubAccount(HfApi(), to, public) if dry_run else HubAccount.connect(uploads, to, public)
    print_line(f"Checking the weights of {len(uploads)} {'model' if len(uploads) == 1 else 'models'} …")
    _refuse({upload.run_id: _damage(upload) for upload in uploads})
    if dry_run:
        for upload in uploads:
            print_line(f"{upload.run_id}: {upload.summary} to {account.address(upload.repo)} ({account.privacy})")
        print_line("Nothing was sent: this was a dry run, which does not ask the hub.")
        return 0
    for number, upload in enumerate(uploads, start=1):
        position = f"[{number}/{len(uploads)}]"
        print_line(f"{position} {upload.run_id}: {upload.summary} …")
        try:
            changed = account.upload(upload)
        except UserError as error:
            done = f"\n{number - 1} of {len(uploads)} were uploaded; pushing again resumes" if number > 1 else ""
            raise UserError(f"{error}{done}") from error
        print_line(f"{position} {account.address(upload.repo)} ({account.privacy}{'' if changed else ', unchanged'})")
    return 0


def chosen(study: Path, words: Sequence[str], print_line: Callable[[str], None]) -> list[Path]:
    """Folders of the runs with these ids or names, or of all trained runs."""
    folders = {path.parent.name: path.parent for path in sorted(study.glob("*/config.yaml"))}
    if not words:
        trained = [folder for folder in folders.values() if _trained(folder)]
        if not trained:
            raise UserError(f"{study}: no run is trained yet")
        if left := sum(not _base(folder) for folder in folders.values()) - len(trained):
            print_line(f"Left out because their training is not finished: {left} of {left + len(trained)} runs")
        return trained
    names: dict[str, list[str]] = {}
    for run_id in folders:
        names.setdefault(run_id.rpartition("-")[0], []).append(run_id)
    matches: dict[str, Path] = {}
    mistakes: list[str] = []
    for word in words:
        ids = [word] if word in folders else names.get(word, [])
        if len(ids) == 1:
            matches[ids[0]] = folders[ids[0]]
        elif ids:
            mistakes.append(f"{word}: {len(ids)} runs have that name, give an id: {', '.join(ids)}")
        else:
            mistakes.append(f"no run '{word}' in {study}{nearest(word, [*names, *folders])}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    _refuse({run_id: _untrained(folder) for run_id, folder in matches.items()})
    return list(matches.values())


def planned(folders: list[Path], to: str, toy: bool) -> list[Upload]:
    """The repository of each run; refuses what must not be published, and two runs for one repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    uploads: list[Upload] = []
    mistakes: dict[str, str | None] = {}
    for folder in folders:
        run = Run.from_folder(folder)
        toy_reason = _unpublishable(run.config)
        upload = Upload(folder, f"{to}/{'toy-' if toy_reason else ''}{hub_name(run.name)}")
        uploads.append(upload)
        reason = f"{toy_reason}; with --toy it is uploaded under a name that begins with toy-"
        mistakes[folder.name] = reason if toy_reason and not toy else _unfit(upload)
    _refuse(mistakes)
    for upload in uploads:
        rivals = [other.run_id for other in uploads if other.repo == upload.repo]
        if len(rivals) > 1:
            raise UserError(f"{upload.repo}: several runs have that name, push one of them: {', '.join(rivals)}")
        try:
            validate_repo_id(upload.repo)
        except HFValidationError as error:
            raise UserError(f"{upload.repo}: not a name a hub allows ({error})") from error
    return uploads


class HubAccount:
    """The user or organisation of the hub that models are uploaded to, with one token, which is never shown."""

    def __init__(self, api: HfApi, to: str, public: bool) -> None:
        self.api, self.to, self.public = api, to, public
        self.known: dict[str, ModelInfo] = {}
        """Repositories that exist already."""

    @classmethod
    def connect(cls, uploads: list[Upload], to: str, public: bool) -> HubAccount:
        """An account that answers and accepts the token, with no repository in the way."""
        from huggingface_hub import HfApi, get_token

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it repeats what `push` prints
        account = cls(HfApi(), to, public)
        with account.explained(to):
            token = get_token()
        if not token:
            raise UserError("no token of the hub: set HF_TOKEN or log in with `hf auth login`")
        account.api = HfApi(token=token)
        for upload in uploads:
            account.look_at(upload.repo)
        return account

    @property
    def privacy(self) -> str:
        return "public" if self.public else "private"

    def address(self, repo: str) -> str:
        return f"{self.api.endpoint}/{repo}"

    def look_at(self, repo: str) -> None:
        """Refuse a repository of other visibility than requested: an upload does not change it."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        with self.explained(repo):
            try:
                info = self.api.model_info(repo, timeout=_PATIENCE)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return
        if info.private is self.public:
            remedy = "push without --public" if self.public else "push with --public"
            visibility = "private" if info.private else "public"
            raise UserError(
                f"{self.address(repo)} exists and is {visibility}; {remedy}, or change its visibility first"
            )
        self.known[repo] = info

    def upload(self, upload: Upload) -> bool:
        """Upload changes as one commit; returns whether there were any."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        known = self.known.get(upload.repo)
        operations: list[Any] = [CommitOperationAdd(name, path) for name, path in upload.files.items()]
        operations += [CommitOperationDelete(name) for name in _stale(known, upload)]
        with self.explained(upload.repo):
            self.api.create_repo(upload.repo, private=not self.public, exist_ok=True)
            # Not upload_folder: it may split a model over several commits, and one in between would not load.
            commit = self.api.create_commit(upload.repo, operations, commit_message=f"Run {upload.run_id}")
        return known is None or commit.oid != known.sha

    @contextmanager
    def explained(self, about: str) -> Iterator[None]:
        """Turn errors of the hub's client into one message; those of its transport may quote the token."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # the client's transport and its storage backend have no common type
            raise UserError(f"{about}: {self._reason(error)}") from error

    def _reason(self, error: Any) -> str:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (403, 404):
            return f"the token may not write to '{self.to}', or there is no such user or organisation{self._owner()}"
        if status and status != 401:
            text = self._without_token(getattr(error, "server_message", None) or str(error))
            return f"the hub answered {status}: {text.splitlines()[0]}"
        if hub.offline():
            return f"{hub.OFFLINE}; unset it to push"
        if status is None and isinstance(error, OSError | RuntimeError | ValueError):
            return f"{type(error).__name__}: {self._without_token(str(error))}"
        return hub.explain(error, remedy="push where there is a network, or see HF_ENDPOINT")

    def _owner(self) -> str:
        """The owner of the token and their organisations, if the hub gives them."""
        try:
            who = self.api.whoami()
            names = [who["name"], *(organisation["name"] for organisation in who.get("orgs") or ())]
        except Exception:  # only an addition to a message that is shown anyway
            return ""
        close = "" if self.to in names else nearest(self.to, names)
        return f"; it is {names[0]}'s, who belongs to {', '.join(names[1:]) or 'no organisation'}{close}"

    def _without_token(self, text: str) -> str:
        return text.replace(self.api.token, "<token>") if isinstance(self.api.token, str) else text


def _stale(known: ModelInfo | None, upload: Upload) -> list[str]:
    """Weight files in the repository that are not part of the model; they could be loaded instead of its own."""
    names = [file.rfilename for file in (known.siblings if known else None) or ()]
    return [name for name in names if name not in upload.files and any(fnmatch(name, kind) for kind in _WEIGHTS)]


def _trained(folder: Path) -> bool:
    return (folder / "train.done").exists() and (folder / "model").is_dir()


def _base(folder: Path) -> bool:
    return (folder / "categories.json").exists()


def _untrained(folder: Path) -> str | None:
    if _base(folder):
        return "an untouched base model, which the study does not publish"
    return None if _trained(folder) else "its training is not finished; launch again to resume"


def _unpublishable(config: StudyConfig) -> str | None:
    """The reason why a model would be misleading among real ones."""
    if config.model.weights == "random":
        return "it started from random weights (model.weights=random), to measure speed"
    if config.scale == "toy" or config.model.path.startswith(PREFIX):
        return "a toy model, of synthetic languages or tiny weights, which could be mistaken for a real one"
    return None


def _unfit(upload: Upload) -> str | None:
    """The reason why the files of a run are not a model to publish, judged by their names."""
    for name in NEEDED:
        if name not in upload.files or not upload.files[name].is_file():
            return f"{name} is missing; a model is published with all of {', '.join(NEEDED)}"
    for name, path in upload.files.items():
        hidden = any(part.startswith(".") for part in name.split("/"))
        if hidden or not path.is_file() or not any(fnmatch(name, kind) for kind in ALLOWED):
            return f"model/{name} is not part of a model; remove it (allowed: {', '.join(ALLOWED)})"
    return None


def _damage(upload: Upload) -> str | None:
    """The first difference between the weights and the digests that training wrote to its marker."""
    digests: dict[str, str] = read_json(upload.folder / "train.done").get("weights") or {}
    weights = {name: path for name, path in upload.files.items() if fnmatch(name, "*.safetensors")}
    if not digests:
        return "its train.done has no digests of weights to check the model against"
    for name in sorted(digests.keys() | weights.keys()):
        if name not in weights:
            return f"model/{name} is missing"
        if name not in digests:
            return f"model/{name} is not of this training; remove it"
        if file_hash(weights[name]) != digests[name]:
            return f"model/{name} differs from what training saved: damaged or changed since, so not published"
    return None


def _refuse(mistakes: dict[str, str | None]) -> None:
    """Raise one error with every reason and its runs."""
    reasons: dict[str, list[str]] = {}
    for run_id, reason in mistakes.items():
        if reason:
            reasons.setdefault(reason, []).append(run_id)
    if reasons:
        raise UserError("\n".join(f"{some(ids)}: {reason}" for reason, ids in reasons.items()))


def command(
    ctx: typer.Context,
    to: Annotated[str, typer.Option(metavar="ORG", help="User or organisation of the hub.")],
    names: Names = None,
    public: Annotated[bool, typer.Option("--public", help="Everybody can see them; otherwise private.")] = False,
    toy: Annotated[bool, typer.Option("--toy", help="Also toy models, under names that begin with toy-.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, list what would be sent, send nothing.")] = False,
) -> int:
    """Upload finished models to a Hugging Face hub."""
    study, runs = study_and_runs(runs_of(ctx), names)
    return push(study, runs, to, make_console(), public=public, toy=toy, dry_run=dry_run)

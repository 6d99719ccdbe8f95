"""`cpt sync`: uploads what is missing of a study's runs and its comparison, from the files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from cpt.commands.arguments import Names, runs_of, study_and_runs
from cpt.commands.logs import chosen_folders
from cpt.console import make_console
from cpt.errors import UserError, config_error
from cpt.files import locked
from cpt.results.analysis.study_results import StudyResults
from cpt.results.tracking.base import Destination, describe
from cpt.results.tracking.comparison_run import comparison_artifacts
from cpt.results.tracking.destinations import destinations
from cpt.results.tracking.sent_record import key_of, read_record
from cpt.results.tracking.upload import Sent, comparison_changed, missing, send, send_comparison
from cpt.study.compare.conclude import comparison_identity
from cpt.study.compare.mirror_identity import identity_of, tracking_of
from cpt.study.state.lease import holder
from cpt.study.state.run import Run
from cpt.study.state.run_status import read_status

LOCK = ".sync.lock"


def sync(study: Path, words: Sequence[str], to: str, console: Console, dry_run: bool) -> int:
    """Send the named runs of a study, or all and the comparison; exit code 1 if something could not be sent."""
    folders = chosen_folders(study, words) if words else sorted(path.parent for path in study.glob("*/config.yaml"))
    folders = [folder for folder in folders if (folder / "config.yaml").exists()]
    if not folders:
        raise UserError(f"{study}: no run there to send")
    [destination, *_] = destinations({"wandb": "online"}.get(to, to), study.parent)
    if not dry_run and (obstacle := destination.obstacle()):
        _say(console, f"Nothing was sent to {destination.name}: {obstacle}.")
        return 1
    with locked(study / LOCK, wait=False) as mine:
        if not mine:
            raise config_error("study", study.name, "it is being sent by another `cpt sync`; wait for that")
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            upload = _Upload(destination, dry_run, progress)
            upload.runs(folders)
            if not words:
                upload.comparison(study, folders[0])
    _say(console, upload.total())
    return int(upload.failed > 0)


class _Upload:
    """Uploads the runs and the comparison of one call, and counts."""

    def __init__(self, destination: Destination, dry_run: bool, progress: Progress) -> None:
        self.destination, self.dry_run, self.progress = destination, dry_run, progress
        self.checked = self.sent = self.failed = self.steps = 0
        self.obstacle: str | None = None

    def runs(self, folders: list[Path]) -> None:
        for folder in self.progress.track(folders, description=f"To {self.destination.name}"):
            self.checked += 1
            if self.obstacle:
                self.failed += 1
                continue
            try:
                self._count(folder.name, self._run(folder))
            except Exception as error:
                self._fail(folder.name, error)

    def comparison(self, study: Path, folder: Path) -> None:
        """`folder` is any run's: the comparison has the configuration that all share."""
        artifacts = comparison_artifacts(StudyResults.read(study), study)
        if artifacts is None or self.obstacle:
            return
        try:
            new = comparison_changed(study, artifacts, tracking_of(folder), self.destination)
            if new and not self.dry_run:
                new = send_comparison(study, artifacts, comparison_identity(folder, artifacts), self.destination)
            _say(self.progress.console, f"comparison: {'tables and drawings' if new else 'nothing new'}")
            self.sent += new
        except Exception as error:
            self._fail("comparison", error)

    def _run(self, folder: Path) -> Sent | None:
        """None if the run's own process is sending it."""
        record = read_record(folder, key_of(self.destination, tracking_of(folder)))
        held = holder(folder)
        if held and held.alive and record.open:
            return None
        status = read_status(folder)
        failed = status is not None and status.state in ("failed", "stopped")
        unsent = missing(folder, record, failed)
        if self.dry_run or not unsent:
            return unsent
        return send(folder, identity_of(Run.from_folder(folder), folder.name), self.destination, failed)

    def _count(self, name: str, sent: Sent | None) -> None:
        _say(self.progress.console, f"{name}: {'skipped, its own process is sending it' if sent is None else sent}")
        if sent:
            self.sent += 1
            self.steps += sent.steps

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        _say(self.progress.console, f"{name}: not sent ({describe(error)})")
        self.destination.abandon()
        self.obstacle = self.destination.obstacle()  # or a thousand runs would each wait for a server that is gone
        if self.obstacle:
            _say(self.progress.console, f"The rest is not tried: {self.obstacle}.")

    def total(self) -> str:
        if not self.sent and not self.failed:
            return f"Nothing new for {self.destination.name} in {self.checked:,} run{'s' * (self.checked != 1)}."
        done = "Would send" if self.dry_run else "Sent"
        message = f"{done} to {self.destination.name}: {self.steps:,} steps, something new of {self.sent:,}"
        return f"{message}; {self.failed:,} could not be sent." if self.failed else f"{message}."


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def command(
    ctx: typer.Context,
    names: Names = None,
    to: Annotated[Literal["wandb", "trackio"], typer.Option(help="Where to send them.")] = "wandb",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be sent, send nothing.")] = False,
) -> int:
    """Send curves and scores to W&B or trackio, from what is on disk."""
    study, runs = study_and_runs(runs_of(ctx), names)
    return sync(study, runs, to, make_console(), dry_run)

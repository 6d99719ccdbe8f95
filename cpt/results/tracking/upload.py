"""Sends runs and comparisons to a mirror from disk: after the fact, or of runs that were killed or still train."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.results.tracking.base import Destination, Identity
from cpt.results.tracking.comparison_run import FOLDER, ComparisonArtifacts
from cpt.results.tracking.history import History, digest, summary_of
from cpt.results.tracking.sent_record import Record, key_of, read_record, recorded_sink

if TYPE_CHECKING:
    from cpt.config import TrackingConfig


@dataclass(frozen=True)
class Sent:
    """What was sent of a run, or would be."""

    steps: int = 0
    values: int = 0
    """Values of the whole run, sent together if one has changed."""
    ended: bool = False
    """Whether only its end was sent: that it failed, or did not fail after all."""

    def __str__(self) -> str:
        parts = [f"{self.steps:,} step{'s' * (self.steps != 1)}"] * bool(self.steps)
        parts += [f"{self.values:,} scores and totals"] * bool(self.values)
        return ", ".join(parts or ["how it ended"] * self.ended or ["nothing new"])

    def __bool__(self) -> bool:
        return bool(self.steps or self.values or self.ended)


def missing(folder: Path, record: Record, failed: bool) -> Sent:
    """What is missing at the mirror according to its record; the mirror itself may have more."""
    values = summary_of(folder)
    return Sent(
        steps=sum(step > record.step for step, _ in History(folder).new()),
        values=len(values) if values and digest(values) != record.summary else 0,
        ended=record != Record() and record.failed != failed,
    )


def send(folder: Path, identity: Identity, destination: Destination, failed: bool) -> Sent:
    """Upload missing steps and summary; no network call if nothing is missing."""
    unsent = missing(folder, read_record(folder, key_of(destination, identity)), failed)
    if not unsent:
        return unsent
    steps = 0
    with (
        # The files of the mirror's client are not needed afterwards: an upload always starts from the run's own files.
        tempfile.TemporaryDirectory(prefix="cpt-sync-") as scratch,
        recorded_sink(folder, identity, destination, Path(scratch), failed) as sink,
    ):
        for step, values in History(folder).new():
            steps += step > sink.known_step
            sink.log(values, step)
        if unsent.values:
            sink.summarise(summary_of(folder))
    return Sent(steps, unsent.values, unsent.ended)


def comparison_changed(
    study: Path, artifacts: ComparisonArtifacts, owner: Identity | TrackingConfig, destination: Destination
) -> bool:
    """Whether the comparison differs from the one that was sent last."""
    return read_record(study / FOLDER, key_of(destination, owner)).summary != artifacts.digest


def send_comparison(study: Path, artifacts: ComparisonArtifacts, identity: Identity, destination: Destination) -> bool:
    """Send the comparison if it has changed, as a new step of the same run; returns whether it was sent."""
    if not comparison_changed(study, artifacts, identity, destination):
        return False
    folder = study / FOLDER
    with recorded_sink(folder, identity, destination, folder) as sink:
        sink.log_comparison(artifacts)
    return True

"""Sends a run to a mirror from its files on disk: what the mirror has not got yet, under the run's own id.

So a mirror can be filled after the fact: of runs that were offline, killed, resumed, or are still under way.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cpt.results.tracking.history import History, digest, summary_of
from cpt.results.tracking.mirror import Destination, Identity
from cpt.results.tracking.sent_record import Record, Recorded, key_of, read_record


@dataclass(frozen=True)
class Sent:
    """What of a run was sent, or would be."""

    steps: int = 0
    values: int = 0
    """Values of the run as a whole, sent together when one has changed."""
    ended: bool = False
    """Whether only its end was told: that it failed, or did not after all."""

    def __str__(self) -> str:
        parts = [f"{self.steps:,} step{'s' * (self.steps != 1)}"] * bool(self.steps)
        parts += [f"{self.values:,} scores and totals"] * bool(self.values)
        return ", ".join(parts or ["how it ended"] * self.ended or ["nothing new"])

    def __bool__(self) -> bool:
        return bool(self.steps or self.values or self.ended)


def missing(folder: Path, record: Record, failed: bool) -> Sent:
    """What a mirror has not got of a run, by what is remembered; the mirror itself may turn out to have more."""
    steps = [step for step, _ in History(folder).new()]
    values = summary_of(folder)
    return Sent(
        steps=sum(step > record.step for step in steps),
        values=len(values) if values and digest(values) != record.summary else 0,
        ended=record != Record() and record.failed != failed,
    )


def send(folder: Path, identity: Identity, place: Destination, failed: bool) -> Sent:
    """Send what a mirror has not got of a run; nothing is asked of the mirror when that is nothing."""
    wanted = missing(folder, read_record(folder, key_of(place, identity)), failed)
    if not wanted:
        return wanted
    # What the mirror's client keeps on its way out is of no use afterwards: the run's own files are what is sent again.
    with tempfile.TemporaryDirectory(prefix="cpt-sync-") as scratch:
        sink = Recorded(folder, identity, place, Path(scratch))
        steps = 0
        try:
            for step, values in History(folder).new():
                steps += step > sink.known_step
                sink.log(values, step)
            if wanted.values:
                sink.summarise(summary_of(folder))
        except BaseException:
            sink.give_up()
            raise
        sink.close(failed)
    return Sent(steps, wanted.values, wanted.ended)

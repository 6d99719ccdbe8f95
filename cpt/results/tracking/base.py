"""Types that every mirror shares: a run's identity, a destination, and the sink of one run there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cpt.results.tracking.history import Values

if TYPE_CHECKING:
    from cpt.results.tracking.comparison_run import ComparisonArtifacts


@dataclass(frozen=True)
class Identity:
    """Names and settings of a run in a mirror."""

    run_id: str
    name: str
    group: str
    """The study."""
    tags: list[str]
    config: dict[str, Any]
    """Without anything of this machine."""
    project: str
    entity: str | None
    job_type: str
    """train, base, or comparison."""
    notes: str = ""


class Listener(Protocol):
    """Receives the values of a run."""

    def log(self, values: Values, step: int) -> None:
        """Values of a step; steps come in order."""

    def summarise(self, values: Values) -> None:
        """Values of the whole run; a later value replaces an earlier one of the same name."""

    def close(self, failed: bool) -> None:
        """Returns when everything has arrived."""


class Sink(Listener, Protocol):
    """One run, opened at a destination; it receives no step twice."""

    known_step: int
    """The last step at the destination, from this process or an earlier one; -1 if there is none."""

    def log_comparison(self, artifacts: ComparisonArtifacts, step: int) -> None:
        """Tables and pages of a comparison; they replace those of earlier steps."""


class Destination(Protocol):
    """A service or folder to mirror to."""

    name: str
    """For people: W&B, trackio."""

    @property
    def address(self) -> str:
        """Server or folder; the record of what was sent is stored under it."""

    def obstacle(self) -> str | None:
        """Why nothing can be sent from here, or None."""

    def open(self, folder: Path, identity: Identity) -> Sink:
        """Start or resume a run; the destination may store files in `folder`."""

    def abandon(self) -> None:
        """After a failure: release what could disturb the next run of this process."""


def run_name(run_id: str) -> str:
    """A run's id in the characters that W&B allows."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)


def describe(error: BaseException) -> str:
    """An error in one line that never shows the key."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    key = os.environ.get("WANDB_API_KEY")
    return line.replace(key, "…") if key else line

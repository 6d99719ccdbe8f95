"""Chooses where runs are mirrored: W&B or trackio, by the mode `tracking.mode`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cpt.results.tracking.base import Destination
from cpt.results.tracking.trackio import FOLDER, Trackio
from cpt.results.tracking.wandb import Wandb


def destinations(mode: str, runs: Path) -> list[Destination]:
    """Destinations of a mode in order of preference; `runs` is the folder of the studies."""
    if mode == "none":
        return []
    if mode == "trackio":
        return [Trackio(runs / FOLDER)]
    return [Wandb("online"), Wandb("offline")] if mode == "online" else [Wandb("offline")]


def resolve_mode(mode: str, say: Callable[[str], None]) -> str:
    """The mode to use: `online` becomes `offline`, with a message, without a key or a server.

    Called once per launch, so that 36 runs do not each wait for a server that does not answer.
    """
    if mode == "trackio":  # the check of the settings has made sure that it is installed
        say("tracking: curves and scores go to .trackio, beside the studies; `cpt dashboard` shows them, now and later")
    if mode != "online" or (obstacle := Wandb("online").obstacle()) is None:
        return mode
    say(
        f"tracking: offline instead of online, for {obstacle}. Curves and scores are kept in each run's folder; "
        "when that is mended, `cpt sync` sends them"
    )
    return "offline"

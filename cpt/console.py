"""Where people read what a study says."""

from __future__ import annotations

from rich.console import Console


def people_console() -> Console:
    """A terminal's own width; wide where output goes to a file or a pipe, so that no table is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=200)

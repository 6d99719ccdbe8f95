"""The console of a command, and how amounts and durations are printed."""

from __future__ import annotations

from rich.console import Console


def make_console() -> Console:
    """The terminal at its own width; wide in a file or a pipe, so that no table is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def amount(value: float, unit: str = "") -> str:
    """A number with an SI prefix: 58.6 k, 1.2 G."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}".strip()


def clock(seconds: float) -> str:
    """A duration: 12 s, 3:05, 1:02:03."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

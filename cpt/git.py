"""Questions to git about a checkout of this code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NAMES = ("cpt", "hydra_plugins", "conf", "sweeps", "launch.py", "evaluate.py", "pyproject.toml")
"""The parts of a checkout that jobs need."""
SECONDS = 30
"""The longest that git may take: on a parallel file system it can be very slow."""


def commit_of(project: Path) -> str:
    """The commit of a checkout, and whether it has changes; empty if git does not know it."""
    if not git(project, "ls-files", "--", "cpt/__init__.py"):
        return ""
    commit = git(project, "rev-parse", "--short=12", "HEAD")
    changed = git(project, "status", "--porcelain", "--untracked-files=no", "--", *NAMES)
    return f"{commit.strip()}{', with changes' if changed else ''}" if commit else ""


def git(project: Path, *arguments: str) -> str | None:
    """The output of a git command; None if git is missing, fails or takes too long."""
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=quiet, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.decode("utf-8", "replace")

"""The command line of a study: Hydra's, with one readable message for every foreseeable mistake."""

from __future__ import annotations

import errno
import os
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from cpt.config import StudyConfig
from cpt.growing_folder import FULL
from cpt.study.compose.hydra_errors import CONF, readable

HELP_WIDTH = 75
"""Columns of a line of choices in the help."""


def no_room(error: Exception) -> str | None:
    """The message for a full or read-only disk."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = error.filename or "the disk of paths.runs or paths.cache"
        return f"{where}: no room left to write ({error.strerror}); make room and launch again"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        reason = f"{error.filename or 'a folder'}: it is not writable ({error.strerror})"
        return f"{reason}; set paths.runs and paths.cache to writable folders"
    return None


def choices_of(group: str) -> str:
    """A group's choices for the help, wrapped to several lines if needed."""
    choices = GlobalHydra.instance().config_loader().get_group_options(group)
    return textwrap.fill(", ".join(choices), HELP_WIDTH, subsequent_indent=" " * 13)


def command(task: Callable[[Any], Any], config: str = "config") -> None:
    """Compose from `conf/` and launch; `task` is what a worker calls for a run."""
    ConfigStore.instance().store(name="schema", node=StudyConfig, provider="cpt")
    OmegaConf.register_new_resolver("choices", choices_of, replace=True)
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints its own message and exits
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config)(task)()
    except KeyboardInterrupt:
        print("\nInterrupted. Finished work is on disk; the same command resumes.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # foreseeable mistakes become messages; bugs keep their traceback
        message = no_room(error) or readable(error)
        if message is None or full_error == "1":
            raise
        print(message, file=sys.stderr)
        sys.exit(2)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error

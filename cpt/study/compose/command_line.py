"""The command line of a study: Hydra's, with every foreseeable mistake ended in one readable message."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore

from cpt.config import StudyConfig
from cpt.growing import FULL
from cpt.study.compose.hydra_errors import CONF, readable


def no_room(error: Exception) -> str | None:
    """A full disk, wherever it was met."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = error.filename or "the disk of paths.runs or paths.cache"
        return f"{where}: no room left to write ({error.strerror}); make room and launch again"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        told = f"{error.filename or 'a folder'}: it cannot be written to ({error.strerror})"
        return f"{told}; give paths.runs and paths.cache where it can"
    return None


def command(task: Callable[[Any], Any], config: str = "config") -> None:
    """Compose from `conf/` and launch; `task` is what a worker does with a run's folder."""
    ConfigStore.instance().store(name="schema", node=StudyConfig, provider="cpt")
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints and exits before the error can be told well
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config)(task)()
    except KeyboardInterrupt:
        print("\nInterrupted; what is finished is kept. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # every foreseeable kind is told; the rest is our own mistake and keeps its traceback
        told = no_room(error) or readable(error)
        if told is None or asked == "1":
            raise
        print(told, file=sys.stderr)
        sys.exit(2)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked

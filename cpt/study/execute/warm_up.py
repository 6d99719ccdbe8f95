"""Starts the server that workers are forked from before anything else: it imports for seconds while a study is composed
and planned, so a run then starts in milliseconds. This module imports little, so that the server starts early.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing import forkserver

from cpt.processes import ALLOCATOR

NO_RUN = {"dry_run=true", "--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}
"""Arguments with which `launch.py` and `evaluate.py` start no run."""


def warm_up_for(arguments: Sequence[str]) -> None:
    """Start the server unless these arguments start no run on this machine."""
    elsewhere = any(argument.startswith("hardware=") and argument != "hardware=local" for argument in arguments)
    if not elsewhere and not NO_RUN & set(arguments):
        warm_up()  # otherwise the server starts with the first run


def warm_up() -> None:
    """Start the server if it is not running; does not wait for it."""
    os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker sets its own number of threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["cpt.study.execute.preload"])
    forkserver.ensure_running()

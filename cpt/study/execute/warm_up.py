"""The server that workers are forked from, started before anything else: it imports for seconds while a study is
composed and planned, and a run then starts in milliseconds. Little is imported here, to be early.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

from cpt.processes import ALLOCATOR


def warm_up() -> None:
    """Start the server where it does not run yet; nothing waits for it."""
    os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker sets its own number of threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["cpt.study.execute.preload"])
    forkserver.ensure_running()

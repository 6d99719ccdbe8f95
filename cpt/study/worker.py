"""What a worker process does with the folder of one run: carry it out, say how it ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path

from cpt.errors import UserError
from cpt.files import locked
from cpt.study.run import Run
from cpt.study.status import Reporter


@dataclass(frozen=True)
class Job:
    """A run's folder, and how this launch mirrors it."""

    folder: Path
    name: str
    run_id: str
    tracking: str
    """Tracking mode as it turned out for the whole launch: none, offline or online."""


def carry_out_folder(job: Job) -> None:
    """Carry out the frozen run of a folder in this process; its exit code says whether it finished."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle; it stops its workers
    _log_to(job.folder / "log.txt")
    with locked(job.folder / ".lock"):
        reporter = Reporter(job.folder, job.name, job.run_id)
        try:
            run = Run.thaw(job.folder)
            if run.folder.resolve() != job.folder.resolve():
                raise UserError(f"data or model changed since the launch: it would now be {run.run_id}; launch again")
            _carry_out(run, job, reporter)
        except UserError as error:
            logging.error("%s", error)
            reporter.end("failed", str(error))
        except Exception as error:
            logging.error("%s", traceback.format_exc())
            reporter.end("failed", f"{type(error).__name__}: {error} (traceback in log.txt)")
        else:
            reporter.end("finished")
            return
    sys.exit(1)


def _carry_out(run: Run, job: Job, reporter: Reporter) -> None:
    import torch
    from transformers.utils.logging import disable_progress_bar

    from cpt.results.tracking import open_tracker
    from cpt.study.stages import carry_out

    config = run.config
    torch.set_num_threads(config.hardware.threads)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar in a log file is a thousand lines
    axes = [config.model.name, config.data_mix.name, config.lang_category.name, f"seed-{config.seed}"]
    with open_tracker(
        job.tracking,
        folder=job.folder,
        run_id=run.run_id,
        name=run.name,
        group=config.study,
        tags=[config.model.name, "base"] if run.base else [*axes, "code" if config.code else "no-code"],
        config=run.public_config(),
        project=config.tracking.project,
        entity=config.tracking.entity,
        job_type="base" if run.base else "train",
    ) as tracker:
        carry_out(run, reporter, tracker)


def _die_with_parent() -> None:
    """A launcher that is killed takes its workers along, so the next launch never meets a ghost."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _log_to(path: Path) -> None:
    """Everything this process says, from any library, goes to the run's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr, force=True)

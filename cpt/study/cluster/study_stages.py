"""The stages of a whole study, as jobs of a cluster carry them out: data made once for all runs, and the comparison."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

from cpt.console import make_console
from cpt.files import locked
from cpt.study.cluster.jobs import COMPARE
from cpt.study.cluster.settle import settle
from cpt.study.cluster.task import stage_folder
from cpt.study.execute.worker import Outcome, log_to, reported
from cpt.study.state.lease import Lease, LeaseTakenError
from cpt.study.state.run import PREPARE, Run
from cpt.study.state.run_status import Reporter


def carry_out_stage(study: Path, stage: str, runs: list[Path], job: str) -> Outcome:
    """One of the study's own stages, with a status and a log of its own."""
    folder = stage_folder(study, stage)
    folder.mkdir(parents=True, exist_ok=True)
    log_to(folder / "log.txt", "")
    work: Callable[[Reporter], None] = {
        PREPARE: lambda reporter: prepare_for(runs, reporter),
        COMPARE: lambda reporter: compare(study),
    }[stage]
    try:
        # Another launch's may be at it: what it makes is found made, and what it has not seen yet is compared after it.
        with Lease(folder, f"job {job}" if job else "a launch", wait=inf):
            return reported(Reporter(folder, stage, stage, job=job), work)
    except LeaseTakenError:
        return Outcome("taken")


def prepare_for(folders: list[Path], reporter: Reporter) -> None:
    """The data of runs, and of a toy world the base models, which each run would otherwise wait for."""
    from cpt.study.data.prepare_study import prepare_study
    from cpt.study.execute.stages import prepare_model

    runs = [Run.thaw(folder) for folder in folders]
    reporter.stage(PREPARE)
    for run in {run.model.path: run for run in runs if run.config.checkpoint is None}.values():
        prepare_model(run, reporter)
    for run in runs:
        if not run.trains:
            run.asked.fetch()
    if trained := [run for run in runs if run.trains]:
        prepare_study(trained, make_console())


def compare(study: Path) -> None:
    """Comparison and report of what there is now; a launch that plans at this moment is waited for."""
    from cpt.study.launch.launch_study import conclude

    with locked(study / ".lock"):
        settle(study)
        conclude(study, make_console())

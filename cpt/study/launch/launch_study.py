"""A launch: checks every run, plans the study, executes unfinished runs, and compares them."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console

from cpt.config import HardwareConfig, StudyConfig
from cpt.console import make_console
from cpt.errors import config_error
from cpt.study.checks.benchmark_files import provide
from cpt.study.cluster.settle import available_runs
from cpt.study.launch.run_set import base_runs, check_comparable, check_runs, check_shared_settings, distinct
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.study_plan import StudyPlan
from cpt.study.state.lease import study_lock
from cpt.study.state.run import Run


class Executor(Protocol):
    """Executes the runs of a study: in processes of this machine, or as jobs of a cluster."""

    notice: str
    """A message for the user before anything starts."""

    def configure(self, configs: list[StudyConfig]) -> list[StudyConfig]:
        """The configurations with the settings that depend on the executor."""

    def slots(self, hardware: HardwareConfig) -> int:
        """How many runs may run at a time."""

    def check(self, runs: list[Run]) -> None:
        """Refuse runs that could not be executed."""

    def remaining_jobs(self, runs: list[Run]) -> list[StageJob]:
        """The jobs of unfinished runs; none on this machine."""

    def all_jobs(self, runs: list[Run]) -> list[StageJob]:
        """The jobs that train and evaluate these runs, finished or not; none on this machine."""

    def preview(self, runs: list[Run], console: Console) -> None:
        """Show what `run` would do."""

    def prepare(self, runs: list[Run], console: Console) -> None:
        """Prepare the data of the runs, unless a job does."""

    def run(self, todo: list[Run], runs: list[Run], console: Console) -> None:
        """Execute or submit the runs of `todo`; `runs` are all of the launch."""

    def wait(self, runs: list[Run], console: Console) -> bool:
        """Wait until the runs have ended; false if they continue without this process."""


def launch_study(configs: list[StudyConfig], executor: Executor) -> None:
    """Execute a study; with `dry_run=true` only show its plan."""
    if checkpoint := configs[0].checkpoint:
        raise config_error("checkpoint", checkpoint, "launch.py trains; `python evaluate.py checkpoint=…` evaluates it")
    check_shared_settings(configs)
    runs = [Run(config) for config in executor.configure(configs)]
    check_runs(runs)
    runs = distinct(runs)
    launch(runs, base_runs(runs), executor, make_console())


def launch(
    runs: list[Run], bases: list[Run], executor: Executor, console: Console, same_benchmarks: bool = True
) -> None:
    """Plan, execute and compare checked runs; models that are only evaluated need no plan."""
    all_runs, config, study = [*bases, *runs], runs[0].config, runs[0].folder.parent
    executor.check(all_runs)
    plan = make_plan(runs, bases, executor) if any(run.trains for run in runs) else None
    if plan:
        plan.refuse()
    if executor.notice:
        console.print(executor.notice, highlight=False, soft_wrap=True)
    if config.dry_run:
        if plan:
            plan.show(console)
        else:
            console.print(f"To evaluate: {', '.join(run.run_id for run in runs)}.", soft_wrap=True)
        executor.preview(all_runs, console)
        console.print("Nothing was started (dry_run=true).")
        return
    with study_lock(study):
        provide(all_runs, console)
        check_comparable(study, all_runs, same_benchmarks)
        executor.prepare(runs, console)
        if plan:
            plan = plan.update(executor.remaining_jobs(all_runs))
            plan.show(console)
        executor.run(available_runs(study, all_runs, console), all_runs, console)
    if not executor.wait(all_runs, console) or config.prepare_only:
        return
    from cpt.study.compare.conclude import conclude  # figures and tables take seconds to import

    with study_lock(study):
        if plan:
            plan.write_results()
        unfinished = conclude(study, console)
    if {run.run_id for run in all_runs} & set(unfinished):  # an older failure in the study is only shown
        sys.exit(1)


def make_plan(runs: list[Run], bases: list[Run], executor: Executor) -> StudyPlan:
    slots = executor.slots(runs[0].config.hardware)
    return StudyPlan.of(runs, bases, slots, executor.remaining_jobs([*bases, *runs]), executor.all_jobs(runs))

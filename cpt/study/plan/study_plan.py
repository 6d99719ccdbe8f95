"""The plan of a launch: its runs, their cost and their disk; refused if it exceeds a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from cpt.errors import UserError
from cpt.study.plan.cost import Cost, print_cost, study_cost
from cpt.study.plan.matched_arms import matched_lines
from cpt.study.plan.plan_row import PlanRow, write_plan
from cpt.study.plan.print_plan import print_plan
from cpt.study.plan.quota import DiskPlan, disk_plan, quota_mistakes
from cpt.study.plan.run_estimates import estimate_runs
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.throughput import measured_throughput
from cpt.study.state.run import Run


@dataclass(frozen=True)
class StudyPlan:
    """Everything known of a launch before it starts."""

    runs: list[Run]
    bases: list[Run]
    slots: int
    rows: list[PlanRow]
    cost: Cost
    disk: DiskPlan
    training_jobs: Sequence[StageJob] = ()
    """All jobs of the runs, finished or not; empty on this machine."""

    @classmethod
    def of(
        cls,
        runs: list[Run],
        bases: list[Run],
        slots: int,
        jobs: Sequence[StageJob] = (),
        whole: Sequence[StageJob] = (),
    ) -> StudyPlan:
        """`jobs` are the remaining ones, `whole` all that the runs ever need; both are empty on this machine."""
        throughput = measured_throughput(Path(runs[0].config.paths.runs))
        rows = estimate_runs(runs, whole, throughput)
        disk = disk_plan(runs, bases, rows, slots, jobs)
        return cls(runs, bases, slots, rows, study_cost(jobs, rows, throughput), disk, whole)

    def update(self, jobs: Sequence[StageJob]) -> StudyPlan:
        """The plan after preparing: estimated again for the runs that a stage was finished of."""
        changed = [run for run, row in zip(self.runs, self.rows, strict=True) if run.state.last_stage != row.done]
        if not changed:
            return self
        throughput = measured_throughput(Path(changed[0].config.paths.runs))
        new = {row.run_id: row for row in estimate_runs(changed, self.training_jobs, throughput)}
        rows = [new.get(row.run_id, row) for row in self.rows]
        disk = disk_plan(self.runs, self.bases, rows, self.slots, jobs)
        return replace(self, rows=rows, cost=study_cost(jobs, rows, throughput), disk=disk)

    def write_results(self) -> None:
        """Write `plan.csv` again with what the runs have measured."""
        write_plan(self.runs[0].folder.parent, estimate_runs(self.runs, self.training_jobs))

    def refuse(self) -> None:
        """Raise every reason why the study could not end, before any work starts."""
        quota = self.runs[0].config.hardware.quota
        if mistakes := [*self.cost.mistakes, *quota_mistakes(self.disk, quota)]:
            raise UserError("\n".join(map(str, mistakes)))

    def show(self, console: Console) -> None:
        """Print the plan and write `plan.csv`."""
        print_plan(self.rows, self.bases, self.slots, console, self.disk.peak.size)
        print_cost(self.cost, console)
        for line in matched_lines(self.runs, {row.run_id: row.planned_steps for row in self.rows}):
            console.print(line, highlight=False, soft_wrap=True)
        console.print(f"Written to {self.write()}", soft_wrap=True)

    def write(self) -> str:
        return str(write_plan(self.runs[0].folder.parent, self.rows))

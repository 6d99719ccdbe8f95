"""The plan of a launch: its runs, their cost and their disk; refused if it exceeds a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from cpt.errors import UserError
from cpt.study.plan.cost import Cost, print_cost, study_cost
from cpt.study.plan.estimate import estimate_runs
from cpt.study.plan.matched_arms import matched_lines
from cpt.study.plan.plan_row import PlanRow, write_plan
from cpt.study.plan.print_plan import print_plan
from cpt.study.plan.quota import DiskPlan, disk_plan, quota_mistakes
from cpt.study.plan.stage_jobs import StageJob
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
        rows = estimate_runs(runs, whole)
        return cls(runs, bases, slots, rows, study_cost(jobs, rows), disk_plan(runs, bases, rows, slots, jobs))

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

"""A cluster's jobs on this machine, by submitit's local executor.

submitit starts all local jobs at once; here each waits for its dependencies and for a free slot, as with SLURM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.local.local import LocalExecutor as SubmititLocal
from submitit.local.local import LocalJob

from cpt.study.cluster.submission import ENVIRONMENT, tasks_of
from cpt.study.cluster.task import stage_folder
from cpt.study.plan.stage_jobs import OF_A_STUDY, StageJob
from cpt.study.state.run import Run
from cpt.study.state.run_status import read_status

WAITING, RUNNING, SUCCEEDED, FAILED = "waiting", "running", "succeeded", "failed"


@dataclass
class Element:
    """One job of this machine: a stage of a run or of the study."""

    job: StageJob
    number: int
    task: Any
    state: str = WAITING
    started: LocalJob[Any] | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.job.runs if self.job.stage in OF_A_STUDY else (self.job.runs[self.number],)

    def succeeded(self) -> bool:
        """Judged by the files in its folder, because an exit code says little."""
        if self.job.stage in OF_A_STUDY:
            status = read_status(stage_folder(self.runs[0].folder.parent, self.job.stage))
            return status is not None and status.state == "finished"
        return self.runs[0].state.done(self.job.stage)


@dataclass
class LocalQueue:
    """Job elements in the order in which they may start."""

    launcher: Mapping[str, Any]
    code: Path
    slots: int
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Jobs inherit the environment. submitit would set it in a shell, which would not pass signals on.
        paths = [str(self.code), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ.update(ENVIRONMENT, PYTHONPATH=os.pathsep.join(paths))

    def add(self, jobs: Sequence[StageJob], tracking: str) -> None:
        for job in jobs:
            self.elements += [Element(job, number, task) for number, task in enumerate(tasks_of(job, tracking))]

    @property
    def running(self) -> list[Element]:
        return [element for element in self.elements if element.state == RUNNING]

    def advance(self) -> bool:
        """Update ended elements and start those that can; false when nothing is left."""
        for element in self.running:
            if element.started is not None and element.started.done():
                element.state = SUCCEEDED if element.succeeded() else FAILED
        for element in self.elements:
            if element.state == WAITING and len(self.running) < self.slots:
                self._start_if_ready(element)
        return any(element.state in (WAITING, RUNNING) for element in self.elements)

    def _start_if_ready(self, element: Element) -> None:
        before = [other for other in self.elements if other.job.name in element.job.after]
        if any(other.job.elements > 1 for other in before) and element.job.elements > 1:
            before = [other for other in before if other.job.elements == 1 or other.number == element.number]
        after_any = [other for other in self.elements if other.job.name in element.job.after_any]
        if any(other.state == FAILED for other in before):
            element.state = FAILED  # a dependency failed
        elif all(other.state == SUCCEEDED for other in before) and all(
            other.state in (SUCCEEDED, FAILED) for other in after_any
        ):
            element.started = self._start(element)
            element.state = RUNNING

    def _start(self, element: Element) -> LocalJob[Any]:
        params = {**self.launcher, **element.job.params}
        executor = SubmititLocal(
            str(params["submitit_folder"]), int(params.get("max_num_timeout") or 0), python=params.get("python")
        )
        executor.update_parameters(
            nodes=int(params.get("nodes") or 1),
            tasks_per_node=int(params.get("tasks_per_node") or 1),
            gpus_per_node=int(params.get("gpus_per_node") or 0),
            timeout_min=params["timeout_min"],
            signal_delay_s=int(params["signal_delay_s"]),
            setup=params.get("setup") or [],
        )
        job = executor.submit(element.task)
        assert isinstance(job, LocalJob), "submitit's local executor makes local jobs"
        return job

    def stop(self) -> None:
        """Ask running elements to save and end, and wait for them; the others are not started."""
        for element in self.running:
            if element.started is not None and element.started._process is not None:
                element.started._process.terminate()
        for element in self.running:
            if element.started is not None and element.started._process is not None:
                element.started._process.wait()

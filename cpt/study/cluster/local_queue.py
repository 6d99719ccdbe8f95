"""A cluster's jobs on this machine: submitit's local executor, with the order and the limit that SLURM would keep.

submitit starts local jobs at once, all of them; here each waits for those before it, and for a free place.
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

WAITING, RUNNING, ENDED_WELL, ENDED_BADLY = "waiting", "running", "ended well", "ended badly"


@dataclass
class Element:
    """One job of this machine: a run's stage, or the study's."""

    job: StageJob
    number: int
    task: Any
    state: str = WAITING
    started: LocalJob[Any] | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.job.runs if self.job.stage in OF_A_STUDY else (self.job.runs[self.number],)

    def ended_well(self) -> bool:
        """By its folder, as everybody judges: a process's end says little."""
        if self.job.stage in OF_A_STUDY:
            status = read_status(stage_folder(self.runs[0].folder.parent, self.job.stage))
            return status is not None and status.state == "finished"
        return self.runs[0].state.done(self.job.stage)


@dataclass
class LocalQueue:
    """Elements in the order in which they may start."""

    launcher: Mapping[str, Any]
    code: Path
    slots: int
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Jobs inherit it; a shell before them, which submitit would use for this, would keep signals from them.
        paths = [str(self.code), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ.update(ENVIRONMENT, PYTHONPATH=os.pathsep.join(paths))

    def add(self, jobs: Sequence[StageJob], tracking: str) -> None:
        for job in jobs:
            self.elements += [Element(job, number, task) for number, task in enumerate(tasks_of(job, tracking))]

    @property
    def running(self) -> list[Element]:
        return [element for element in self.elements if element.state == RUNNING]

    def advance(self) -> bool:
        """Note what has ended, start what can; false when nothing is left."""
        for element in self.running:
            if element.started is not None and element.started.done():
                element.state = ENDED_WELL if element.ended_well() else ENDED_BADLY
        for element in self.elements:
            if element.state == WAITING and len(self.running) < self.slots:
                self._consider(element)
        return any(element.state in (WAITING, RUNNING) for element in self.elements)

    def _consider(self, element: Element) -> None:
        before = [other for other in self.elements if other.job.name in element.job.after]
        if any(other.job.elements > 1 for other in before) and element.job.elements > 1:
            before = [other for other in before if other.job.elements == 1 or other.number == element.number]
        any_way = [other for other in self.elements if other.job.name in element.job.after_any]
        if any(other.state == ENDED_BADLY for other in before):
            element.state = ENDED_BADLY  # what it needs will not come
        elif all(other.state == ENDED_WELL for other in before) and all(
            other.state in (ENDED_WELL, ENDED_BADLY) for other in any_way
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
        """Ask what runs to save and end; the rest is not started."""
        for element in self.running:
            if element.started is not None and element.started._process is not None:
                element.started._process.terminate()
        for element in self.running:
            if element.started is not None and element.started._process is not None:
                element.started._process.wait()

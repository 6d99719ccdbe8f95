"""What a machine has to give to runs, and who of a run's processes is to blame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cpt.config import HardwareConfig
from cpt.errors import UserError
from cpt.machine import gpus, processes_of
from cpt.study.execute.local import LocalExecutor, Running
from cpt.study.execute.process_rank import ProcessRank
from cpt.study.execute.run_worker import Job, _dist_context
from cpt.study.state.run import Run

VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    for variable in VISIBLE:
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("CUDA_VISIBLE_DEVICES", "2,5", ["2", "5"]),
        ("CUDA_VISIBLE_DEVICES", "", []),
        ("HIP_VISIBLE_DEVICES", "1,3", ["1", "3"]),
        ("ROCR_VISIBLE_DEVICES", "4,5,6", ["0", "1", "2"]),
    ],
)
def test_only_gpus_that_are_ours_are_used(
    visible: Callable[[str, str], None], variable: str, value: str, wanted: list[str]
) -> None:
    visible(variable, value)
    assert gpus() == wanted


def test_an_engine_for_many_takes_all_gpus_unless_told(visible: Callable[[str, str], None]) -> None:
    visible("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert processes_of(HardwareConfig(engine="zero3")) == 4
    assert processes_of(HardwareConfig(engine="plain")) == 1
    executor = LocalExecutor(print)
    assert executor.slots(HardwareConfig(engine="plain")) == 4
    assert executor.slots(HardwareConfig(engine="zero3", processes=2)) == 2
    for hardware in (HardwareConfig(engine="zero3", processes=8), HardwareConfig(engine="plain", slots=5)):
        with pytest.raises(UserError, match=r"at a time need \d GPUs, this machine has 4"):
            executor.slots(hardware)


class Ended:
    """A process that has ended."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def join(self, seconds: float | None = None) -> None: ...

    def kill(self) -> None: ...


def test_a_killed_process_is_the_cause_of_what_others_say(compose: Callable[..., list[Any]]) -> None:
    [config] = compose("study=x")
    ended: list[Any] = [Ended(1), Ended(-9), Ended(1)]
    running = Running(Run(config), ended, 0, "")
    assert running.ended
    assert running.failure == (1, -9)


def test_engine_plain_on_several_processes_is_refused(compose: Callable[..., list[Any]]) -> None:
    [config] = compose("study=x")
    run = Run(config)
    job = Job(run.folder, run.name, run.run_id, "none", ProcessRank(1, 2, 1))
    with pytest.raises(UserError, match=r"hardware\.engine=plain: it runs one process, not 2; choose zero3"):
        _dist_context(run, job)

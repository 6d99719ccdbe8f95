"""`cpt doctor hardware=…`: a short job that finds what a long job would fail on, and the wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import submitit
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from cpt.config import StudyConfig
from cpt.doctor.check_result import Result, print_results
from cpt.doctor.judge import judge
from cpt.doctor.probe_record import ProcessRecord, named, read_records
from cpt.errors import UserError, config_error
from cpt.study.cluster.limits import limit_mistakes
from cpt.study.cluster.queue import GONE, cancel, slurm_present, states
from cpt.study.cluster.snapshot import take_snapshot
from cpt.study.cluster.submission import submission
from cpt.study.cluster.task import process_rank_of
from cpt.study.compose.hydra_errors import CONF, translated
from cpt.study.compose.with_hydra import typed
from cpt.study.plan.stage_jobs import DOCTOR, StageJob, params_of

STEP_SECONDS = 120.0
"""How long one step of the probe may take before it counts as hung."""


@dataclass(frozen=True)
class ProbeTask:
    """One process of the short job."""

    folder: str
    seconds: float
    runs: str
    cache: str

    def __call__(self) -> None:
        from cpt.doctor.probe import run_probe

        process = process_rank_of(submitit.JobEnvironment())
        folders = {"runs": Path(self.runs), "cache": Path(self.cache)}
        run_probe(process.rank, process.world_size, process.local_rank, Path(self.folder), self.seconds, folders)


def preflight(overrides: list[str], console: Console) -> int:
    """Submit the short job of this hardware, wait for it, and say what is wrong. Returns the exit code."""
    config, launcher = composed(overrides)
    hardware = config.hardware
    if not launcher.get("cluster"):
        raise config_error("hardware", hardware.name, "it is this machine: `cpt doctor` alone looks at that")
    if launcher["cluster"] != "slurm" or not slurm_present():
        raise config_error("hardware", hardware.name, "there is no sbatch on this machine; run this on the cluster")
    study = Path(config.paths.runs) / config.study
    job = StageJob(DOCTOR, DOCTOR, (), params_of(launcher, hardware, DOCTOR))
    if mistakes := limit_mistakes([job], hardware.partitions):
        raise UserError("\n".join(map(str, mistakes)))
    folder = study / ".jobs" / f"doctor-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    executor = submission(job, launcher, take_snapshot(study), {}, {})
    folders = [str(Path(folder_of_study).resolve()) for folder_of_study in (config.paths.runs, config.paths.cache)]
    sent = executor.submit(ProbeTask(str(folder.resolve()), STEP_SECONDS, *folders))
    console.print(f"Submitted {sent.job_id}: {job.tasks} processes; records in {folder}", highlight=False)

    def alive() -> bool:
        return states([sent.job_id])[sent.job_id] != GONE

    try:
        return wait_for_probe(folder, job.tasks, alive, 60.0 * float(job.params["timeout_min"]), console)
    finally:
        if alive():
            cancel([sent.job_id])


def composed(overrides: list[str]) -> tuple[StudyConfig, dict[str, Any]]:
    """A configuration and its launcher's keys, as launch.py would compose them with these words."""
    ConfigStore.instance().store(name="schema", node=StudyConfig, provider="cpt")
    Plugins.instance()  # which finds our launchers
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            whole = compose("config", [*overrides, "study=doctor"], return_hydra_config=True)
            launcher = cast("dict[str, Any]", OmegaConf.to_container(whole.hydra.launcher, resolve=True))
            return typed(whole), launcher
    except (HydraException, OmegaConfBaseException) as error:
        raise translated(error) from error


POLL_SECONDS = 1.0
ASK_SECONDS = 5.0
"""Between two questions to the cluster's queue, which serves everybody."""
LATE_SECONDS = 5.0
"""How long the last records of a job may take to be seen from here."""


def wait_for_probe(folder: Path, world_size: int, alive: Callable[[], bool], seconds: float, console: Console) -> int:
    """Follow the job until all have ended, it is gone, or `seconds` have passed; print what is wrong; the exit code.

    The time counts from the first record: a job that waits in the queue does not hang, and has a time limit of its own.
    """
    over = _followed(folder, world_size, alive, seconds, console)
    results = judge(folder, world_size, over)
    if not over:
        line = f"it has not ended: {seconds:,.0f} s have passed since its start, or its processes are frozen"
        results.append(Result("job", "fail", line, "cancel it (scancel), after a look at its log"))
    return print_results(results, console, f"Preflight of {world_size} ranks")


def _followed(folder: Path, world_size: int, alive: Callable[[], bool], seconds: float, console: Console) -> bool:
    """Whether the job has ended, rather than the patience."""
    end, polled, gone, last = float("inf"), float("-inf"), float("inf"), ""
    with console.status("…") as status:
        while True:
            records = read_records(folder, world_size)
            started = [record for record in records if record is not None]
            if (line := _progress(started, world_size)) != last:
                status.update(line)
                if not console.is_terminal:
                    console.print(line, highlight=False, markup=False)
                last = line
            now = time.monotonic()
            if started:
                end = min(end, now + seconds)
            if len(started) == world_size and all(record.ended for record in started):
                return True
            if now > gone + LATE_SECONDS:
                return True
            if now > end or (len(started) == world_size and all(record.settled(time.time()) for record in started)):
                return not alive()
            if gone == float("inf") and now > polled + ASK_SECONDS:
                polled = now
                gone = gone if alive() else now
            time.sleep(POLL_SECONDS)


def _progress(started: list[ProcessRecord], world_size: int) -> str:
    """One line; who is furthest behind is whom the others wait for."""
    if not started:
        return f"none of {world_size} ranks has begun"
    ended = sum(record.ended for record in started)
    under_way = [record for record in started if not record.ended]
    if not under_way:
        return f"{ended} of {world_size} ranks have ended"
    behind = min(under_way, key=lambda record: record.position)
    step = behind.last.name if behind.last else "nothing yet"
    return f"{len(started)} of {world_size} ranks have begun, {ended} have ended; last: {named([behind])} in '{step}'"

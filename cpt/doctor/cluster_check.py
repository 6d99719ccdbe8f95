"""`cpt doctor hardware=…`: a short job on the cluster finds out what a long one otherwise would."""

from __future__ import annotations

import time
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
        places = {"runs": Path(self.runs), "cache": Path(self.cache)}
        run_probe(process.rank, process.world_size, process.local_rank, Path(self.folder), self.seconds, places)


def preflight(overrides: list[str], console: Console) -> int:
    """Submit the short job of this hardware, wait for it, and say what is wrong. Returns the exit code."""
    from cpt.doctor.waiting import wait_and_judge

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
    places = [str(Path(place).resolve()) for place in (config.paths.runs, config.paths.cache)]
    sent = executor.submit(ProbeTask(str(folder.resolve()), STEP_SECONDS, *places))
    console.print(f"Submitted {sent.job_id}: {job.tasks} processes; records in {folder}", highlight=False)

    def alive() -> bool:
        return states([sent.job_id])[sent.job_id] != GONE

    try:
        return wait_and_judge(folder, job.tasks, alive, 60.0 * float(job.params["timeout_min"]), console)
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

"""What SLURM would be given for the 36 runs of the study, on every cluster there is a hardware file for.

The committed texts in `texts/<hardware>/<job>.sh` are for people to look at, too: a change to a hardware file or to how
jobs are made is seen in them, and meant. To renew them:

    CPT_RENEW_TEXTS=1 .venv/bin/python -m pytest tests/study/cluster/test_sbatch_texts.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpt.config import StudyConfig
from cpt.study.cluster.submission import sbatch_texts
from cpt.study.compose.command_line import command
from cpt.study.execute.run_worker import execute_folder
from cpt.study.launch.run_set import base_runs
from cpt.study.plan.stage_jobs import job_plan
from cpt.study.state.run import Run

ROOT = Path(__file__).resolve().parents[3]
TEXTS = Path(__file__).with_name("texts")
RENEW = "CPT_RENEW_TEXTS" in os.environ
CLUSTERS = sorted(
    path.stem for path in (ROOT / "conf" / "hardware").glob("*.yaml") if not path.stem.startswith("local")
)

Launched = Callable[..., tuple[list[StudyConfig], dict[str, Any]]]


@pytest.fixture(scope="module")
def composed() -> Launched:
    """The configurations of a launch and the launcher's keys."""

    def of(*arguments: str) -> tuple[list[StudyConfig], dict[str, Any]]:
        found: list[tuple[list[StudyConfig], dict[str, Any]]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "cpt.study.launch.launch_study.launch_study",
                lambda configs, executor: found.append((configs, executor.launcher)),
            )
            patch.setattr(sys, "argv", [str(ROOT / "launch.py"), *arguments])
            patch.syspath_prepend(str(ROOT))
            command(execute_folder)
        return found[0]

    return of


@pytest.fixture(scope="module")
def paper(composed: Launched) -> tuple[list[Run], list[Run]]:
    """The study's 36 runs and its 3 base models."""
    configs, _ = composed("sweeps=paper36", "hardware=slurm", "dry_run=true")
    runs = [Run(config) for config in configs]
    assert len(runs) == 36
    return runs, base_runs(runs)


@pytest.mark.parametrize("hardware", CLUSTERS)
def test_the_job_scripts_are_the_committed_ones(
    hardware: str, composed: Launched, paper: tuple[list[Run], list[Run]]
) -> None:
    """One of the study's runs is composed for each hardware; the others have the same hardware, as any launch's."""
    [config], launcher = composed(
        f"hardware={hardware}", "hardware.account=project_465000000", "scale=paper", "paths.runs=/scratch/runs"
    )
    runs, bases = (
        [replace(run, config=replace(run.config, hardware=config.hardware)) for run in half] for half in paper
    )
    jobs = job_plan(launcher, [*bases, *runs], runs, [*bases, *runs])
    texts = sbatch_texts(jobs, launcher, Path("/scratch/runs/paper/.jobs/code"))
    found = {f"{name}.sh": text.replace(sys.executable, "python") + "\n" for name, text in texts.items()}
    folder = TEXTS / hardware
    if RENEW:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.sh"):
            path.unlink()
        for name, text in found.items():
            (folder / name).write_text(text, encoding="utf-8")
    assert found == {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.sh")}


def test_no_text_is_of_a_hardware_that_is_gone() -> None:
    assert sorted(path.name for path in TEXTS.iterdir()) == CLUSTERS

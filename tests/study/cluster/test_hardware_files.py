"""Every hardware file composes to something that fits together, gives its reasons, and yields to who says otherwise."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpt.config import StudyConfig
from cpt.study.compose.command_line import command
from cpt.study.execute.run_worker import execute_folder
from cpt.study.plan.stage_jobs import COMPARE, DOCTOR, params_of, processes_of_job
from cpt.study.state.run_files import EVALUATE, PREPARE, TRAIN

ROOT = Path(__file__).resolve().parents[3]
FILES = {path.stem: path for path in sorted((ROOT / "conf" / "hardware").glob("*.yaml"))}
HERE = ("local", "local_jobs", "slurm_test")
"""Hardware of one machine, where the study stays the toy one."""
ACCOUNT = "hardware.account=project_465000000"

Composed = Callable[..., tuple[StudyConfig, dict[str, Any]]]


KEPT: dict[tuple[str, ...], tuple[StudyConfig, dict[str, Any]]] = {}


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Composed:
    """What `launch.py` composes: the first run's configuration, and what the launcher was given."""

    def of(*arguments: str) -> tuple[StudyConfig, dict[str, Any]]:
        def keep(configs: list[StudyConfig], executor: Any) -> None:
            KEPT[arguments] = (configs[0], getattr(executor, "launcher", {}))

        if arguments not in KEPT:
            monkeypatch.setattr("cpt.study.launch.launch_study.launch_study", keep)
            monkeypatch.setattr(sys, "argv", [str(ROOT / "launch.py"), *arguments])
            monkeypatch.syspath_prepend(str(ROOT))
            command(execute_folder)
        return KEPT[arguments]

    return of


@pytest.mark.parametrize("name", FILES)
def test_a_hardware_file_fits_together(name: str, composed: Composed) -> None:
    config, launcher = composed(f"hardware={name}", ACCOUNT)
    hardware = config.hardware
    assert hardware.name == name
    assert config.scale == ("toy" if name in HERE else "paper")
    assert bool(launcher) == (name != "local"), "jobs on a cluster, processes here"
    training = processes_of_job(launcher, hardware, TRAIN, "")
    if launcher:
        assert config.train.global_batch % (hardware.micro_batch * training) == 0
        assert processes_of_job(launcher, hardware, EVALUATE, "") <= training
    assert set(hardware.jobs) <= {PREPARE, TRAIN, EVALUATE, COMPARE, DOCTOR}
    for stage in hardware.jobs:
        asked = params_of(launcher, hardware, stage)
        assert set(asked) <= set(launcher), "keys that hydra.launcher has"
        assert not hardware.partitions or asked["partition"] in hardware.partitions, (
            "a partition whose limits are known"
        )
        assert any(argument.startswith("--kill-on-bad-exit") for argument in asked["srun_args"]), "in every stage"
        assert asked["timeout_min"] * 60 > asked["signal_delay_s"] + 60, "time for more than being told to stop"
        told = " ".join(asked["setup"] or [])
        assert not re.search(r"TOKEN|API_KEY|SECRET|PASSWORD", told), "keys come with the environment of who submits"
        assert "account" not in hardware.jobs[stage], "one project pays for all of a study"


@pytest.mark.parametrize("name", FILES)
def test_a_hardware_file_gives_its_reasons(name: str) -> None:
    """A comment on the line of a setting or above it; settings of a shell likewise, in the job script."""
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# "), "what machine this is"
    explained = section = ""
    bare = []
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            explained = line.strip()
            continue
        depth, text = len(line) - len(line.lstrip()), line.strip()
        section = text if depth == 0 else section
        setting = re.fullmatch(r"(?:- )?(\w+):.*|(?:- )?(export) .*", text)
        top = (depth, section) in ((2, "hardware:"), (4, "hydra:")) or "export " in text
        says_itself = setting and setting[1] in ("name", "account", "required", "jobs", "setup", "srun_args")
        if setting and top and not says_itself and "#" not in text and not explained:
            bare.append(text)
        explained = explained if "export " in text else ""  # one reason may be that of several lines of a script
    assert not bare


def test_a_missing_account_is_told_before_any_work(mistake: Callable[..., str]) -> None:
    told = mistake("hardware=lumi_dev")
    assert told.startswith("hardware.account=null: the project")
    assert ACCOUNT in told


def test_the_command_line_wins(composed: Composed) -> None:
    config, launcher = composed(
        "hardware=lumi", ACCOUNT, "scale=toy", "hydra.launcher.timeout_min=600", "hardware.container=/i.sif"
    )
    assert (config.scale, config.model.path, config.hardware.name) == ("toy", "toy:l3", "lumi")
    assert (launcher["timeout_min"], launcher["partition"]) == (600, "standard-g")
    assert launcher["account"] == "project_465000000"
    assert launcher["python"].startswith("singularity exec -B /projappl/project_465000000/"), "follows from the account"
    assert launcher["python"].endswith(":/user-software:image-src=/ /i.sif python")


def test_a_site_has_its_own_default(composed: Composed, tmp_path: Path) -> None:
    """As conf/local/default.yaml, here in a folder beside `conf/` that Hydra is told of."""
    (tmp_path / "local").mkdir()
    default = (
        "# @package _global_\ndefaults:\n  - override /hardware: lumi\n\nhardware:\n  account: project_465000000\n"
    )
    (tmp_path / "local" / "default.yaml").write_text(default, encoding="utf-8")
    beside = ("--config-dir", str(tmp_path))
    config, launcher = composed(*beside)
    assert (config.hardware.name, config.scale, config.hardware.account) == ("lumi", "paper", "project_465000000")
    assert (launcher["partition"], launcher["account"]) == ("standard-g", "project_465000000")
    config, launcher = composed(*beside, "hardware=local")
    assert (config.hardware.name, config.scale, launcher) == ("local", "toy", {})
    config, launcher = composed(*beside, "scale=toy", "hydra.launcher.partition=dev-g")
    assert (config.hardware.name, config.scale, launcher["partition"]) == ("lumi", "toy", "dev-g")
    assert (
        not (ROOT / "conf" / "local" / "default.yaml").exists() or "/conf/local/" in (ROOT / ".gitignore").read_text()
    )


def test_lumis_masks_are_the_cores_beside_each_die(composed: Composed) -> None:
    """First core of the seven beside each die, in the order of dies; the first of every eight is the system's."""
    first = [49, 57, 17, 25, 1, 9, 33, 41]
    for name in ("lumi", "lumi_dev"):
        _, launcher = composed(f"hardware={name}", ACCOUNT)
        [masks] = [text for text in launcher["srun_args"] if text.startswith("--cpu-bind=mask_cpu:")]
        found = [int(mask, 16) for mask in masks.partition(":")[2].split(",")]
        assert found == [sum(1 << core for core in range(start, start + 7)) for start in first]
        assert len(found) == launcher["tasks_per_node"] == launcher["gpus_per_node"]
        assert all(mask.bit_count() == launcher["cpus_per_task"] for mask in found)
    _, launcher = composed("hardware=lumi_small", ACCOUNT)
    assert launcher["srun_args"] == ["--kill-on-bad-exit=1"], "a part of a node has other cores each time"


def test_where_there_is_slurm_and_nothing_was_chosen_one_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    site = tmp_path / "site" / "local" / "default.yaml"
    site.parent.mkdir(parents=True)
    site.write_text("# @package _global_\nseed: 7\n", encoding="utf-8")
    notices: list[str] = []
    monkeypatch.setattr(
        "cpt.study.launch.launch_study.launch_study", lambda configs, executor: notices.append(executor.notice)
    )
    monkeypatch.syspath_prepend(str(ROOT))
    for path, arguments in (
        (f"{sbatch.parent}:/usr/bin:/bin", []),
        (f"{sbatch.parent}:/usr/bin:/bin", ["hardware=local"]),
        (f"{sbatch.parent}:/usr/bin:/bin", ["--config-dir", str(site.parents[1])]),
        (str(site.parent), []),  # no sbatch there
    ):
        monkeypatch.setenv("PATH", path)
        monkeypatch.setattr(sys, "argv", [str(ROOT / "launch.py"), *arguments])
        command(execute_folder)
    assert "hardware=slurm" in notices[0]
    assert notices[1:] == ["", "", ""]

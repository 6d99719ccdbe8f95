"""The sweeper of a study: composes all points and gives them to the launcher together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from cpt.errors import UserError
from cpt.study.cluster.queue import slurm_present
from cpt.study.compose.compose_points import compose_study
from cpt.study.launch import evaluate_models as evaluating
from cpt.study.launch import launch_study as launch


@dataclass
class StudySweeperConf(BasicSweeperConf):
    _target_: str = "hydra_plugins.cpt_study.sweeper.StudySweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="cpt")


class StudySweeper(BasicSweeper):
    """Hydra's basic sweeper with another way to launch the points."""

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader = self.hydra_context.config_loader
        given = [*self._parse_config(), *arguments]  # a sweep file's axes first, so the command line wins
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(given)
        [points] = self.split_arguments(overrides, None)
        if not hasattr(self.launcher, "executor"):
            raise UserError("hydra/launcher: a study needs its own launcher; hardware=local chooses one")
        configs = compose_study(loader, self.config, points)
        executor = self.launcher.executor()
        if no_hardware_chosen(self.config, arguments):
            executor.notice = RUNS_HERE
        launch_configs = launch.launch_study
        if self.config.hydra.job.config_name == EVALUATE:
            launch_configs = evaluating.evaluate_models
        return launch_configs(configs, executor)


EVALUATE = "evaluate"
"""The primary configuration of evaluate.py."""
RUNS_HERE = (
    "This machine can submit to SLURM, but no hardware was chosen, so the study runs on this machine. "
    "hardware=slurm (or lumi, …) submits it; conf/local/default.yaml can set that (docs/clusters.md)."
)


def no_hardware_chosen(config: DictConfig, arguments: list[str]) -> bool:
    """Whether a study would run on a cluster's login node only because no hardware was chosen."""
    if config.hydra.runtime.choices.get("hardware") != "local" or not slurm_present():
        return False
    if any(argument.startswith("hardware=") for argument in arguments):
        return False
    # Hydra lists the choice of an optional group even if its file does not exist.
    folders = [Path(source.path) for source in config.hydra.runtime.config_sources if source.schema == "file"]
    return not any((folder / "local" / "default.yaml").exists() for folder in folders)

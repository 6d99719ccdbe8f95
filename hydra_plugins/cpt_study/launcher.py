"""Our launcher for one machine: hands a composed study to cpt/study/local.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study import evaluating, launch
from cpt.study.local import LocalExecutor


@dataclass
class LocalLauncherConf:
    _target_: str = "hydra_plugins.cpt_study.launcher.LocalLauncher"


@dataclass
class EvaluateLauncherConf:
    _target_: str = "hydra_plugins.cpt_study.launcher.EvaluateLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="cpt")
ConfigStore.instance().store(group="hydra/launcher", name="evaluate", node=EvaluateLauncherConf, provider="cpt")


class LocalLauncher(Launcher):
    """Runs of a study in warm processes of this machine."""

    task_function: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task_function = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise UserError("hydra/sweeper: studies are launched whole, by hydra/sweeper=study, which is the default")

    def launch_study(self, configs: list[StudyConfig]) -> Any:
        return launch.launch_study(configs, LocalExecutor(self.task_function))


class EvaluateLauncher(LocalLauncher):
    """Evaluates the models of a study as they are, on this machine."""

    def launch_study(self, configs: list[StudyConfig]) -> Any:
        return evaluating.evaluate_models(configs, LocalExecutor(self.task_function))

"""The launchers of a study: on this machine or as jobs of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import DictConfig

from cpt.errors import UserError
from cpt.study.cluster.executor import ClusterExecutor
from cpt.study.execute.local import LocalExecutor
from cpt.study.launch.launch_study import Executor


@dataclass
class LocalLauncherConf:
    _target_: str = "hydra_plugins.cpt_study.launcher.LocalLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="cpt")


class LocalLauncher(Launcher):
    """Runs a study in processes of this machine."""

    task_function: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task_function = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise _needs_sweeper()

    def executor(self) -> Executor:
        return LocalExecutor(self.task_function)


class ClusterLauncher(SlurmLauncher):  # type: ignore[misc]  # the plugin has no types
    """Runs the stages of a study as jobs of a cluster; has the keys of hydra-submitit-launcher and three of our own."""

    params: dict[str, Any]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise _needs_sweeper()

    def executor(self) -> Executor:
        return ClusterExecutor(self.params)


def _needs_sweeper() -> UserError:
    return UserError("hydra/sweeper: studies need hydra/sweeper=study, which is the default")

"""Parameters of a cluster's job: the keys of hydra-submitit-launcher and three more."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf


@dataclass
class ClusterLauncherConf(SlurmQueueConf):  # type: ignore[misc]  # the plugin has no types
    """`hydra.launcher` on a cluster. A hardware file sets it for training jobs; `hardware.jobs` has the differences of
    other stages."""

    _target_: str = "hydra_plugins.cpt_study.launcher.ClusterLauncher"
    submitit_folder: str = "${paths.runs}/${study}/.submitit/%j"
    name: str = "${study}"
    signal_delay_s: int = 120
    """Seconds before the time limit at which a training saves and is requeued."""
    max_num_timeout: int = 20
    """How often at most; with the 0 of hydra-submitit-launcher, a training that needs more time would be lost."""
    srun_args: list[str] | None = field(default_factory=lambda: ["--kill-on-bad-exit=1"])
    """Arguments of the srun that starts a job's processes. If one of them dies the others are ended, because they
    would wait for it in a collective until the time limit."""
    python: str | None = None
    """The command that starts Python in a job, such as in a container; None means the submitting Python."""
    cluster: str = "slurm"
    """slurm, or local: the same jobs as processes of this machine, by submitit's local executor."""


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=ClusterLauncherConf, provider="cpt")

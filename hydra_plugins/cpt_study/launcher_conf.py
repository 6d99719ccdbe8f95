"""What a job on a cluster asks for: the keys of hydra-submitit-launcher, and a few more."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf


@dataclass
class ClusterLauncherConf(SlurmQueueConf):  # type: ignore[misc]  # the plugin has no types
    """`hydra.launcher` where jobs go into a queue; a hardware file says what a training asks for, stage by stage what
    is different in `hardware.jobs`."""

    _target_: str = "hydra_plugins.cpt_study.launcher.ClusterLauncher"
    submitit_folder: str = "${paths.runs}/${study}/.submitit/%j"
    name: str = "${study}"
    signal_delay_s: int = 120
    """Seconds before its time limit at which a training saves and goes back into the queue."""
    max_num_timeout: int = 20
    """At most so many times; with hydra-submitit-launcher's 0, a training that needs more time is lost."""
    srun_args: list[str] | None = field(default_factory=lambda: ["--kill-on-bad-exit=1"])
    """Of the srun that starts a job's processes. When one of them dies the others wait for it in a collective, charged
    for until the time limit; so they are ended with it."""
    python: str | None = None
    """The command that starts Python in a job, such as a container's; none means the Python that submits."""
    cluster: str = "slurm"
    """slurm, or local: the same jobs as processes of this machine, by submitit's own executor."""


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=ClusterLauncherConf, provider="cpt")

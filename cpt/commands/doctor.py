"""`cpt doctor` on this machine: everything is looked at the same time, and told in one order."""

from __future__ import annotations

from pathlib import Path

from cpt.doctor import accelerators, access, packages, system
from cpt.doctor.disk_speed import disk_findings
from cpt.doctor.findings import Finding, examined, print_findings
from cpt.study.cluster.queue import slurm_present

__all__ = ["local_findings", "print_findings"]

ROOT = Path(__file__).resolve().parents[2]


def local_findings(runs: Path, cache: Path) -> list[Finding]:
    """Whether this machine is fit for a study with these folders."""
    cluster = slurm_present()
    return examined(
        {
            "packages": lambda: packages.here(ROOT),
            "GPUs": lambda: accelerators.gpu_findings(accelerators.this_machine(), accelerators.ask_torch()),
            "cores": system.processor_findings,
            "runs": lambda: disk_findings("runs", runs, cluster),
            "cache": lambda: disk_findings("cache", cache, cluster),
            **access.EXAMINATIONS,
            "SLURM": system.slurm_findings,
            "limits": system.limit_findings,
            "text": system.text_findings,
            "time": system.time_findings,
        },
        accelerators.TORCH_SECONDS + 10,
    )

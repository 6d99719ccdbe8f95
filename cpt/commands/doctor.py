"""`cpt doctor` on this machine: everything is looked at the same time, and told in one order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cpt.commands.arguments import DEFAULT_CACHE, Cache, runs_of
from cpt.console import make_console
from cpt.doctor import accelerators, access, packages, system
from cpt.doctor.disk_speed import disk_findings
from cpt.doctor.findings import Finding, examined, print_findings
from cpt.study.cluster.queue import slurm_present

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


def command(
    ctx: typer.Context,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE ...]", help="As launch.py takes them, hardware=NAME first; none: this machine."
        ),
    ] = None,
    cache: Cache = DEFAULT_CACHE,
) -> int:
    """Whether this machine, or a cluster's nodes, are fit for a study."""
    if overrides:
        from cpt.doctor.cluster_check import preflight

        return preflight([*overrides, f"paths.runs={runs_of(ctx)}"], make_console())
    return print_findings(local_findings(runs_of(ctx), cache), make_console())

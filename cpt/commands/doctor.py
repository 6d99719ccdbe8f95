"""`cpt doctor`: runs all checks of this machine at the same time and prints them in a fixed order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cpt.commands.arguments import DEFAULT_CACHE, Cache, runs_of
from cpt.console import make_console
from cpt.doctor import gpus, packages, system
from cpt.doctor.check_result import Result, print_results, run_checks
from cpt.doctor.disk import check_disk
from cpt.study.cluster.queue import slurm_present

ROOT = Path(__file__).resolve().parents[2]


def check_local(runs: Path, cache: Path) -> list[Result]:
    """Check whether this machine can run a study with these folders."""
    cluster = slurm_present()
    return run_checks(
        {
            "packages": lambda: packages.here(ROOT),
            "GPUs": lambda: gpus.check_gpu(gpus.this_machine(), gpus.ask_torch()),
            "cores": system.check_processor,
            "runs": lambda: check_disk("runs", runs, cluster),
            "cache": lambda: check_disk("cache", cache, cluster),
            **system.NETWORK_CHECKS,
            "SLURM": system.check_slurm,
            "limits": system.check_limit,
            "text": system.check_text,
            "time": system.check_time,
        },
        gpus.TORCH_SECONDS + 10,
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
    return print_results(check_local(runs_of(ctx), cache), make_console())

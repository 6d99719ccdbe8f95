"""Arguments shared by several verbs, and the folders of named studies and runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from cpt.errors import UserError, nearest

PUBLISHED = "published"
"""Name of the study of the published numbers, and the flag that selects it."""


def runs_of(ctx: typer.Context) -> Path:
    """The folder of the studies: `cpt --runs`."""
    runs: Path = ctx.find_root().params.get("runs") or Path("runs")
    return runs


def studies(runs: Path) -> list[str]:
    """Names of all launched studies."""
    return sorted({path.parent.name for mark in (".lock", ".jobs") for path in runs.glob(f"*/{mark}")})


def find_study(runs: Path, name: str | None) -> Path:
    """The folder of the named study, or of the only one there is."""
    known = studies(runs)
    if name == PUBLISHED and name not in known:
        raise UserError(f"the {PUBLISHED} numbers are not a launched study: use --{PUBLISHED} of report, best or table")
    if not known:
        raise UserError(f"{runs}: no study there; launch one, or name the folder with --runs")
    if name is None and len(known) == 1:
        name = known[0]
    if name is None:
        raise UserError(f"{runs} has several studies, name one: {', '.join(known)}")
    if name not in known:
        raise UserError(f"no study '{name}' in {runs}; known: {', '.join(known)}{nearest(name, known)}")
    return runs / name


def study_and_runs(runs: Path, names: list[str] | None) -> tuple[Path, list[str]]:
    """The first name is the study's, unless there is only one study and it has another name."""
    names, known = names or [], studies(runs)
    if names and len(known) == 1 and names[0] not in known:
        return find_study(runs, None), names
    return find_study(runs, names[0] if names else None), names[1:]


def complete_study(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return [name for name in studies(runs_of(ctx)) if name.startswith(incomplete)]


def complete_name(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Studies, then runs of the study that was named or is the only one."""
    runs, known = runs_of(ctx), studies(runs_of(ctx))
    study = next((name for name in ctx.params.get("names") or [] if name in known), known[0] if len(known) == 1 else "")
    folders = sorted(path.parent.name for path in (runs / study).glob("*/config.yaml")) if study else []
    return [name for name in (*known, *folders) if name.startswith(incomplete)]


def complete_run(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs and base models of all studies, as study/run."""
    names = sorted(str(path.parent.relative_to(runs_of(ctx))) for path in runs_of(ctx).glob("*/*/config.yaml"))
    return [name for name in names if name.startswith(incomplete)]


StudyName = Annotated[
    str | None,
    typer.Argument(help="Name of the study; not needed where there is only one.", autocompletion=complete_study),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY] [RUN ...]",
        help="The study, then names or ids of runs; without a run, all of them.",
        autocompletion=complete_name,
    ),
]
RunName = Annotated[
    str, typer.Argument(help="Folder, id or name of a run, or study/name.", autocompletion=complete_run)
]
Cache = Annotated[Path, typer.Option(metavar="DIR", help="Folder of prepared data.")]
DEFAULT_CACHE = Path(".cache/cpt")

"""`cpt report`: rebuilds a study's comparison and report from its rows."""

from __future__ import annotations

from typing import Annotated

import typer

from cpt.commands.arguments import StudyName, find_study, runs_of
from cpt.console import make_console
from cpt.errors import UserError


def command(
    ctx: typer.Context,
    study: StudyName = None,
    published: Annotated[bool, typer.Option("--published", help="Of the study's published numbers.")] = False,
) -> int:
    """Rebuild the comparison and the report from what is on disk."""
    if published:
        from cpt.results.output.published_study import report_published

        if study:
            raise UserError(f"report --published: it is a study of its own; leave the name '{study}' out")
        report_published(runs_of(ctx), make_console())
        return 0
    from cpt.study.compare.conclude import conclude

    return int(bool(conclude(find_study(runs_of(ctx), study), make_console())))

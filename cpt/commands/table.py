"""`cpt table`: all rows of one or several studies, or the published numbers, on the terminal or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.text import Text

from cpt.commands.arguments import complete_study, find_study, runs_of
from cpt.console import make_console
from cpt.errors import UserError
from cpt.results.output.export import checked, export
from cpt.results.output.published_study import published_rows, sound_rows
from cpt.results.output.terminal import print_plain, print_table, print_words
from cpt.results.output.views import LANGUAGES, MEANS, ROWS, banners, narrowed, shown
from cpt.results.rows import schema
from cpt.results.rows.banners import PUBLISHED
from cpt.results.rows.table import read_tables


def show_tables(
    studies: Sequence[Path],
    published: bool,
    wanted: dict[str, str | None],
    kind: str,
    to: Path | None,
    console: Console,
) -> int:
    """Write the requested table to a file or print it; instead of rows, which are too many to print, their means."""
    if to is not None:
        checked(to)
    table = narrowed(_all_rows(studies, published), wanted)
    if to is not None:
        export(table, kind, to)
        console.print(f"{len(table):,} rows{'' if kind == ROWS else f', their {kind}'}: {to}", soft_wrap=True)
        for banner in banners(table):
            print_plain(console, banner)
    elif kind == LANGUAGES:
        _print_languages(table, console)
    else:
        for study, rows in table.groupby("study", sort=False):
            sound = sound_rows(rows) if schema.ODD.name in rows else rows
            print_table(str(study), sound, console, str(rows["scale"].iloc[0]))
    return 0


def _all_rows(studies: Sequence[Path], published: bool) -> pd.DataFrame:
    table = read_tables(studies)
    for study in studies:
        if study.name not in set(table["study"]):
            raise UserError(f"{study}: no finished run, so no rows")
    if not published:
        return table
    if PUBLISHED in set(table["study"]):
        raise UserError(f"a study is called {PUBLISHED}, the name of the published numbers; rename it")
    both = pd.concat([table, published_rows()], ignore_index=True)
    return both.assign(**{schema.ODD.name: both[schema.ODD.name].fillna("")})


def _print_languages(table: pd.DataFrame, console: Console) -> None:
    for banner in banners(table):
        console.print(Text(banner, style="bold"), soft_wrap=True)
    for words in shown(table, LANGUAGES):
        if not console.is_terminal:  # which draws the title itself
            print_plain(console, words.title)
        lines = [[cell.text for cell in line] for line in words.lines]
        print_words(console, words.title, [head.text for head in words.heads], lines)
        print_plain(console, "; ".join(words.notes))


def command(
    ctx: typer.Context,
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY ...]", help="Names; not needed where there is only one.", autocompletion=complete_study
        ),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="The published numbers, also beside others.")] = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .csv, .parquet, .tex or .md; none: print the means.")
    ] = None,
    means: Annotated[bool, typer.Option("--means", help="A line a run, with its means over languages.")] = False,
    languages: Annotated[bool, typer.Option("--languages", help="A line a run, a column a language.")] = False,
    task: Annotated[str | None, typer.Option(help="Only rows of this task.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only rows of this metric.")] = None,
    direction: Annotated[str | None, typer.Option(help="Only rows of this direction.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only rows of this protocol.")] = None,
    role: Annotated[str | None, typer.Option(help="Only rows of this role.")] = None,
) -> int:
    """All rows of studies, on the terminal or as a file for elsewhere."""
    if means and languages:
        raise UserError("table: --means and --languages exclude each other; choose one")
    names: list[str | None] = [*dict.fromkeys(studies or [])] or ([] if published else [None])
    wanted = {"task": task, "metric": metric, "direction": direction, "protocol": protocol, "role": role}
    kind = LANGUAGES if languages else MEANS if means else ROWS
    folders = [find_study(runs_of(ctx), name) for name in names]
    return show_tables(folders, published, wanted, kind, to, make_console())

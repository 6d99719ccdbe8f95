"""The console script `cpt`: look at studies and their data, stop and publish them. `launch.py` launches.

A verb is `command` in the file of its name in cpt/commands/, imported only when it is called: `cpt --help` is quick.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cpt.errors import UserError
from cpt.growing_folder import FULL

VERBS = {
    "Watch a study": {
        "status": "State of every run of a study.",
        "logs": "Last lines of the logs of runs.",
        "cancel": "Stop a study, or some of its runs.",
    },
    "Look at results": {
        "report": "Rebuild the comparison and the report from what is on disk.",
        "table": "All rows of studies, on the terminal or as a file.",
        "items": "Questions of a benchmark with the answers of a run or base model.",
        "dashboard": "Curves and scores that were copied to trackio, as pages for this machine alone.",
    },
    "Decide": {
        "best": "Which run to use for some languages, and how sure that is.",
        "compare": "Two evaluated runs or base models over the same items.",
    },
    "Publish": {
        "push": "Upload finished models to a Hugging Face hub.",
        "sync": "Send curves and scores to W&B or trackio, from what is on disk.",
    },
    "Maintain": {
        "data": "List, show, verify or remove prepared data.",
        "doctor": "Whether this machine, or a cluster's nodes, are fit for a study.",
    },
}


class LazyGroup(TyperGroup):
    """Verbs that are imported when they are called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and verb(str(name)), rest


def verb(name: str) -> Any:
    """The command of a verb, with its arguments."""
    command = import_module(f"cpt.commands.{name}").command
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__))
    app = typer.Typer(add_completion=False)
    app.command(name, help=text)(command)
    return typer.main.get_command(app)


def cpt(runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the studies.")] = Path("runs")) -> None:
    """Look at studies of continual pretraining."""


def application() -> Any:
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True)
    app.callback()(cpt)
    for panel, verbs in VERBS.items():
        for name, summary in verbs.items():
            app.command(name, help=summary, rich_help_panel=panel)(lambda: None)
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> None:
    """Parse and carry out one command; a foreseeable mistake is one line and exit code 2."""
    try:
        sys.exit(application().main(arguments, prog_name="cpt", standalone_mode=False))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except typer.TyperException as error:  # a mistake in the arguments
        print(_usage_mistake(error), file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if (message := _location(error)) is None:
            raise
        print(f"{message}; when that is set right, the same command resumes", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _usage_mistake(error: Any) -> str:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "cpt"
    return f"{path}: {error.format_message().rstrip('.')}; `{path} --help` shows its arguments"


def _location(error: OSError) -> str | None:
    """The file of a full disk, or a folder that cannot be written. Other errors name no file, as of a connection."""
    if error.errno in FULL:
        return f"no room left to write {error.filename or 'there'} ({error.strerror})"
    if error.filename is None:
        return None
    path = Path(error.filename)
    return f"{path.parent if path.suffix == '.part' else path}: {error.strerror}"  # a part of a file is gone again

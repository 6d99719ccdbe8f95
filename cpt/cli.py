"""The console script `cpt`: look at studies and their data, stop and publish them. Launching is `launch.py`'s."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpt.errors import UserError, nearest
from cpt.study.console import people_console

Commands = Any
"""What argparse adds commands to, of a type that it keeps to itself."""


def main(arguments: list[str] | None = None) -> None:
    """Parse and carry out one command; a foreseeable mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cpt", description="Look at studies of continual pretraining.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the studies (default: runs)")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_status, _logs, _cancel, _doctor, _report, _compare, _items, _data, _push):
        add(commands)
    chosen = parser.parse_args(arguments)
    carry_out: Callable[[argparse.Namespace], int] = chosen.carry_out
    try:
        sys.exit(carry_out(chosen))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _status(commands: Commands) -> None:
    command = commands.add_parser("status", help="the state of every run of a study")
    _study(command)
    command.add_argument("--watch", action="store_true", help="go on showing it until nothing changes any more")
    command.set_defaults(carry_out=show_status)


def _logs(commands: Commands) -> None:
    usage = "cpt logs [study] [run ... | prepare | compare] [--lines N] [--follow]"
    command = commands.add_parser("logs", help="the last lines of what runs said", usage=usage)
    command.add_argument("names", nargs="*", metavar="name", help="the study, then runs; none: those that failed")
    command.add_argument("--lines", type=_count, default=20, metavar="N", help="how many of each (default: 20)")
    command.add_argument("--follow", action="store_true", help="go on with what one run says until it ends")
    command.set_defaults(carry_out=show_logs)


def _cancel(commands: Commands) -> None:
    usage = "cpt cancel [study] [run ...] [--yes]"
    command = commands.add_parser("cancel", help="stop a study, or some of its runs", usage=usage)
    command.add_argument("names", nargs="*", metavar="name", help="the study, then runs; none: all of it")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.set_defaults(carry_out=cancel_jobs)


def _doctor(commands: Commands) -> None:
    usage = "cpt doctor [hardware=NAME [key=value ...]] [--cache DIR]"
    about = "whether this machine, or a cluster's nodes, are fit for a study"
    command = commands.add_parser("doctor", help=about, usage=usage)
    command.add_argument("overrides", nargs="*", metavar="key=value", help="as launch.py has them; none: this machine")
    command.add_argument("--cache", type=Path, default=Path(".cache/cpt"), help="of data (default: .cache/cpt)")
    command.set_defaults(carry_out=examine)


def _report(commands: Commands) -> None:
    command = commands.add_parser("report", help="rebuild comparison and report from what is on disk")
    _study(command)
    command.add_argument("--published", action="store_true", help="of the study's published numbers, as a study")
    command.set_defaults(carry_out=rebuild_report)


def _compare(commands: Commands) -> None:
    command = commands.add_parser("compare", help="two evaluated runs or base models over the same items")
    for name in ("run", "other"):
        command.add_argument(name, help="folder, id or name of a run, or study/name")
    command.add_argument("--task", help="only this benchmark")
    command.add_argument("--language", help="only this language")
    command.add_argument("--csv", type=Path, metavar="FILE", help="also write the differences there")
    command.set_defaults(carry_out=compare_two)


def _items(commands: Commands) -> None:
    command = commands.add_parser("items", help="what a run or base model was asked, and its answers")
    command.add_argument("run", help="folder, id or name of a run, or study/name")
    command.add_argument("--task", required=True, help="a benchmark")
    command.add_argument("--language", required=True, help="a language")
    command.add_argument("--direction", choices=("en-x", "x-en"), help="of a translation; none: both")
    command.add_argument("--protocol", help="how it was asked; none: all")
    command.add_argument("--n", type=int, default=5, help="how many (default: 5)")
    command.set_defaults(carry_out=show_answers)


def _data(commands: Commands) -> None:
    command = commands.add_parser("data", help="list, show, verify or remove prepared data")
    command.add_argument("action", nargs="?", choices=("list", "show", "verify", "remove"), default="list")
    command.add_argument("keys", nargs="*", metavar="key", help="keys or sources; none: all")
    command.add_argument("--cache", type=Path, default=Path(".cache/cpt"), help="its folder (default: .cache/cpt)")
    command.add_argument("--force", action="store_true", help="remove also what a run is still to be trained on")
    command.set_defaults(carry_out=manage_data)


def _push(commands: Commands) -> None:
    usage = "cpt push [study] [run ...] --to ORG [--public] [--toy] [--dry-run]"
    command = commands.add_parser("push", help="upload finished models to a Hugging Face hub", usage=usage)
    command.add_argument("names", nargs="*", metavar="name", help="the study, then names or ids of runs; none: all")
    command.add_argument("--to", required=True, metavar="ORG", help="user or organisation of the hub")
    command.add_argument("--public", action="store_true", help="for everybody to see; else private")
    command.add_argument("--toy", action="store_true", help="also toy models, under names that begin with toy-")
    command.add_argument("--dry-run", action="store_true", help="check and say what would be sent, send nothing")
    command.set_defaults(carry_out=push_models)


def _study(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", nargs="?", help="name of the study; not needed where there is only one")


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: a number from 1 on")
    return int(text)


def studies(runs: Path) -> list[str]:
    """Names of the studies that were ever launched."""
    return sorted({path.parent.name for mark in (".lock", ".jobs") for path in runs.glob(f"*/{mark}")})


def find_study(runs: Path, name: str | None) -> Path:
    """The folder of the named study, or of the only one there is."""
    known = studies(runs)
    if not known:
        raise UserError(f"{runs}: no study there; launch one, or say where they are with --runs")
    if name is None and len(known) == 1:
        name = known[0]
    if name is None:
        raise UserError(f"{runs} has several studies, name one: {', '.join(known)}")
    if name not in known:
        raise UserError(f"no study '{name}' in {runs}; known: {', '.join(known)}{nearest(name, known)}")
    return runs / name


def study_and_runs(runs: Path, names: list[str]) -> tuple[Path, list[str]]:
    """The first name is the study's, unless there is only one study and it is none's."""
    known = studies(runs)
    if names and len(known) == 1 and names[0] not in known:
        return find_study(runs, None), names
    return find_study(runs, names[0] if names else None), names[1:]


def show_status(chosen: argparse.Namespace) -> int:
    from cpt.study.overview import show_status, watch_status

    study = find_study(chosen.runs, chosen.study)
    return (watch_status if chosen.watch else show_status)(study, people_console())


def show_logs(chosen: argparse.Namespace) -> int:
    from cpt.study.logs import show_logs

    study, runs = study_and_runs(chosen.runs, chosen.names)
    return show_logs(study, runs, chosen.lines, chosen.follow, people_console())


def cancel_jobs(chosen: argparse.Namespace) -> int:
    from cpt.study.cancel import cancel

    study, runs = study_and_runs(chosen.runs, chosen.names)
    return cancel(study, runs, people_console(), chosen.yes)


def rebuild_report(chosen: argparse.Namespace) -> int:
    from cpt.study.launch import conclude

    if chosen.published:
        return report_published(chosen.runs, chosen.study)
    return int(bool(conclude(find_study(chosen.runs, chosen.study), people_console())))


def report_published(runs: Path, named: str | None) -> int:
    """The published numbers in the folder of the studies, under a name of their own."""
    from cpt.results.published_study import print_published, write_published

    if named:
        raise UserError(f"report --published: it is a study of its own, found one named '{named}' too; leave that out")
    print_published(write_published(runs), people_console())
    return 0


def examine(chosen: argparse.Namespace) -> int:
    if chosen.overrides:
        from cpt.study.cluster.preflight import preflight

        return preflight([*chosen.overrides, f"paths.runs={chosen.runs}"], people_console())
    from cpt.study.doctor.here import local_findings, print_findings

    return print_findings(local_findings(chosen.runs, chosen.cache), people_console())


def compare_two(chosen: argparse.Namespace) -> int:
    from cpt.study.compare import compare_runs
    from cpt.study.kept import find_run

    one, other = (find_run(chosen.runs, word) for word in (chosen.run, chosen.other))
    return compare_runs(one, other, people_console(), chosen.task, chosen.language, chosen.csv)


def show_answers(chosen: argparse.Namespace) -> int:
    from cpt.study.answers import show_items
    from cpt.study.kept import find_run

    wanted = {name: getattr(chosen, name) for name in ("task", "language", "direction", "protocol")}
    return show_items(find_run(chosen.runs, chosen.run), people_console(), chosen.n, **wanted)


def manage_data(chosen: argparse.Namespace) -> int:
    from cpt.study.stored import list_data, remove_data, show_data, verify_data

    console = people_console()
    if chosen.action == "list":
        return list_data(chosen.cache, console)
    if chosen.action == "show":
        return show_data(chosen.cache, chosen.keys, console)
    if chosen.action == "verify":
        return verify_data(chosen.cache, chosen.keys, console)
    return remove_data(chosen.cache, chosen.runs, chosen.keys, chosen.force, console)


def push_models(chosen: argparse.Namespace) -> int:
    from cpt.study.push import push

    study, runs = study_and_runs(chosen.runs, chosen.names)
    options = {"public": chosen.public, "toy": chosen.toy, "dry_run": chosen.dry_run}
    return push(study, runs, chosen.to, people_console(), **options)

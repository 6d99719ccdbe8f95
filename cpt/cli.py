"""The console script `cpt`: look at studies and their data on disk, publish models. Launching is `launch.py`'s."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.table import Table

from cpt.errors import UserError, nearest
from cpt.study.console import people_console


def main(arguments: list[str] | None = None) -> None:
    """Parse and carry out one command; a foreseeable mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cpt", description="Look at studies of continual pretraining.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the studies (default: runs)")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("status", "the state of every run of a study"),
        ("report", "rebuild comparison and report from what is on disk"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("study", nargs="?", help="name of the study; not needed where there is only one")
    command.add_argument("--published", action="store_true", help="of the study's published numbers, as a study")
    command = commands.add_parser("compare", help="two evaluated runs or base models over the same items")
    for name in ("run", "other"):
        command.add_argument(name, help="folder, id or name of a run, or study/name")
    command.add_argument("--task", help="only this benchmark")
    command.add_argument("--language", help="only this language")
    command.add_argument("--csv", type=Path, metavar="FILE", help="also write the differences there")
    command = commands.add_parser("items", help="what a run or base model was asked, and its answers")
    command.add_argument("run", help="folder, id or name of a run, or study/name")
    command.add_argument("--task", required=True, help="a benchmark")
    command.add_argument("--language", required=True, help="a language")
    command.add_argument("--direction", choices=("en-x", "x-en"), help="of a translation; none: both")
    command.add_argument("--protocol", help="how it was asked; none: all")
    command.add_argument("--n", type=int, default=5, help="how many (default: 5)")
    usage = "cpt push [study] [run ...] --to ORG [--public] [--toy] [--dry-run]"
    command = commands.add_parser("data", help="list, show, verify or remove prepared data")
    command.add_argument("action", nargs="?", choices=("list", "show", "verify", "remove"), default="list")
    command.add_argument("keys", nargs="*", metavar="key", help="keys or sources; none: all")
    command.add_argument("--cache", type=Path, default=Path(".cache/cpt"), help="its folder (default: .cache/cpt)")
    command.add_argument("--force", action="store_true", help="remove also what a run is still to be trained on")
    command = commands.add_parser("push", help="upload finished models to a Hugging Face hub", usage=usage)
    command.add_argument("names", nargs="*", metavar="name", help="the study, then names or ids of runs; none: all")
    command.add_argument("--to", required=True, metavar="ORG", help="user or organisation of the hub")
    command.add_argument("--public", action="store_true", help="for everybody to see; else private")
    command.add_argument("--toy", action="store_true", help="also toy models, under names that begin with toy-")
    command.add_argument("--dry-run", action="store_true", help="check and say what would be sent, send nothing")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "push":
            sys.exit(push_models(chosen))
        if chosen.command == "data":
            sys.exit(manage_data(chosen))
        if chosen.command == "compare":
            sys.exit(compare_two(chosen))
        if chosen.command == "items":
            sys.exit(show_answers(chosen))
        if chosen.command == "report" and chosen.published:
            sys.exit(report_published(chosen.runs, chosen.study))
        study = find_study(chosen.runs, chosen.study)
        sys.exit(show_status(study) if chosen.command == "status" else rebuild_report(study))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def find_study(runs: Path, name: str | None) -> Path:
    """The folder of the named study, or of the only one there is."""
    studies = sorted(path.parent.name for path in runs.glob("*/.lock"))
    if not studies:
        raise UserError(f"{runs}: no study there; launch one, or say where they are with --runs")
    if name is None and len(studies) == 1:
        name = studies[0]
    if name is None:
        raise UserError(f"{runs} has several studies, name one: {', '.join(studies)}")
    if name not in studies:
        raise UserError(f"no study '{name}' in {runs}; known: {', '.join(studies)}{nearest(name, studies)}")
    return runs / name


def show_status(study: Path) -> int:
    """A line a run; exit code 1 when one has failed."""
    from cpt.study.status import STALE_SECONDS, read_status

    table = Table(title=f"Study {study.name}", title_justify="left")
    for column in ("run", "state", "stage", "step", "updated", "error"):
        table.add_column(column, no_wrap=column != "error")
    counts: dict[str, int] = {}
    for path in sorted(study.glob("*/status.json")):
        status = read_status(path.parent)
        if status is None:
            counts["unreadable"] = counts.get("unreadable", 0) + 1
            table.add_row(
                path.parent.name, "unreadable", "", "", "", f"{path} is damaged; launching again writes it anew"
            )
            continue
        stale = status.state == "running" and status.age > STALE_SECONDS
        state = "lost" if stale else status.state
        counts[state] = counts.get(state, 0) + 1
        error = f"no sign for {status.age:,.0f} s; launch again to go on" if stale else status.error or ""
        step = f"{status.step:,}/{status.steps:,}" if status.steps else ""
        table.add_row(status.run_id, state, status.stage, step, status.updated, error)
    console = people_console()
    console.print(table)
    console.print(
        ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing was launched yet"
    )
    return int(bool(counts.get("failed")))


def rebuild_report(study: Path) -> int:
    from cpt.study.launch import conclude

    return int(bool(conclude(study, people_console())))


def report_published(runs: Path, named: str | None) -> int:
    """The published numbers in the folder of the studies, under a name of their own."""
    from cpt.results.published_study import print_published, write_published

    if named:
        raise UserError(f"report --published: it is a study of its own, found one named '{named}' too; leave that out")
    print_published(write_published(runs), people_console())
    return 0


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
    """The first name is the study's, unless there is only one study and it is none's."""
    from cpt.study.push import push

    studies = [path.parent.name for path in chosen.runs.glob("*/.lock")]
    study, runs = (chosen.names or [None])[0], chosen.names[1:]
    if study not in studies and len(studies) == 1:
        study, runs = None, chosen.names
    console = people_console()
    options = {"public": chosen.public, "toy": chosen.toy, "dry_run": chosen.dry_run}
    return push(find_study(chosen.runs, study), runs, chosen.to, console, **options)

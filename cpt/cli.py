"""The console script `cpt`: look at studies and their data, stop and publish them. Launching is `launch.py`'s."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpt.console import make_console
from cpt.errors import UserError, nearest
from cpt.growing import FULL

PUBLISHED = "published"
"""What the study of the published numbers is called, and asked for by."""

Commands = Any
"""What argparse adds commands to, of a type that it keeps to itself."""


def main(arguments: list[str] | None = None) -> None:
    """Parse and carry out one command; a foreseeable mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cpt", description="Look at studies of continual pretraining.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the studies (default: runs)")
    commands = parser.add_subparsers(dest="command", required=True)
    looking = (_status, _logs, _cancel, _doctor, _report, _table, _best)
    for add in (*looking, _compare, _items, _data, _push, _sync, _dashboard):
        add(commands)
    chosen = parser.parse_args(arguments)
    carry_out: Callable[[argparse.Namespace], int] = chosen.carry_out
    try:
        sys.exit(carry_out(chosen))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        told = _place(error)
        if told is None:
            raise
        print(f"{told}; when that is set right, the same command goes on", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _place(error: OSError) -> str | None:
    """A full disk, or a folder nobody may write to. An error that names no file, as of a connection, is another's."""
    if error.errno in FULL:
        return f"no room left to write {error.filename or 'there'} ({error.strerror})"
    if error.filename is None:
        return None
    path = Path(error.filename)
    return f"{path.parent if path.suffix == '.part' else path}: {error.strerror}"  # a part of a file is gone again


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


def _table(commands: Commands) -> None:
    command = commands.add_parser("table", help="all rows of studies, on the terminal or as a file for elsewhere")
    command.add_argument("studies", nargs="*", metavar="study", help="names; not needed where there is only one")
    command.add_argument("--published", action="store_true", help="the study's published numbers, also beside others")
    command.add_argument("--to", type=Path, metavar="FILE", help="a .csv, .parquet, .tex or .md; none: print the means")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--means", action="store_true", help="a line a run, with its means over languages")
    form.add_argument("--languages", action="store_true", help="a line a run, a column a language, of one measure")
    for name in ("task", "metric", "direction", "protocol", "role"):
        command.add_argument(f"--{name}", help=f"only rows of this {name}")
    command.set_defaults(carry_out=show_table)


def _best(commands: Commands) -> None:
    usage = (
        "cpt best [study | --published] --for LANGUAGE[,LANGUAGE ...] [--model M]\n"
        "                [--task T] [--metric M] [--direction en-x|x-en] [--protocol P]"
    )
    about = "which run to use for some languages, and how sure that is"
    rule = (
        "Ranked by the mean over the languages. What is not named is chosen: of protocols the sound one; of benchmarks "
        "the first of flores200, sib200, bpb_flores, bpb that somebody was scored in, in all the languages; of metrics "
        "chrf++, then spbleu; of directions en-x, then x-en."
    )
    command = commands.add_parser("best", help=about, usage=usage, description=f"{about.capitalize()}. {rule}")
    _study(command)
    command.add_argument("--for", required=True, dest="languages", metavar="LANGUAGES", help="as zul_Latn,xho_Latn")
    for name, what in (("task", "a benchmark"), ("metric", "such as chrf++ or accuracy"), ("protocol", "how asked")):
        command.add_argument(f"--{name}", help=f"{what}; none: see above")
    command.add_argument("--direction", choices=("en-x", "x-en"), help="of a translation; none: see above")
    command.add_argument("--model", help="only runs from this base model, such as l3")
    command.add_argument("--published", action="store_true", help="among the study's published numbers")
    command.set_defaults(carry_out=name_best)


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


def _sync(commands: Commands) -> None:
    usage = "cpt sync [study] [run ...] [--to wandb|trackio] [--dry-run]"
    command = commands.add_parser("sync", help="send curves and scores to a mirror, from what is on disk", usage=usage)
    command.add_argument("names", nargs="*", metavar="name", help="the study, then names or ids of runs; none: all")
    command.add_argument("--to", choices=("wandb", "trackio"), default="wandb", help="which mirror (default: wandb)")
    command.add_argument("--dry-run", action="store_true", help="say what would be sent, send nothing")
    command.set_defaults(carry_out=sync_runs)


def _dashboard(commands: Commands) -> None:
    about = "curves and scores that were mirrored to trackio, as pages for this machine alone"
    command = commands.add_parser("dashboard", help=about)
    _study(command)
    command.add_argument(
        "--port", type=_count, metavar="N", help="where to serve them (default: 7860, or the next free)"
    )
    command.set_defaults(carry_out=show_dashboard)


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
    if name == PUBLISHED and name not in known:
        raise UserError(f"the {PUBLISHED} numbers were not launched here: say --{PUBLISHED}, to report, best or table")
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
    from cpt.commands.status import show_status, watch_status

    study = find_study(chosen.runs, chosen.study)
    return (watch_status if chosen.watch else show_status)(study, make_console())


def show_logs(chosen: argparse.Namespace) -> int:
    from cpt.commands.logs import show_logs

    study, runs = study_and_runs(chosen.runs, chosen.names)
    return show_logs(study, runs, chosen.lines, chosen.follow, make_console())


def cancel_jobs(chosen: argparse.Namespace) -> int:
    from cpt.commands.cancel import cancel

    study, runs = study_and_runs(chosen.runs, chosen.names)
    return cancel(study, runs, make_console(), chosen.yes)


def rebuild_report(chosen: argparse.Namespace) -> int:
    from cpt.study.compare.conclude import conclude

    if chosen.published:
        return report_published(chosen.runs, chosen.study)
    return int(bool(conclude(find_study(chosen.runs, chosen.study), make_console())))


def report_published(runs: Path, named: str | None) -> int:
    """The published numbers in the folder of the studies, under a name of their own."""
    from cpt.results.output.published_study import report_published as report

    if named:
        raise UserError(f"report --published: it is a study of its own, found one named '{named}' too; leave that out")
    report(runs, make_console())
    return 0


def show_table(chosen: argparse.Namespace) -> int:
    from cpt.commands.table import show_tables
    from cpt.results.output.views import LANGUAGES, MEANS, ROWS

    named = list(dict.fromkeys(chosen.studies)) or ([] if chosen.published else [None])
    studies = [find_study(chosen.runs, name) for name in named]
    wanted = {name: getattr(chosen, name) for name in ("task", "metric", "direction", "protocol", "role")}
    kind = LANGUAGES if chosen.languages else MEANS if chosen.means else ROWS
    return show_tables(studies, chosen.published, wanted, kind, chosen.to, make_console())


def name_best(chosen: argparse.Namespace) -> int:
    from cpt.commands.best import answer, answer_published

    named = {name: getattr(chosen, name) for name in ("task", "metric", "direction", "protocol")}
    if not chosen.published:
        study = find_study(chosen.runs, chosen.study)
        return answer(study, chosen.languages, chosen.model, named, make_console())
    if chosen.study:
        raise UserError(f"best --published: a study of its own, found one named '{chosen.study}' too; leave that out")
    return answer_published(chosen.languages, chosen.model, named, make_console())


def examine(chosen: argparse.Namespace) -> int:
    if chosen.overrides:
        from cpt.doctor.cluster_check import preflight

        return preflight([*chosen.overrides, f"paths.runs={chosen.runs}"], make_console())
    from cpt.commands.doctor import local_findings, print_findings

    return print_findings(local_findings(chosen.runs, chosen.cache), make_console())


def compare_two(chosen: argparse.Namespace) -> int:
    from cpt.commands.compare import compare_runs
    from cpt.study.state.evaluated_run import find_run

    one, other = (find_run(chosen.runs, word) for word in (chosen.run, chosen.other))
    return compare_runs(one, other, make_console(), chosen.task, chosen.language, chosen.csv)


def show_answers(chosen: argparse.Namespace) -> int:
    from cpt.commands.items import show_items
    from cpt.study.state.evaluated_run import find_run

    wanted = {name: getattr(chosen, name) for name in ("task", "language", "direction", "protocol")}
    return show_items(find_run(chosen.runs, chosen.run), make_console(), chosen.n, **wanted)


def manage_data(chosen: argparse.Namespace) -> int:
    from cpt.commands.data import list_data, remove_data, show_data, verify_data

    console = make_console()
    if chosen.action == "list":
        return list_data(chosen.cache, console)
    if chosen.action == "show":
        return show_data(chosen.cache, chosen.keys, console)
    if chosen.action == "verify":
        return verify_data(chosen.cache, chosen.keys, console)
    return remove_data(chosen.cache, chosen.runs, chosen.keys, chosen.force, console)


def push_models(chosen: argparse.Namespace) -> int:
    from cpt.commands.push import push

    study, runs = study_and_runs(chosen.runs, chosen.names)
    options = {"public": chosen.public, "toy": chosen.toy, "dry_run": chosen.dry_run}
    return push(study, runs, chosen.to, make_console(), **options)


def sync_runs(chosen: argparse.Namespace) -> int:
    from cpt.commands.sync import sync

    study, runs = study_and_runs(chosen.runs, chosen.names)
    return sync(study, runs, chosen.to, make_console(), chosen.dry_run)


def show_dashboard(chosen: argparse.Namespace) -> int:
    from cpt.commands.dashboard import serve

    known = studies(chosen.runs)
    study = find_study(chosen.runs, chosen.study).name if chosen.study or len(known) == 1 else None
    return serve(chosen.runs, study, chosen.port, lambda line: print(line, flush=True))

"""`cpt compare`: two evaluated models beside each other, over the same items, from what their folders keep."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from cpt.commands.arguments import RunName, runs_of
from cpt.console import make_console
from cpt.evals.benchmark import Unit
from cpt.files import write_text
from cpt.results.analysis.change.paired_test import UNCLEAR, Difference, differences
from cpt.results.rows.banners import TOY, TOY_LABEL
from cpt.results.rows.measures import DIRECTIONS, TASKS, Measure, language_name
from cpt.study.state.evaluated_run import EvaluatedRun, chosen, find_run, same_questions

COLUMNS = (
    *("run_id", "other_id", "task", "language", "direction", "protocol", "metric"),
    *("value", "other", "difference", "ci_low", "ci_high", "n", "verdict"),
)
SHOWN = 10
"""Units named of those that are not compared for one reason."""


@dataclass(frozen=True)
class Compared:
    """A unit, what of it is compared, and why the rest is not; a reason for all of it goes by an empty name."""

    unit: Unit
    differences: list[Difference]
    why_not: dict[str, str]


def compare_runs(
    one: EvaluatedRun,
    other: EvaluatedRun,
    console: Console,
    task: str | None = None,
    language: str | None = None,
    to: Path | None = None,
) -> int:
    """Print every metric of both with the interval of their difference, and what cannot be compared, with why."""
    units = chosen(list(dict.fromkeys([*one.units, *other.units])), task=task, language=language)
    hidden = not console.is_terminal
    found = [
        compared(one, other, unit)
        for unit in track(units, "comparing", console=console, disable=hidden, transient=True)
    ]
    if to is not None:  # before printing, which a closed pipe may end
        write_text(to, _csv(one, other, found))
    if TOY in (one.run.config.scale, other.run.config.scale):
        console.print(Text(TOY_LABEL, style="bold"), soft_wrap=True)
    if any(unit.differences for unit in found):
        console.print(_table(one, other, found))
    for line in _told(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if to is not None:
        console.print(f"Written to {to}", highlight=False, soft_wrap=True)
    return 0


def compared(one: EvaluatedRun, other: EvaluatedRun, unit: Unit) -> Compared:
    """One unit of two models; each is measured as it was evaluated."""
    for kept, beside in ((one, other), (other, one)):
        if unit not in kept.units:
            return _not(unit, f"only {beside.run_id} was evaluated in it")
        if not kept.keys(unit):
            return _not(unit, f"{kept.run_id} keeps no answers of it")
    theirs = set(other.keys(unit))
    shared = [key for key in one.keys(unit) if key in theirs]
    if not shared:
        return _not(unit, _asked_otherwise(one, other, unit))
    sides = [kept.items(unit, shared[-1]) for kept in (one, other)]
    if sides[0] is None or sides[1] is None:
        return _not(unit, f"{(one if sides[0] is None else other).run_id} has not answered every question")
    if not same_questions(sides[0], sides[1]):
        return _not(unit, "the kept questions are not the same")
    samples = max(kept.run.config.evals.bootstrap for kept in (one, other))
    return Compared(unit, *differences(one.measure(unit, sides[0]), other.measure(unit, sides[1]), samples))


def _not(unit: Unit, why: str) -> Compared:
    return Compared(unit, [], {"": why})


def _asked_otherwise(one: EvaluatedRun, other: EvaluatedRun, unit: Unit) -> str:
    mine, theirs = (asdict(kept.run.config.evals.benchmarks[unit.task]) for kept in (one, other))
    changed = [name for name in mine if mine[name] != theirs[name] and name not in ("protocol", "batch")]
    settings = ", ".join(f"{name} {mine[name]} / {theirs[name]}" for name in changed)
    return f"asked otherwise: {settings or 'of other files, or in another version of the benchmark'}"


def _table(one: EvaluatedRun, other: EvaluatedRun, found: Sequence[Compared]) -> Table:
    names = [one.run_id, other.run_id]
    if one.run.name != other.run.name:
        names = [one.run.name, other.run.name]
    words = ["task", "language", "direction", "protocol", "metric"]
    heads = [*words, *names, "difference", "95 %", "n", f"{names[0]} is"]
    lines = []
    for unit, difference in _all(found):
        measure = Measure(unit.task, unit.direction, unit.protocol, difference.metric)
        named = [TASKS.get(unit.task, unit.task), language_name(unit.language)]
        named += [
            DIRECTIONS.get(unit.direction, unit.direction),
            unit.protocol,
            f"{measure.shown.label} {measure.shown.unit}".strip(),
        ]
        numbers = [measure.value(difference.value), measure.value(difference.other)]
        numbers += [measure.difference(difference.difference)]
        numbers += [measure.span(difference.ci_low, difference.ci_high), f"{difference.n:,}"]
        verdict = "" if difference.verdict == UNCLEAR else difference.verdict
        lines.append([*named, *numbers, verdict])
    table = Table(title=f"{names[0]} beside {names[1]}: the same items", title_justify="left")
    told = [place for place in range(len(heads)) if any(line[place] for line in lines)]
    for place in told:
        table.add_column(heads[place], justify="left" if heads[place] in words else "right")
    for line in lines:
        table.add_row(*(Text(line[place]) for place in told))
    return table


def _all(found: Sequence[Compared]) -> Iterator[tuple[Unit, Difference]]:
    return ((unit.unit, difference) for unit in found for difference in unit.differences)


def _told(found: Sequence[Compared]) -> Iterator[str]:
    """How much was compared, and every reason with what it is the reason for."""
    made = [difference for _, difference in _all(found)]
    sure = sum(not difference.ci_low <= 0 <= difference.ci_high for difference in made)
    yield (
        f"{len(made):,} compared; in {sure:,} the 95 % interval of the difference, paired over items, leaves out zero "
        "(of models that do not differ, in about one of twenty)"
    )
    reasons: dict[str, list[str]] = defaultdict(list)
    for unit in found:
        for metric, why in unit.why_not.items():
            reasons[why].append(f"{unit.unit.title} {metric}".strip())
    for why, names in reasons.items():
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        yield f"Not compared, {why}: {', '.join(names[:SHOWN])}{more}"


def _csv(one: EvaluatedRun, other: EvaluatedRun, found: Sequence[Compared]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for unit, difference in _all(found):
        ids = {"run_id": one.run_id, "other_id": other.run_id}
        writer.writerow(ids | asdict(unit) | asdict(difference) | {"verdict": difference.verdict})
    return text.getvalue()


def command(
    ctx: typer.Context,
    run: RunName,
    other: RunName,
    task: Annotated[str | None, typer.Option(help="Only this benchmark.")] = None,
    language: Annotated[str | None, typer.Option(help="Only this language.")] = None,
    to: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the differences there.")] = None,
) -> int:
    """Two evaluated runs or base models over the same items."""
    one, two = (find_run(runs_of(ctx), name) for name in (run, other))
    return compare_runs(one, two, make_console(), task, language, to)

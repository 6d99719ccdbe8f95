"""`cpt compare`: compares two evaluated models over the same items, from the files in their folders."""

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
MAX_UNITS = 10
"""Most units named for one reason why they are not compared."""


@dataclass(frozen=True)
class Compared:
    """A unit with its differences, and why other metrics are not compared; the key of a reason for all is empty."""

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
    """Print each metric of both runs with the interval of the difference, and why others cannot be compared."""
    units = chosen(list(dict.fromkeys([*one.units, *other.units])), task=task, language=language)
    hidden = not console.is_terminal
    results = [
        compared(one, other, unit)
        for unit in track(units, "comparing", console=console, disable=hidden, transient=True)
    ]
    if to is not None:  # before printing, which a closed pipe may end
        write_text(to, _csv(one, other, results))
    if TOY in (one.run.config.scale, other.run.config.scale):
        console.print(Text(TOY_LABEL, style="bold"), soft_wrap=True)
    if any(unit.differences for unit in results):
        console.print(_table(one, other, results))
    for line in _summary(results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if to is not None:
        console.print(f"Written to {to}", highlight=False, soft_wrap=True)
    return 0


def compared(one: EvaluatedRun, other: EvaluatedRun, unit: Unit) -> Compared:
    """Compare one unit of two models, each measured as it was evaluated."""
    for side, rival in ((one, other), (other, one)):
        if unit not in side.units:
            return _not_compared(unit, f"only {rival.run_id} was evaluated in it")
        if not side.keys(unit):
            return _not_compared(unit, f"{side.run_id} has no saved answers of it")
    theirs = set(other.keys(unit))
    shared = [key for key in one.keys(unit) if key in theirs]
    if not shared:
        return _not_compared(unit, _prompt_difference(one, other, unit))
    sides = [side.items(unit, shared[-1]) for side in (one, other)]
    if sides[0] is None or sides[1] is None:
        return _not_compared(unit, f"{(one if sides[0] is None else other).run_id} has not answered every question")
    if not same_questions(sides[0], sides[1]):
        return _not_compared(unit, "the saved questions differ")
    samples = max(side.run.config.evals.bootstrap for side in (one, other))
    return Compared(unit, *differences(one.measure(unit, sides[0]), other.measure(unit, sides[1]), samples))


def _not_compared(unit: Unit, why: str) -> Compared:
    return Compared(unit, [], {"": why})


def _prompt_difference(one: EvaluatedRun, other: EvaluatedRun, unit: Unit) -> str:
    mine, theirs = (asdict(side.run.config.evals.benchmarks[unit.task]) for side in (one, other))
    changed = [name for name in mine if mine[name] != theirs[name] and name not in ("protocol", "batch")]
    settings = ", ".join(f"{name} {mine[name]} / {theirs[name]}" for name in changed)
    return f"different prompts: {settings or 'other files or another version of the benchmark'}"


def _table(one: EvaluatedRun, other: EvaluatedRun, results: Sequence[Compared]) -> Table:
    names = [one.run_id, other.run_id]
    if one.run.name != other.run.name:
        names = [one.run.name, other.run.name]
    descriptions = ["task", "language", "direction", "protocol", "metric"]
    heads = [*descriptions, *names, "difference", "95 %", "n", f"{names[0]} is"]
    lines = []
    for unit, difference in _differences(results):
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
    columns = [i for i in range(len(heads)) if any(line[i] for line in lines)]
    for i in columns:
        table.add_column(heads[i], justify="left" if heads[i] in descriptions else "right")
    for line in lines:
        table.add_row(*(Text(line[i]) for i in columns))
    return table


def _differences(results: Sequence[Compared]) -> Iterator[tuple[Unit, Difference]]:
    return ((unit.unit, difference) for unit in results for difference in unit.differences)


def _summary(results: Sequence[Compared]) -> Iterator[str]:
    """The number of comparisons, and each reason for missing ones with its units."""
    made = [difference for _, difference in _differences(results)]
    clear = sum(not difference.ci_low <= 0 <= difference.ci_high for difference in made)
    yield (
        f"{len(made):,} compared; in {clear:,} the 95 % interval of the difference, paired over items, excludes zero "
        "(expected in about one of twenty if the models do not differ)"
    )
    reasons: dict[str, list[str]] = defaultdict(list)
    for unit in results:
        for metric, why in unit.why_not.items():
            reasons[why].append(f"{unit.unit.title} {metric}".strip())
    for why, names in reasons.items():
        more = f" and {len(names) - MAX_UNITS:,} more" if len(names) > MAX_UNITS else ""
        yield f"Not compared, {why}: {', '.join(names[:MAX_UNITS])}{more}"


def _csv(one: EvaluatedRun, other: EvaluatedRun, results: Sequence[Compared]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for unit, difference in _differences(results):
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

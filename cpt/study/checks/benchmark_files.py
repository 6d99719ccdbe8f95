"""Benchmarks' files, brought and read once before anything expensive starts."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from cpt.errors import UserError
from cpt.evals.benchmark import Unit
from cpt.evals.benchmark_location import LAYOUTS
from cpt.evals.benchmarks.harness import download
from cpt.evals.benchmarks.harness.lm_eval_task import HARNESS
from cpt.evals.benchmarks.harness.tasks.data import place as folder_name
from cpt.evals.metrics import spbleu
from cpt.languages import registry
from cpt.study.checks.value_checks import coverage_mistakes
from cpt.study.state.run import Run


def provide(runs: list[Run], console: Console) -> None:
    """Fetch what is not on this machine yet; every mistake in what the runs are asked is one message."""
    first = runs[0]

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    # Of all languages: an identifier learns from every one there is, and must not change as a study grows.
    for place in filter(None, (first.benchmark_location(name) for name in LAYOUTS)):
        place.fetch(registry(), say)
    if first.config.scale != "toy" and "flores200" in first.config.evals.benchmarks:
        spbleu.provision(say, first.config.evals.spbleu_sha256)
    if first.config.paths.harness == download.HUB:
        _fetch_harness(runs, say)
    first.world.benchmarks()
    mistakes = dict.fromkeys(str(error) for run in runs for error in coverage_mistakes(run))
    mistakes.update(dict.fromkeys(_content_mistakes(runs)))
    if mistakes:
        raise UserError("\n".join(mistakes))


def _fetch_harness(runs: list[Run], say: Callable[[str], None]) -> None:
    """Of each of lm-eval's benchmarks the languages of all runs that are asked it, and no more."""
    wanted: dict[str, set[str]] = {}
    for run in runs:
        for name in run.config.evals.benchmarks:
            if name in HARNESS:
                wanted.setdefault(name, set()).update(run.languages)
    for name, languages in wanted.items():
        download.fetch(name, sorted(languages), download.folder_of(runs[0].cache, folder_name(name)), say)


def _content_mistakes(runs: list[Run]) -> list[str]:
    """What is wrong in files that people gave; each is read once, however many runs are asked about it."""
    checked: set[Unit] = set()
    found: list[str] = []
    for run in runs:
        given = [name for name, folder in run.suite.folders.items() if run.world.folder not in folder.parents]
        for unit in run.suite.units(run.languages)[0]:
            if unit in checked or unit.task not in given:
                continue
            checked.add(unit)
            try:
                run.suite.benchmarks[unit.task].check(unit)
            except UserError as error:
                found.append(str(error))
    return found

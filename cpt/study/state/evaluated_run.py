"""The saved evaluation of a run: its units, and every question with its answer.

Everything is read from disk, without the model and without the benchmark's files, which may have been removed: the
names of the saved files contain the key of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cpt.errors import UserError, nearest
from cpt.evals.benchmark import Item, Unit
from cpt.evals.items import Items, unit_name
from cpt.evals.metrics.measured import Measured
from cpt.evals.questions import Continuation, ModelRequest
from cpt.evals.suite import known_units
from cpt.files import read_json
from cpt.study.state.run import Run
from cpt.study.state.run_files import EVALUATE


@dataclass(frozen=True)
class EvaluatedRun:
    """The evaluation in a run's folder, which may have been moved."""

    folder: Path

    @cached_property
    def run(self) -> Run:
        return Run.from_folder(self.folder)

    @property
    def run_id(self) -> str:
        return self.folder.name

    @cached_property
    def units(self) -> list[Unit]:
        """The evaluated units in order, without benchmarks that the run no longer selects."""
        known = self._prompt_keys
        return [
            unit
            for unit in known_units(self.folder / "evals.jsonl")
            if unit.task in self.run.suite.benchmarks and (not known or unit_name(unit) in known)
        ]

    @cached_property
    def _prompt_keys(self) -> dict[str, str]:
        """The prompt key of each unit in the finished evaluation; empty if it is not finished."""
        path = self.folder / "evaluate.done"
        return dict(read_json(path).get("asked", {})) if path.exists() else {}

    def keys(self, unit: Unit) -> list[str]:
        """The prompt key of a unit; all keys of an unfinished evaluation, the latest one last."""
        if self._prompt_keys:
            return [self._prompt_keys[unit_name(unit)][:8]] if unit_name(unit) in self._prompt_keys else []
        answers = self.folder / "items"
        files = answers.glob(Items(answers, unit, "?" * 8).path(0).name)
        return [path.name.split(".")[-4][-8:] for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def items(self, unit: Unit, key: str) -> list[Item] | None:
        return Items(self.folder / "items", unit, key).complete()

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        return self.run.suite.measure(unit, items)


def same_questions(one: Sequence[Item], other: Sequence[Item]) -> bool:
    """Whether two models got the same questions; limits on generated tokens may differ between tokenizers."""
    return [(_unlimited(item.request), item.facts) for item in one] == [(_unlimited(i.request), i.facts) for i in other]


def _unlimited(request: ModelRequest) -> ModelRequest:
    return replace(request, tokens=0) if isinstance(request, Continuation) else request


def find_run(runs: Path, word: str) -> EvaluatedRun:
    """The run with this folder, `study/run`, id or name, in any study."""
    if (Path(word) / "config.yaml").exists():
        return EvaluatedRun(Path(word).resolve())
    folders = sorted(path.parent for path in runs.glob("*/*/config.yaml"))
    called = {folder: (folder.name, folder.name.rpartition("-")[0]) for folder in folders}
    known = {folder: [*names, *(f"{folder.parent.name}/{name}" for name in names)] for folder, names in called.items()}
    matches = [folder for folder, names in known.items() if word in names]
    if len(matches) == 1:
        return EvaluatedRun(matches[0])
    if matches:
        choices = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in matches)
        raise UserError(f"{word}: {len(matches)} runs have that name; give one of {choices}")
    words = [name for names in known.values() for name in names]
    raise UserError(f"no run '{word}' in {runs}, and no such run folder{nearest(word, words)}")


def chosen(units: Sequence[Unit], **wanted: str | None) -> list[Unit]:
    """Units with these fields; a value that no unit has is an error."""
    left = list(units)
    for field, value in wanted.items():
        known = {getattr(unit, field) for unit in left}
        if value is not None and value not in known:
            choices = ", ".join(sorted(filter(None, known))) or "no such units"
            raise UserError(f"--{field} {value}: not evaluated; known: {choices}{nearest(value, known)}")
        left = [unit for unit in left if value in (None, getattr(unit, field))]
    return left


def dropped_benchmarks(run: Run) -> list[str]:
    """Benchmarks, with their protocols, that the run has scores of but no longer selects."""
    evaluated = run.files.read_marker(EVALUATE).get("asked", {})
    before = [unit for unit in known_units(run.files.scores) if unit_name(unit) in evaluated]
    now = run.suite.units(run.languages)[0]
    names = {(unit.task, unit.protocol) for unit in before} - {(unit.task, unit.protocol) for unit in now}
    return sorted(" ".join(filter(None, name)) for name in names)

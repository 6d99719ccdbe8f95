"""The runs of one launch: checked, without duplicates, and comparable with the runs of their study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cpt.config import StudyConfig
from cpt.errors import UserError, config_error, some
from cpt.files import read_json
from cpt.study.checks.value_checks import check
from cpt.study.state.run import Run

SHARED: dict[str, Callable[[StudyConfig], object]] = {
    "scale": lambda config: config.scale,
    "study": lambda config: config.study,
    "dry_run": lambda config: config.dry_run,
    "wait": lambda config: config.wait,
    "prepare_only": lambda config: config.prepare_only,
    "paths": lambda config: config.paths,
    "hardware": lambda config: config.hardware,
    "tracking": lambda config: config.tracking,
}
"""Settings of a whole launch, which cannot be swept over."""


def check_shared_settings(configs: list[StudyConfig]) -> None:
    """Refuse a sweep over a setting that belongs to the whole launch."""
    for key, value in SHARED.items():
        if any(value(config) != value(configs[0]) for config in configs):
            raise UserError(f"{key}: must be the same for all runs of a launch; launch the sweep once for each value")


def check_runs(runs: list[Run]) -> None:
    """Raise one error with the mistakes of all runs, each with the names of its runs unless all have it."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for error in check(run):
            names.setdefault(str(error), []).append(run.name)
    if names:
        names = _merge_values(names)
        lines = [text if len(owners) == len(runs) else f"{text} [{some(owners)}]" for text, owners in names.items()]
        raise UserError("\n".join(lines))


def _merge_values(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Merge mistakes that differ only in the value of one key, such as 39 models without a network."""
    groups: dict[tuple[str, str], list[str]] = {}
    for text in names:
        setting, _, reason = text.partition(": ")
        groups.setdefault((setting.partition("=")[0], reason), []).append(text)
    merged: dict[str, list[str]] = {}
    for (key, reason), texts in groups.items():
        values = [text.partition(": ")[0].partition("=")[2] for text in texts]
        joined = f"{key}={some(values)}: {reason}" if len(texts) > 1 else texts[0]
        merged[joined] = list(dict.fromkeys(name for text in texts for name in names[text]))
    return merged


def distinct(runs: list[Run]) -> list[Run]:
    """The runs without duplicates; refuses points that differ only in settings that do not identify a run."""
    by_id: dict[str, Run] = {}
    for run in runs:
        if by_id.setdefault(run.run_id, run).config != run.config:
            raise UserError(
                f"two points of the sweep are the same run {run.run_id}: they differ only in what is "
                "measured or how often it is saved, which does not identify a run; launch them one after the other"
            )
    return list(by_id.values())


def base_runs(runs: list[Run]) -> list[Run]:
    """Each base model of the runs once, to be evaluated for every language category it is compared in."""
    return merge_bases([Run.base_of(run.config) for run in runs])


def merge_bases(bases: list[Run]) -> list[Run]:
    """Each base model once, with the language categories of all its points and of earlier launches."""
    first: dict[str, Run] = {}
    categories: dict[str, dict[str, dict[str, str]]] = {}
    for base in bases:
        first.setdefault(base.run_id, base)
        known = categories.setdefault(base.run_id, _saved_categories(base))
        for name, roles in base.categories:
            known[name] = {**known.get(name, {}), **dict(roles)}
    return [
        replace(base, categories=tuple((name, tuple(roles.items())) for name, roles in categories[key].items()))
        for key, base in first.items()
    ]


def _saved_categories(base: Run) -> dict[str, dict[str, str]]:
    path = base.folder / "categories.json"
    return {name: dict(roles) for name, roles in read_json(path)} if path.exists() else {}


def check_comparable(study: Path, runs: list[Run], same_benchmarks: bool = True) -> None:
    """Refuse runs that cannot be compared with those in the study: another base model under a name, other evaluation
    settings, other prompts. Models that are only evaluated may have other benchmarks, if shared ones are the same.
    """
    launched = {run.run_id for run in runs}
    by_languages = {tuple(run.languages): run for run in runs}
    prompts = {name: key for run in by_languages.values() for name, key in run.prompt_keys().items()}
    bases = {run.config.model.name: run for run in runs if run.base}
    if len(bases) < sum(run.base for run in runs):
        reason = "two base models have the same name; give each its own model.name and model.label"
        raise config_error("model.path", ", ".join(run.config.model.path for run in runs if run.base), reason)
    benchmarks = ", ".join(runs[0].config.evals.benchmarks)
    for path in study.glob("*/evaluate.done"):
        if path.parent.name in launched:
            continue
        other = Run.from_folder(path.parent)
        base = bases.get(other.config.model.name)
        if other.base and base:
            reason = f"{study} has {path.parent.name} as model.name={base.config.model.name}; name another study"
            raise config_error("model.path", base.config.model.path, reason)
        if same_benchmarks and _score_settings(other.config) != _score_settings(runs[0].config):
            reason = (
                f"{path.parent.name} of this study was measured differently; name another study, or launch all its "
                "runs together with these evals (nothing is trained again)"
            )
            raise config_error("evals", benchmarks, reason)
        others = read_json(path).get("asked", {})
        if different := sorted(name for name, key in others.items() if prompts.get(name, key) != key):
            reason = (
                f"{path.parent.name} of this study has other prompts in {some(different)}, from other files or another "
                "version of the benchmark; name another study, or launch all its runs together"
            )
            raise config_error("evals", benchmarks, reason)


def _score_settings(config: StudyConfig) -> dict[str, Any]:
    """The settings of an evaluation that can change a score."""
    settings = {key: value for key, value in asdict(config.evals).items() if key != "strict"}
    for benchmark in settings["benchmarks"].values():
        del benchmark["batch"]
    return settings

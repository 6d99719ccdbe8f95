"""`evaluate.py`: evaluates models without training.

`checkpoint` names them: a model's folder, a hub id, the folder of a run or of a whole study, or a pattern with
{name}, the name of a run of the study on a hub. Without it, the base models of the study are evaluated.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from cpt.config import StudyConfig
from cpt.console import make_console
from cpt.errors import config_error
from cpt.run_keys import hub_name, run_name
from cpt.study.launch.launch_study import Executor, launch
from cpt.study.launch.run_set import base_runs, check_runs, check_shared_settings, distinct, merge_bases
from cpt.study.state.run import Run

TOY, REAL = "toy", "real"
"""Scales of models outside a study: a toy model by its model card, or any other."""


def evaluate_models(configs: list[StudyConfig], executor: Executor) -> None:
    """Evaluate the models of the command line, with rows and a report like those of a trained study."""
    console = make_console()
    check_shared_settings(configs)
    if any(asdict(config.evals) != asdict(configs[0].evals) for config in configs):
        reason = "must be the same for all models of a launch; protocol=[paper,sound] measures both at once"
        raise config_error("evals", "…", reason)
    runs = runs_to_evaluate(configs, console)
    check_runs(runs)
    launch(runs, [], executor, console, same_benchmarks=False)


def runs_to_evaluate(configs: list[StudyConfig], console: Console) -> list[Run]:
    """A run for each model, and the base model of each point that is a model on a hub."""
    labels = _labels([config.checkpoint for config in configs if config.checkpoint])
    bases: list[Run] = []
    models: list[Run] = []
    for config in configs:
        if config.checkpoint is None:
            bases.append(Run(config))
        elif "{" in config.checkpoint:
            bases.append(Run(replace(config, checkpoint=None)))
            models.append(Run(replace(config, checkpoint=_checkpoint_from_pattern(config))))
        elif folders := _run_folders(Path(config.checkpoint).expanduser()):
            runs = [(folder, _run_of_folder(folder, config)) for folder in folders]
            if unfinished := [folder.name for folder, run in runs if run is None]:
                console.print(f"Skipped, training not finished: {', '.join(unfinished)}", soft_wrap=True)
            models += [run for _, run in runs if run]
            if len(unfinished) == len(folders):
                raise config_error("checkpoint", config.checkpoint, "no model there yet; finish the training first")
        else:
            models.append(_unaffiliated_model(config, labels[config.checkpoint]))
    checkpoints = [run for run in models if not run.base]
    return [*base_runs(bases), *merge_bases([run for run in models if run.base]), *distinct(checkpoints)]


def _checkpoint_from_pattern(config: StudyConfig) -> str:
    pattern = str(config.checkpoint)
    filled = pattern.replace("{name}", hub_name(run_name(config)))
    if "{" in filled or "}" in filled:
        raise config_error("checkpoint", pattern, "only {name} is allowed in braces, the name of a run on a hub")
    if config.scale == "toy":
        raise config_error("checkpoint", pattern, "models on a hub are not toys; give scale=paper")
    return filled


def _run_folders(folder: Path) -> list[Path]:
    """Run folders of a path: the path itself, the run of a `model` folder, or all runs of a study."""
    if (folder.parent / "config.yaml").exists() and folder.name == "model":
        return [folder.parent]
    if (folder / "config.yaml").exists() and (folder / "status.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/status.json") if (path.parent / "config.yaml").exists())


def _run_of_folder(folder: Path, requested: StudyConfig) -> Run | None:
    """The run of a folder with the requested evaluation and otherwise its saved settings; None without a model."""
    run = Run.from_folder(folder)
    now = ("evals", "protocol", "hardware", "tracking", "paths", "study", "dry_run", "sweeps")
    config = replace(run.config, **{name: getattr(requested, name) for name in now})
    if run.base or not run.trains:
        return replace(run, config=config)
    if not (folder / "model" / "config.json").exists():
        return None
    return Run(replace(config, checkpoint=str((folder / "model").resolve())))


def _labels(checkpoints: list[str]) -> dict[str, str]:
    """A name for each model: the last part of its path, or more parts if needed to distinguish it from the others."""
    labels: dict[str, str] = {}
    for path in dict.fromkeys(checkpoints):
        parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")] or ["model"]
        others = [[part for part in other.split("/") if part] for other in set(checkpoints) - {path}]
        length = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
        labels[path] = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts[-length:])).strip("-.") or "model"
    return labels


def _unaffiliated_model(config: StudyConfig, label: str) -> Run:
    """A run for a model that belongs to no study."""
    path = str(config.checkpoint)
    folder = Path(path).expanduser()
    if folder.is_file():
        raise config_error("checkpoint", path, "it is a file; give the model's folder, a hub id, a run or a study")
    if studies := sorted(path.name for path in folder.glob("*") if next(path.glob("*/status.json"), None)):
        raise config_error("checkpoint", path, f"it contains studies; give one of them: {', '.join(studies[:5])}")
    model = replace(config.model, name=label, label=label, path=path, hub="")
    config = replace(config, model=model, checkpoint=path, scale=TOY if _is_toy(folder) else REAL)
    return Run.base_of(config)


def _is_toy(folder: Path) -> bool:
    """Whether the model card says that the model is a toy."""
    card = folder / "README.md"
    if not card.is_file():
        return False
    head = card.read_text(encoding="utf-8", errors="replace").split("\n---")[0]
    return "  - toy" in head.splitlines()

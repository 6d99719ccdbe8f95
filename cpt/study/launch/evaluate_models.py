"""What `evaluate.py` does: evaluate models as they are, and train nothing.

`checkpoint` names them: a model's folder, a hub id, the folder of a run or of a whole study, or a pattern with
{name}, the name a run of the study has on a hub. Without it, the base models of the study are evaluated.
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
"""Scales of a model of no study: one whose card says that it is a toy, and any other."""


def evaluate_models(configs: list[StudyConfig], executor: Executor) -> None:
    """Evaluate the models that the command line names, into rows and a report like those of a study that trains."""
    console = make_console()
    check_shared_settings(configs)
    if any(asdict(config.evals) != asdict(configs[0].evals) for config in configs):
        reason = "the same for all models of a launch; protocol=[paper,sound] measures both at once"
        raise config_error("evals", "…", reason)
    runs = named(configs, console)
    check_runs(runs)
    launch(runs, [], executor, console, same_benchmarks=False)


def named(configs: list[StudyConfig], console: Console) -> list[Run]:
    """A run for each model, and for each point of the study that is a model on a hub its base model too."""
    labels = _labels([config.checkpoint for config in configs if config.checkpoint])
    bases: list[Run] = []
    found: list[Run] = []
    for config in configs:
        if config.checkpoint is None:
            bases.append(Run(config))
        elif "{" in config.checkpoint:
            bases.append(Run(replace(config, checkpoint=None)))
            found.append(Run(replace(config, checkpoint=_filled(config))))
        elif folders := _run_folders(Path(config.checkpoint).expanduser()):
            again = [(folder, _again(folder, config)) for folder in folders]
            if unfinished := [folder.name for folder, run in again if run is None]:
                console.print(f"Not trained to the end, left out: {', '.join(unfinished)}", soft_wrap=True)
            found += [run for _, run in again if run]
            if len(unfinished) == len(folders):
                raise config_error("checkpoint", config.checkpoint, "no model there yet; finish the training first")
        else:
            found.append(_alone(config, labels[config.checkpoint]))
    asked = [run for run in found if not run.base]
    return [*base_runs(bases), *merge_bases([run for run in found if run.base]), *distinct(asked)]


def _filled(config: StudyConfig) -> str:
    pattern = str(config.checkpoint)
    filled = pattern.replace("{name}", hub_name(run_name(config)))
    if "{" in filled or "}" in filled:
        raise config_error("checkpoint", pattern, "only {name} may stand in braces, the name of a run on a hub")
    if config.scale == "toy":
        raise config_error("checkpoint", pattern, "models of a hub are no toys; give scale=paper")
    return filled


def _run_folders(folder: Path) -> list[Path]:
    """The folders of runs: the one given, of the model given, or of the study given."""
    if (folder.parent / "config.yaml").exists() and folder.name == "model":
        return [folder.parent]
    if (folder / "config.yaml").exists() and (folder / "status.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/status.json") if (path.parent / "config.yaml").exists())


def _again(folder: Path, asked: StudyConfig) -> Run | None:
    """A run of a study, its model evaluated as is asked now; the rest as it was frozen. None without a model."""
    run = Run.from_folder(folder)
    now = ("evals", "protocol", "hardware", "tracking", "paths", "study", "dry_run", "sweeps")
    config = replace(run.config, **{name: getattr(asked, name) for name in now})
    if run.base or not run.trains:
        return replace(run, config=config)
    if not (folder / "model" / "config.json").exists():
        return None
    return Run(replace(config, checkpoint=str((folder / "model").resolve())))


def _labels(checkpoints: list[str]) -> dict[str, str]:
    """A name for each model: its path's last part, or as many more as tell it from the others."""
    found: dict[str, str] = {}
    for where in dict.fromkeys(checkpoints):
        parts = [part for part in where.split("/") if part not in ("", ".", "..", "~")] or ["model"]
        others = [[part for part in other.split("/") if part] for other in set(checkpoints) - {where}]
        many = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
        found[where] = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts[-many:])).strip("-.") or "model"
    return found


def _alone(config: StudyConfig, label: str) -> Run:
    """A model that belongs to no study, under its own name."""
    where = str(config.checkpoint)
    folder = Path(where).expanduser()
    if folder.is_file():
        raise config_error("checkpoint", where, "it is a file; give the model's folder, a hub id, a run or a study")
    if studies := sorted(path.name for path in folder.glob("*") if next(path.glob("*/status.json"), None)):
        raise config_error("checkpoint", where, f"it holds studies; give one of them: {', '.join(studies[:5])}")
    model = replace(config.model, name=label, label=label, path=where, hub="")
    config = replace(config, model=model, checkpoint=where, scale=TOY if _toy(folder) else REAL)
    return Run.base_of(config)


def _toy(folder: Path) -> bool:
    """Whether a model's card says that it is a toy, wherever it was copied."""
    card = folder / "README.md"
    if not card.is_file():
        return False
    head = card.read_text(encoding="utf-8", errors="replace").split("\n---")[0]
    return "  - toy" in head.splitlines()

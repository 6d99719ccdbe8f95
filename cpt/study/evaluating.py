"""What `evaluate.py` does: evaluate models as they are, and train nothing.

`checkpoint` names them: a model's folder, a hub id, the folder of a run or of a whole study, or a pattern with
{name}, the name a run of the study has on a hub. Without it, the base models of the study are evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cpt.config import StudyConfig
from cpt.errors import config_error
from cpt.keys import hub_name, run_name
from cpt.study.benchmarks import provide
from cpt.study.console import people_console
from cpt.study.launch import (
    Executor,
    alone,
    base_runs,
    conclude,
    distinct,
    end,
    execute,
    fits_study,
    one_launch,
    refuse_mistakes,
)
from cpt.study.run import Run, roles_of

REAL = "real"
"""Scale of a model that is neither of the study's making nor a toy: its numbers are what they are."""


def evaluate_models(configs: list[StudyConfig], executor: Executor) -> None:
    """Evaluate whatever the command line names, into rows and a report like those of a study that trains."""
    console = people_console()
    one_launch(configs)
    runs = named(configs)
    refuse_mistakes(runs)
    study = runs[0].folder.parent
    if runs[0].config.dry_run:
        console.print(f"To evaluate: {', '.join(run.run_id for run in runs)}. Nothing was started.", soft_wrap=True)
        return
    with alone(study):
        fits_study(study, runs)
        provide(runs, console)
        execute(runs, executor, executor.slots(runs[0].config.hardware), console)
        unfinished = conclude(study, console)
    end(unfinished, runs)


def named(configs: list[StudyConfig]) -> list[Run]:
    """A run for each model, and for each point of the study that is a model on a hub its base model too."""
    bases: list[Run] = []
    found: list[Run] = []
    for config in configs:
        if config.checkpoint is None:
            bases.append(Run(config))
        elif "{" in config.checkpoint:
            bases.append(Run(replace(config, checkpoint=None)))
            found.append(Run(replace(config, checkpoint=_filled(config))))
        elif folders := _run_folders(Path(config.checkpoint).expanduser()):
            found += [_again(folder, config) for folder in folders]
        else:
            found.append(_alone(config))
    return [*base_runs(bases), *distinct([*_merged(found)])]


def _filled(config: StudyConfig) -> str:
    pattern = str(config.checkpoint)
    filled = pattern.replace("{name}", hub_name(run_name(config)))
    if "{" in filled or "}" in filled:
        raise config_error("checkpoint", pattern, "only {name} may stand in braces, the name of a run on a hub")
    if config.scale == "toy":
        raise config_error("checkpoint", pattern, "models of a hub are no toys; give scale=paper")
    return filled


def _run_folders(folder: Path) -> list[Path]:
    """The folders of runs that are trained: the one given, of the model given, or of the study given."""
    if (folder.parent / "config.yaml").exists() and folder.name == "model":
        return [folder.parent]
    if (folder / "config.yaml").exists() and (folder / "status.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/status.json") if (path.parent / "config.yaml").exists())


def _again(folder: Path, asked: StudyConfig) -> Run:
    """A run of a study, its model evaluated as is asked now; what it is stays as it was frozen."""
    run = Run.thaw(folder)
    now = ("evals", "protocol", "hardware", "tracking", "paths", "study", "dry_run", "sweeps")
    config = replace(run.config, **{name: getattr(asked, name) for name in now})
    if run.base:
        return replace(run, config=config)
    if not (folder / "model" / "config.json").exists():
        raise config_error("checkpoint", asked.checkpoint, f"{folder.name} has no model yet; finish its training first")
    return Run(replace(config, checkpoint=str((folder / "model").resolve())))


def _alone(config: StudyConfig) -> Run:
    """A model that belongs to no study, under its own name."""
    where = str(config.checkpoint).rstrip("/")
    label = re.sub(r"[^A-Za-z0-9_.-]+", "-", where.rsplit("/", 1)[-1]).strip("-.") or "model"
    model = replace(config.model, name=label, label=label, path=where, hub="")
    config = replace(config, model=model, checkpoint=where, scale=REAL)
    return Run(config, base=True, categories=((config.lang_category.name, tuple(roles_of(config).items())),))


def _merged(runs: list[Run]) -> Iterator[Run]:
    """Models that are asked about several language categories, once each with all of them."""
    categories: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {}
    for run in runs:
        if run.base:
            known = categories.setdefault(run.run_id, {})
            known.update(dict(run.categories))
    seen: set[str] = set()
    for run in runs:
        if run.base and run.run_id not in seen:
            yield replace(run, categories=tuple(categories[run.run_id].items()))
        elif not run.base:
            yield run
        seen.add(run.run_id)

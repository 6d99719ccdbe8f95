"""Identities of runs and comparisons in a mirror, from the saved configuration: the same live and from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from cpt.config import StudyConfig, TrackingConfig
from cpt.results.rows.banners import BANNERS
from cpt.results.tracking.base import Identity
from cpt.results.tracking.comparison_run import JOB_TYPE
from cpt.run_keys import shown_path
from cpt.saved_config import read_config
from cpt.study.state.run import Run

PRIVATE_HARDWARE = ("account", "container", "venv")
"""Hardware settings that name the user's account or paths of the machine."""


def tracking_of(folder: Path) -> TrackingConfig:
    """The settings of a run's mirror."""
    return read_config(folder).tracking


def identity_of(run: Run, run_id: str) -> Identity:
    """The identity of a run; its id is an argument, because computing it needs the run's data."""
    config = run.config
    axes = [config.model.name, config.data_mix.name, config.lang_category.name, f"seed-{config.seed}"]
    kind = [config.model.name, "base"] if run.base else [*axes, "code" if config.code else "no-code"]
    return Identity(
        run_id=run_id,
        name=run.name,
        group=config.study,
        tags=[*kind, config.scale],
        config=public_config(config),
        project=config.tracking.project,
        entity=config.tracking.entity,
        job_type="base" if run.base else "train",
        notes=BANNERS.get(config.scale, ""),
    )


def comparison_of(run: Run, axes: dict[str, Any], versions: dict[str, str]) -> Identity:
    """The identity of a study's comparison; `run` is any of its runs, for all share the settings used."""
    config, banner = run.config, BANNERS.get(run.config.scale, "")
    return Identity(
        run_id=f"comparison-{config.study}",
        name=f"{config.study}: comparison{f' ({config.scale})' if banner else ''}",
        group=config.study,
        tags=["comparison", config.scale],
        config={"study": config.study, "scale": config.scale, "axes": axes, "versions": versions},
        project=config.tracking.project,
        entity=config.tracking.entity,
        job_type=JOB_TYPE,
        notes=banner,
    )


def public_config(config: StudyConfig) -> dict[str, Any]:
    """The configuration without paths and accounts of this machine."""
    shown = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.structured(config)))
    shown["model"]["path"] = shown_path(shown["model"]["path"])
    shown["mixing"]["code"]["tokenizer"] = shown_path(shown["mixing"]["code"]["tokenizer"])
    shown["mixing"]["tokenizer"] = shown_path(shown["mixing"]["tokenizer"])
    shown["corpora"] = {"name": shown["corpora"]["name"], "matched": shown["corpora"]["matched"]}
    shown["hardware"] = {key: value for key, value in shown["hardware"].items() if key not in PRIVATE_HARDWARE}
    if shown["checkpoint"] is not None:
        shown["checkpoint"] = shown_path(shown["checkpoint"])
    return {key: value for key, value in shown.items() if key not in ("paths", "dry_run", "sweeps")}

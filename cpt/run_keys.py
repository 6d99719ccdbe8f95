"""Names and identities of runs: readable names, and three keys over what a run is, never over where it ran."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cpt.added_keys import Stage, added_settings, hashed_settings
from cpt.config import StudyConfig

DATA_VERSION = 2
"""Raised when the counter of words, a text format, tokenising or packing changes what a run is trained on."""
TRAIN_VERSION = 2
"""Raised when the loop, an engine or a schedule changes what training gives."""
_NOT_THE_EXPERIMENT = ("save_every", "keep_last", "keep_every", "curve")
"""Training settings that cannot change the result."""


def run_name(config: StudyConfig) -> str:
    """The study's form, `Model-Data[+Code]-LangCat`; a seed other than the first is named too."""
    code = "+Code" if config.code else ""
    label = model_label(config)
    seed = "" if config.seed == 1 else f"-S{config.seed}"
    return f"{label}-{config.data_mix.label}{code}-{config.lang_category.label}{seed}"


def base_name(config: StudyConfig) -> str:
    return f"{model_label(config)}-Base"


def model_label(config: StudyConfig) -> str:
    """The model's part of a name; a model of random weights is never taken for a real one."""
    return config.model.label + ("Random" if config.model.weights == "random" else "")


def hub_name(name: str) -> str:
    """A run's name where + is not allowed, as the study's released models are named."""
    return name.replace("+", "-")


def shown_path(path: str) -> str:
    """A model's path as others may see it: of a folder of this machine, only its name."""
    return path.rstrip("/").rsplit("/", 1)[-1] if path.startswith(("/", ".", "~")) else path


def key_of(*parts: Any) -> str:
    """A hash of plain data; equal data gives equal keys on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prepare_key(recipe: list[Any], tokenizer: str, config: StudyConfig) -> str:
    """Sources with the fingerprint of their content, cleaning and form, how much of each, and the tokenizer."""
    return key_of(DATA_VERSION, recipe, tokenizer, *added_parts(config, "prepare"))


def train_key(prepared: str, config: StudyConfig, weights: str) -> str:
    """Model, schedule, global batch, packing, precision and seed, over the prepare key."""
    train = {key: value for key, value in hashed_settings(config.train).items() if key not in _NOT_THE_EXPERIMENT}
    schedule = {**hashed_settings(config.schedule), "epochs": config.schedule.epochs or config.train.epochs}
    return key_of(TRAIN_VERSION, prepared, weights, train, schedule, config.seed, *added_parts(config, "train"))


def evaluate_key(trained: str, units: list[str], roles: dict[str, Any], config: StudyConfig) -> str:
    """Every unit's benchmark, files and settings, over the train key."""
    return key_of(trained, sorted(units), roles, *added_parts(config, "evaluate"))


def added_parts(settings: Any, stage: Stage) -> list[dict[str, Any]]:
    """A further part of a key for settings that did not exist when the first studies were run; usually none."""
    added = added_settings(settings, stage)
    return [added] if added else []

"""Settings that were added after studies had been run: at their neutral value they are not hashed, so ids stay.

A dataclass declares such a setting with `added_key`:

    momentum: float = added_key(0.0, stage="train")

At 0.0 it changes nothing, and every run keeps the id that it had before the setting existed. Any other value makes
another run. Settings without the mark are part of every hash, so they are never renamed or removed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Stage = Literal["prepare", "train", "evaluate"]
_ADDED = "added"


def added_key(neutral: T, stage: Stage | None) -> T:
    """A dataclass field with this default. Another value changes the key of `stage` and of the stages after it.

    `stage=None` declares a setting that cannot change a result, such as how often something is saved.
    """
    metadata = {_ADDED: (stage, neutral)}
    if isinstance(neutral, list | dict) or is_dataclass(neutral):
        return field(default_factory=lambda: copy.deepcopy(neutral), metadata=metadata)
    return field(default=neutral, metadata=metadata)


def hashed_settings(settings: Any) -> Any:
    """Plain data of settings that are hashed whole: all fields, except added ones that are neutral."""
    if is_dataclass(settings):
        values = {item: getattr(settings, item.name) for item in fields(settings)}
        return {item.name: hashed_settings(value) for item, value in values.items() if is_hashed(item, value)}
    if isinstance(settings, list | tuple):
        return [hashed_settings(each) for each in settings]
    if isinstance(settings, Mapping):
        return {key: hashed_settings(each) for key, each in settings.items()}
    return settings


def added_settings(settings: Any, stage: Stage, prefix: str = "") -> dict[str, Any]:
    """The added keys of a stage that are not neutral, by dotted name, in a dataclass and the dataclasses in it.

    They complete the hash of settings that are hashed piece by piece.
    """
    changed: dict[str, Any] = {}
    for item in fields(settings) if is_dataclass(settings) else ():
        value, name = getattr(settings, item.name), f"{prefix}{item.name}"
        if _ADDED not in item.metadata:
            changed |= added_settings(value, stage, f"{name}.")
        elif item.metadata[_ADDED][0] == stage and is_hashed(item, value):
            changed[name] = hashed_settings(value)
    return changed


def is_hashed(item: Field[Any], value: Any) -> bool:
    """Whether a field with this value is part of a hash."""
    if _ADDED not in item.metadata:
        return True
    stage, neutral = item.metadata[_ADDED]
    return stage is not None and bool(value != neutral)

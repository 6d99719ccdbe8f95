"""Translates errors of Hydra and OmegaConf into messages with key, value, reason and the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from cpt.config import StudyConfig
from cpt.errors import UserError, config_error, nearest

CONF = Path(__file__).resolve().parents[3] / "conf"
OVERRIDE = re.compile(r"(?:use \+|remove \+ prefix: '|merging override )\+{0,2}([^=\s]+)=?([^'\n]*)")
"""The argument that an error of Hydra quotes; no attribute holds it."""
GROUP_OF_NODE = {"data_mix": "data", "lang_category": "langcat"}
KINDS = {float: "a number", int: "a whole number", bool: "true or false", list: "a list: [a,b]"}

hints_of = cache(get_type_hints)


@cache
def groups() -> list[str]:
    """The groups of the primary configuration, in its order."""
    defaults = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return [name for entry in defaults if isinstance(entry, dict) for name in entry if " " not in name]


def known_keys(cls: Any = StudyConfig, prefix: str = "") -> list[str]:
    """Every key of the typed configuration, dotted."""
    keys: list[str] = []
    for field in fields(cls):
        hint = hints_of(cls)[field.name]
        kind = next(filter(is_dataclass, get_args(hint)), hint)
        keys.append(prefix + field.name)
        if is_dataclass(kind):
            keys += known_keys(kind, f"{prefix}{field.name}.")
    return keys


def readable(error: BaseException) -> str | None:
    """The message for the user, or None if the error is a bug."""
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return f"a group needs one of its choices, not null; groups: {', '.join(groups())}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; finished work is on disk, the same command resumes"
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        return str(translated(error))
    return None


def translated(error: BaseException) -> UserError:
    """An error of composition as a message about what the user wrote."""
    chain = list(_causes(error))
    cause = chain[-1]
    key, value = _quoted_argument(chain)
    match cause:
        case UserError():
            return cause
        case MissingConfigException(missing_cfg_file=str(file)) if "/" in file:
            group, _, choice = file.rpartition("/")
            return _unknown_choice(group, choice, cause.options)
        case MissingMandatoryValue():
            return config_error(str(cause.full_key), "???", "a value is needed")
        case ConfigKeyError() | ConfigAttributeError():
            return _unknown_key(key or str(cause.full_key), value)
        case ValidationError():
            return _wrong_value(key or str(cause.full_key), value if key else cause.value, cause)
        case OverrideParseException():
            form = "not of the form key=value; quote values with spaces or special characters"
            return UserError(f"{_first_line(cause)}: {form}")
    if "item is already at" in str(cause):
        return config_error(key, value, "it exists already: write it without +")
    return UserError(f"the configuration could not be composed: {_first_line(error)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the chain of its causes."""
    yield error
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)


def _quoted_argument(chain: list[BaseException]) -> tuple[str, str]:
    """Key and value of the argument that one of the errors quotes."""
    match = next(filter(None, (OVERRIDE.search(str(error)) for error in chain)), None)
    return (match[1], match[2]) if match else ("", "")


def _unknown_choice(group: str, choice: str, options: Any) -> UserError:
    known = list(options or sorted(path.stem for path in (CONF / group).glob("*.yaml")))
    return config_error(group, choice, f"no such choice; known: {', '.join(known)}{nearest(choice, known)}")


def _unknown_key(key: str, value: str) -> UserError:
    known = [*known_keys(), *groups()]
    if key.startswith(("hardware.jobs.", "hardware.exceptions.")):
        return config_error(key, value, f"not set yet: write +{key}={value}; keys of training: hydra.launcher.*")
    if key.startswith("hydra.launcher."):
        keys = [f"hydra.launcher.{field.name}" for field in fields(SlurmQueueConf)]
        return config_error(key, value, f"no such key{nearest(key, keys)}")
    if key in known:
        return config_error(key, value, f"it has its own keys: write +{key}=…")
    last_parts = {name.rsplit(".", 1)[-1]: name for name in known}
    hint = nearest(key, known) or nearest(key.rsplit(".", 1)[-1], last_parts)
    if (match := re.search(r"'(\w+)'", hint)) and match[1] in last_parts:
        hint = f"; did you mean '{last_parts[match[1]]}'?"
    return config_error(key, value, f"no such key{hint}")


def _wrong_value(key: str, value: object, error: ValidationError) -> UserError:
    if group := GROUP_OF_NODE.get(key):
        return config_error(key, value, f"the node is filled by its group: write {group}={value}")
    if key in groups():
        return config_error(key, value, "expected one of the group's choices")
    if is_dataclass(error.object_type):
        kind = hints_of(error.object_type).get(str(error.key))
    else:
        kind = next(reversed(get_args(error.ref_type)), None)
    if is_dataclass(kind):
        example = next((known for known in known_keys() if known.startswith(f"{key}.")), key)
        return config_error(key, value, f"it has its own keys; set one of them, for example {example}")
    names = [KINDS[each] for each in (get_origin(kind), kind, *get_args(kind)) if each in KINDS]
    return config_error(key, value, f"expected {names[0]}" if names else _first_line(error))


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")

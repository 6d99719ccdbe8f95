"""Hydra's and OmegaConf's errors in the house form: key, value, reason, and the nearest thing that is right."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf.errors import OmegaConfBaseException

from cpt.config import StudyConfig
from cpt.errors import UserError, config_error, nearest

CONF = Path(__file__).resolve().parents[3] / "conf"
GROUPS = ("model", "data", "langcat", "mixing", "schedule", "evals", "tracking", "hardware", "scale", "sweeps")
_GROUP_OF_NODE = {"data_mix": "data", "lang_category": "langcat"}


def known_keys(cls: Any = StudyConfig, prefix: str = "") -> list[str]:
    """Every key of the typed configuration, dotted."""
    keys: list[str] = []
    hints = get_type_hints(cls)
    for field in fields(cls):
        kind = next((arg for arg in get_args(hints[field.name]) if is_dataclass(arg)), hints[field.name])
        keys.append(prefix + field.name)
        if is_dataclass(kind):
            keys += known_keys(kind, f"{prefix}{field.name}.")
    return keys


def readable(error: BaseException) -> str | None:
    """The message for a person, or nothing for an error that is our own mistake."""
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return f"a group needs one of its choices, not null; groups: {', '.join(GROUPS)}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; nothing that was finished is lost, the same command goes on"
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        return str(translated(error))
    return None


def translated(error: BaseException) -> UserError:
    """An error of composition, told in terms of what the user wrote."""
    if isinstance(error, UserError):
        return error
    texts = [str(error)]
    cause = error.__cause__
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__
    whole = "\n".join(texts)
    for tell in (_choice, _unknown_key, _wrong_value, _missing):
        if told := tell(error, whole):
            return told
    if isinstance(error, OverrideParseException):
        form = "not of the form key=value; quote values with spaces or special characters"
        return UserError(f"{_first_line(whole)}: {form}")
    return UserError(f"the configuration could not be composed: {_first_line(whole)}")


def _choice(error: BaseException, text: str) -> UserError | None:
    if not isinstance(error, MissingConfigException):
        return None
    found = re.search(r"Could not (?:find|load) '([\w/@-]+)/([^'/]+)'", text)
    if not found:
        return None
    group, choice = found[1], found[2]
    options = re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
    options = options or sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return config_error(group, choice, f"no such choice; known: {', '.join(options)}{nearest(choice, options)}")


def _unknown_key(error: BaseException, text: str) -> UserError | None:
    found = re.search(r"Could not (?:override|append to config\. An item is already at) '([^']+)'", text)
    if found is None and "is not in struct" not in text and "not in '" not in text:
        return None
    written = re.search(r"(?:use \+|Error merging override )\+?([^=\s]+)=?(.*)", text)
    key = found[1] if found else written[1] if written else _full_key(text)
    value = written[2] if written else ""
    known = [*known_keys(), *GROUPS]
    tail = {name.rsplit(".", 1)[-1]: name for name in known}
    if key.startswith(("hardware.jobs.", "hardware.exceptions.")):
        return config_error(key, value, f"new there: write +{key}={value}; a training's own keys are hydra.launcher.*")
    if key.startswith("hydra.launcher."):
        keys = [f"hydra.launcher.{field.name}" for field in fields(SlurmQueueConf)]
        return config_error(key, value, f"no such key{nearest(key, keys)}")
    if key in known:
        return config_error(key, value, f"what is in it has names of its own: write +{key}=…")
    hint = nearest(key, known) or nearest(key.rsplit(".", 1)[-1], tail)
    for short, full in tail.items():
        if f"'{short}'" in hint:
            hint = f"; did you mean '{full}'?"
            break
    return config_error(key, value, f"no such key{hint}")


def _wrong_value(error: BaseException, text: str) -> UserError | None:
    key = _full_key(text)
    written = re.search(r"Error merging override \+?([^=\s]+)=(.*)", text)
    if written and (group := _GROUP_OF_NODE.get(written[1])):
        return config_error(written[1], written[2], f"the node is filled by its group: write {group}={written[2]}")
    if written and written[1] in GROUPS and "." not in written[1]:
        return config_error(written[1], written[2], "expected one of the group's choices")
    kind = re.search(r"could not be converted to (\w+)", text) or re.search(r"is not a valid (\w+)", text)
    value = re.search(r"Value '([^']*)'", text)
    if kind:
        shown = written[2] if written else value[1] if value else ""
        names = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false", "bool": "true or false"}
        return config_error(written[1] if written else key, shown, f"expected {names.get(kind[1], kind[1])}")
    if written and "is not a subclass of" in text:
        example = next((key for key in known_keys() if key.startswith(f"{written[1]}.")), written[1])
        return config_error(written[1], written[2], f"it has keys of its own; set one of them, for example {example}")
    if written:
        reason = _first_line(text.split(written[0])[-1]) or "a value of the wrong kind"
        return config_error(written[1], written[2], reason)
    return None


def _missing(error: BaseException, text: str) -> UserError | None:
    found = re.search(r"Missing mandatory value: (\S+)", text)
    return config_error(found[1], "???", "a value is needed") if found else None


def _full_key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return found[1] if found else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")

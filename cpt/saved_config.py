"""The configuration of a run as it is saved in the run's folder, `config.yaml`."""

from __future__ import annotations

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpt.config import StudyConfig
from cpt.errors import UserError

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

CONFIG = "config.yaml"


class _NeedsOmegaConf(Exception):  # noqa: N818
    """A value that only OmegaConf can convert, or explain what is wrong with."""


def config_text(config: StudyConfig) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def read_config(folder: Path) -> StudyConfig:
    """The configuration saved in a run's folder, checked against its types.

    A file as this program writes it is built directly, 30 times as fast as by OmegaConf; any other goes to OmegaConf.
    """
    path = folder / CONFIG
    try:
        try:
            return cast("StudyConfig", _build(StudyConfig, read_yaml(path)))
        except _NeedsOmegaConf:
            merged = OmegaConf.merge(OmegaConf.structured(StudyConfig), OmegaConf.load(path))
            return cast("StudyConfig", OmegaConf.to_object(merged))
    except (yaml.YAMLError, OmegaConfBaseException, OSError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}); remove the folder") from error


def read_yaml(path: Path) -> Any:
    """A YAML file's content, parsed again only when the file has changed. Do not modify what it returns."""
    status = path.stat()
    return _parse(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _parse(path: Path, modified_ns: int, size: int) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # a safe loader


@dataclass(frozen=True)
class _Fields:
    types: dict[str, Any]
    mandatory: set[str]


@cache
def _fields_of(kind: type) -> _Fields:
    mandatory = {
        field.name
        for field in fields(kind)
        if field.default == MISSING or (field.default is NO_DEFAULT and field.default_factory is NO_DEFAULT)
    }
    return _Fields(get_type_hints(kind), mandatory)


def _build(kind: Any, values: Any) -> Any:
    known = _fields_of(kind)
    if not isinstance(values, dict) or not known.mandatory <= values.keys() <= known.types.keys():
        raise _NeedsOmegaConf
    return kind(**{name: _value(known.types[name], value) for name, value in values.items()})


def _value(kind: Any, value: Any) -> Any:
    """The value if it has exactly this type, containers copied; whole numbers are valid floats."""
    if isinstance(value, str) and ("${" in value or value == MISSING):
        raise _NeedsOmegaConf
    if kind is Any:
        if isinstance(value, dict):
            return {name: _value(Any, item) for name, item in value.items()}
        return [_value(Any, item) for item in value] if isinstance(value, list) else value
    if is_dataclass(kind):
        return _build(kind, value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None:
            return None
        [kind] = [argument for argument in arguments if argument is not NoneType]
        return _value(kind, value)
    if origin is dict and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _value(arguments[1], item) for name, item in value.items()}
    if origin is list and isinstance(value, list):
        return [_value(arguments[0], item) for item in value]
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise _NeedsOmegaConf

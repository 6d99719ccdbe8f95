"""All points of a study, composed once in the launching process and turned into typed configurations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast, get_type_hints

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpt.config import StudyConfig
from cpt.errors import UserError, config_error, nearest
from cpt.study.messages import known_keys, translated


def compose_study(loader: ConfigLoader, master: DictConfig, points: Sequence[Sequence[str]]) -> list[StudyConfig]:
    """A configuration for each point. Every mistake in any of them is collected before the study is refused."""
    configs: list[StudyConfig] = []
    mistakes: dict[str, None] = {}
    holder = cast("ConfigLoaderImpl", loader)
    original = holder.repository
    holder.repository = ParsedOnce(original)
    try:
        for overrides in points:
            try:
                configs.append(typed(loader.load_sweep_config(master, list(overrides))))
            except (HydraException, OmegaConfBaseException, UserError) as error:
                mistakes[str(translated(error))] = None
    finally:
        holder.repository = original
    if mistakes:
        raise UserError("\n".join(mistakes))
    return configs


def typed(composed: DictConfig) -> StudyConfig:
    """A composed configuration as plain dataclasses, its references resolved."""
    _refuse_unknown(composed, StudyConfig, "")
    values: dict[str, Any] = {}
    for field in fields(StudyConfig):
        node = composed[field.name]
        values[field.name] = OmegaConf.to_object(node) if OmegaConf.is_config(node) else node
    return StudyConfig(**values)


def _refuse_unknown(node: DictConfig, schema: Any, prefix: str) -> None:
    """Keys forced in with ++ are as unknown as any other."""
    hints = get_type_hints(schema)
    for name in map(str, node):
        key = f"{prefix}{name}"
        if name not in hints and key != "hydra":
            value = OmegaConf.select(node, name)
            raise config_error(key, value, f"no such key{nearest(key, known_keys())}")
        if is_dataclass(hints.get(name)) and isinstance(node[name], DictConfig):
            _refuse_unknown(node[name], hints[name], f"{key}.")


class ParsedOnce(ConfigRepository):
    """Hydra's configuration files, each parsed once for all points instead of once for each."""

    def __init__(self, files: ConfigRepository) -> None:
        self.sources = files.sources
        self.parsed: dict[str, ConfigResult | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> ParsedOnce:
        return self  # Hydra copies its repository for every composition; the parsed files are to be shared

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.parsed:
            self.parsed[config_path] = super().load_config(config_path)
        return copy.deepcopy(self.parsed[config_path])  # a composition changes what it is given

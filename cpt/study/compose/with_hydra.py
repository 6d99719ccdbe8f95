"""Composes one point by Hydra itself, and converts a composed configuration to the typed one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from cpt.config import StudyConfig
from cpt.errors import config_error, nearest
from cpt.study.compose.hydra_errors import hints_of, known_keys


class HydraComposer:
    """Composes points with Hydra's own loader, which reads every file once."""

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig, files: ParsedFiles) -> None:
        self.loader, self.master, self.files = loader, master, files

    def composed(self, overrides: Sequence[str]) -> DictConfig:
        return self.loader.load_sweep_config(self.master, list(overrides))

    def config(self, overrides: Sequence[str]) -> StudyConfig:
        return typed(self.composed(overrides))


@contextmanager
def hydra_composer(loader: ConfigLoader, master: DictConfig) -> Iterator[HydraComposer]:
    holder = cast("ConfigLoaderImpl", loader)
    original = holder.repository
    holder.repository = files = ParsedFiles(original)
    try:
        hydra = HydraComposer(holder, master, files)
        if master.hydra.searchpath:
            hydra.composed(())  # so that Hydra knows the added folders
        yield hydra
    finally:
        holder.repository = original


class ParsedFiles(ConfigRepository):
    """Hydra's configuration files, each parsed once for all points instead of once for each."""

    def __init__(self, files: ConfigRepository) -> None:
        self.sources = files.sources
        self.parsed: dict[str, ConfigResult | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> ParsedFiles:
        return self  # Hydra copies its repository for every composition; the parsed files are shared

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.parsed:
            self.parsed[config_path] = super().load_config(config_path)
        return copy.deepcopy(self.parsed[config_path])  # a composition modifies its input

    def has_no_defaults(self, config_path: str) -> bool:
        """Whether a file that was read has no defaults list."""
        result = self.parsed.get(config_path)
        return result is not None and not result.defaults_list

    @property
    def follows_choices(self) -> bool:
        """Whether any file that was read takes a choice from another group's: `- tuned: ${model}`."""
        lists = (result.defaults_list or () for result in self.parsed.values() if result is not None)
        return any("${" in str(vars(default)) for defaults in lists for default in defaults)


def typed(composed: DictConfig) -> StudyConfig:
    """A composed configuration as plain dataclasses, its references resolved."""
    refuse_unknown(composed, StudyConfig, "")
    return StudyConfig(**{field.name: plain(composed, field.name) for field in fields(StudyConfig)})


def plain(composed: DictConfig, section: str) -> Any:
    """One section of a composed configuration as a dataclass or value."""
    node = composed[section]
    return OmegaConf.to_object(node) if OmegaConf.is_config(node) else node


def refuse_unknown(node: DictConfig, schema: Any, prefix: str) -> None:
    """Refuse keys that the schema does not have, also those added with ++."""
    hints = hints_of(schema)
    for name in map(str, node):
        key = f"{prefix}{name}"
        if name not in hints and key != "hydra":
            value = OmegaConf.select(node, name)
            raise config_error(key, value, f"no such key{nearest(key, known_keys())}")
        if is_dataclass(hints.get(name)) and isinstance(node[name], DictConfig):
            refuse_unknown(node[name], hints[name], f"{key}.")

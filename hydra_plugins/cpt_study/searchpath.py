"""Makes the checkout's `sweeps/` a configuration group, from any working directory."""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.search_path_plugin import SearchPathPlugin

GROUP = "sweeps"


class SweepsConfigSource(FileConfigSource):
    """The group `sweeps` of a checkout. Hydra lists all files of a source for help and completion, but only these are
    configurations."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def is_group(self, config_path: str) -> bool:
        return config_path == "" or (_in_group(config_path) and super().is_group(config_path))

    def is_config(self, config_path: str) -> bool:
        return _in_group(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path:
            return super().list(config_path, results_filter)
        return [] if results_filter == ObjectType.CONFIG else [GROUP]


class SweepsSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        checkout = Path(__file__).resolve().parents[2]
        search_path.append(provider="cpt", path=f"{SweepsConfigSource.scheme()}://{checkout}")


def _in_group(config_path: str) -> bool:
    return Path(config_path).parts[:1] == (GROUP,)

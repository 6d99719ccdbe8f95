"""All points of a study, composed once in the launching process and turned into typed configurations."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study.compose.hydra_errors import translated
from cpt.study.compose.sections import MISTAKES, Sections
from cpt.study.compose.with_hydra import ByHydra, by_hydra


def compose_study(loader: ConfigLoader, master: DictConfig, points: Sequence[Sequence[str]]) -> list[StudyConfig]:
    """A configuration for each point. Every mistake in any of them is collected before the study is refused."""
    with by_hydra(loader, master) as hydra:
        sample = {0, len(points) // 2, len(points) - 1}
        compose = Sections(hydra).config if len(points) > len(sample) else hydra.config
        configs: list[StudyConfig] = []
        mistakes: dict[str, None] = {}
        for point in points:
            try:
                configs.append(compose(point))
            except MISTAKES as error:
                mistakes[str(translated(error))] = None
        if mistakes:
            raise UserError("\n".join(mistakes))
        if len(points) > len(sample):
            for number in sorted(sample):
                refuse_difference(hydra, points[number], configs[number])
    return configs


def refuse_difference(hydra: ByHydra, point: Sequence[str], config: StudyConfig) -> None:
    """What was put together is what Hydra composes: seen on some points of every study."""
    expected = hydra.config(point)
    if repr(config) != repr(expected):  # unlike ==, it tells 1 from 1.0 and from true, and one order from another
        raise RuntimeError(f"{' '.join(point)} is not composed as by Hydra:\n{config}\n{expected}")

"""Composes all points of a study as typed configurations, from few compositions by Hydra.

Hydra takes about 0.1 s to compose a point, so 3,600 of them would take minutes (docs/decisions.md). A configuration
consists of sections, one for each field of StudyConfig, and merging never crosses a section. So each choice of a group
is composed once with the first point's other choices, which shows the sections that it writes; choices that write
different sections are combined without Hydra. Values of the command line are applied, and references resolved, once for
each different section. Hydra composes all other points: choices with their own defaults or that write the same section
are composed together, and points with an unusual reference or a mistake are composed separately.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study.compose.hydra_errors import translated
from cpt.study.compose.with_hydra import HydraComposer, hydra_composer, plain, refuse_unknown

MISTAKES = (HydraException, OmegaConfBaseException, UserError)
NAMES = tuple(field.name for field in fields(StudyConfig))
REFERENCE = re.compile(r"\$\{(?:oc\.env:[^${}]*|([a-z_]+)(?:\.\w+)*)\}")
"""A reference to a key, with its section as the group, or to an environment variable, the same for all points."""

Lines = tuple[str, ...]
Origin = tuple[str, Lines, Lines]
"""What a section is made from: its name, the choices it was composed with, and the values applied to it."""


def compose_study(loader: ConfigLoader, master: DictConfig, points: Sequence[Sequence[str]]) -> list[StudyConfig]:
    """A configuration for each point; mistakes of all points are collected into one error."""
    with hydra_composer(loader, master) as hydra:
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
        for number in sorted(sample) if len(points) > len(sample) else ():
            refuse_difference(hydra, points[number], configs[number])
    return configs


def refuse_difference(hydra: HydraComposer, point: Sequence[str], config: StudyConfig) -> None:
    """Check some points of every study against Hydra's own composition."""
    expected = hydra.config(point)
    if repr(config) != repr(expected):  # unlike ==, it distinguishes 1 from 1.0 and from true, and orders
        raise RuntimeError(f"{' '.join(point)} is not composed as by Hydra:\n{config}\n{expected}")


class NeedsHydraError(Exception):
    """Hydra must compose a point as a whole; `cause` identifies the parts that points share."""

    def __init__(self, cause: frozenset[object]) -> None:
        self.cause = cause


class Sections:
    """Composes points section by section, each section once."""

    def __init__(self, hydra: HydraComposer) -> None:
        self.hydra = hydra
        self.composition = cache(hydra.composed)
        self.texts = cache(self._texts)
        self.override = cache(lambda line: OverridesParser.create().parse_overrides([line])[0])
        self.is_choice = cache(self._is_choice)
        self.sources = cache(self._sources)
        self._sections: dict[Origin, tuple[DictConfig, set[str]] | None] = {}
        self._objects: dict[tuple[Origin, ...], Any] = {}
        self._mistakes: dict[frozenset[object], UserError] = {}
        self._first: Lines | None = None

    def config(self, point: Sequence[str]) -> StudyConfig:
        """A point's configuration; a mistake that points share is only composed once."""
        try:
            return self._config(point)
        except NeedsHydraError as needed:
            if needed.cause not in self._mistakes:
                try:
                    return self.hydra.config(point)
                except MISTAKES as error:
                    self._mistakes[needed.cause] = translated(error)
            raise self._mistakes[needed.cause] from None

    def _config(self, point: Sequence[str]) -> StudyConfig:
        choices = tuple(line for line in point if self.is_choice(line))
        values: dict[str, Lines] = {}
        for line in point:
            if not self.is_choice(line):
                name = re.split(r"[.\[]", self.override(line).key_or_group)[0]
                values[name] = (*values.get(name, ()), line)
        try:
            sources = self.sources(choices)
        except MISTAKES as error:
            raise NeedsHydraError(frozenset([choices])) from error
        if unknown := (sources.keys() | values.keys()) - set(NAMES):
            raise NeedsHydraError(frozenset((name, values.get(name, choices)) for name in unknown))
        origins = {name: (name, sources[name], values.get(name, ())) for name in NAMES}
        objects: dict[str, Any] = {}
        failed: frozenset[object] = frozenset()
        for name in NAMES:
            try:
                objects[name] = self._object(name, origins)
            except NeedsHydraError as needed:
                failed |= needed.cause
        if failed:
            raise NeedsHydraError(failed)
        return StudyConfig(**objects)

    def _is_choice(self, line: str) -> bool:
        """Whether an override chooses from a group, as Hydra decides it."""
        override: Override = self.override(line)
        return self.hydra.files.group_exists(override.key_or_group) and not isinstance(override.value(), dict)

    def _texts(self, choices: Lines) -> dict[str, str]:
        """The text of each section with unresolved references; order and types of values matter."""
        written: Any = OmegaConf.to_container(self.composition(choices), resolve=False)
        return {name: repr(section) for name, section in written.items() if name != "hydra"}

    def _sources(self, choices: Lines) -> dict[str, Lines]:
        """The choices with which to compose each section."""
        return self._combined(choices) or dict.fromkeys(self.texts(choices), choices)

    def _combined(self, choices: Lines) -> dict[str, Lines] | None:
        """The sources of sections that differ from the first point in one choice; None if they overlap."""
        self._first = first = self._first or choices
        changed = [index for index, pair in enumerate(zip(first, choices, strict=False)) if pair[0] != pair[1]]
        if len(changed) < 2 or len(first) != len(choices):
            return None
        base = self.texts(first)
        sources = dict.fromkeys(base, first)
        written: set[str] = set()
        for index in changed:
            changed_choices = (*first[:index], choices[index], *first[index + 1 :])
            texts = self.texts(changed_choices)
            changed_sections = {name for name in base | texts if base.get(name) != texts.get(name)}
            if changed_sections & written or not self._independent(first[index], choices[index]):
                return None
            written |= changed_sections
            sources |= dict.fromkeys(changed_sections, changed_choices)
        return None if self.hydra.files.follows_choices else sources

    def _independent(self, *lines: str) -> bool:
        """Whether these are plain choices of one group, from files without defaults."""
        overrides: list[Override] = [self.override(line) for line in lines]
        values = [override.value() for override in overrides]
        files = {
            f"{override.key_or_group}/{name}"
            for override, value in zip(overrides, values, strict=True)
            for name in (value if isinstance(value, list) else [value])
        }
        return (
            len({override.key_or_group for override in overrides}) == 1
            and all(override.type is OverrideType.CHANGE and override.package is None for override in overrides)
            and all(map(self.hydra.files.has_no_defaults, files))
        )

    def _section(self, origin: Origin) -> tuple[DictConfig, set[str]]:
        """A section with its values applied, and the sections that it refers to."""
        if origin not in self._sections:
            try:
                self._sections[origin] = self._applied(*origin)
            except MISTAKES:
                self._sections[origin] = None
        if (section := self._sections[origin]) is None:
            raise NeedsHydraError(frozenset([origin]))
        return section

    def _applied(self, name: str, choices: Lines, values: Lines) -> tuple[DictConfig, set[str]] | None:
        config = combined_config({name: self.composition(choices)})
        overrides: list[Override] = [self.override(line) for line in values]
        if any(override.is_sweep_override() for override in overrides):
            return None
        ConfigLoaderImpl._apply_overrides_to_config(overrides, config)
        refuse_unknown(config, StudyConfig, "")
        text = OmegaConf.to_yaml(config)
        if "${" in (rest := REFERENCE.sub("", text)) or "\\$" in rest:
            return None
        mentions = set(filter(None, REFERENCE.findall(text)))
        return (config, mentions) if mentions <= set(NAMES) else None

    def _object(self, name: str, origins: dict[str, Origin]) -> Any:
        """A section resolved with those that it refers to. Points share it, so it must not change."""
        configs: dict[str, DictConfig] = {}
        new = [name]
        while new:
            each = new.pop()
            configs[each], mentions = self._section(origins[each])
            new += sorted(mentions - configs.keys())
        key = tuple(origins[each] for each in configs)
        if key not in self._objects:
            try:
                self._objects[key] = plain(configs[name] if len(configs) == 1 else combined_config(configs), name)
            except MISTAKES as error:
                raise NeedsHydraError(frozenset([key])) from error
        return self._objects[key]


def combined_config(configs: dict[str, DictConfig]) -> DictConfig:
    """A configuration of copied sections, closed to new keys like Hydra's."""
    config = OmegaConf.create({})
    OmegaConf.set_struct(config, True)
    with open_dict(config):
        for name, holder in configs.items():
            config[name] = holder._get_node(name)
    return config

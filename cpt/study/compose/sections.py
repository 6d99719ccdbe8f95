"""Thousands of points composed from few compositions of Hydra's: each choice of a group once, each value where it acts.

A composed configuration consists of sections: `model`, `train`, `seed`, one for each field of StudyConfig. Merging
never leaves a section, so what a choice writes is known from the sections in which a composition with it differs from
one without, and choices that write different sections combine without being composed together. Values of the command
line are applied by Hydra's own code, to the section that they name. A section is resolved together with the sections
that it refers to, once for each combination of these that occurs.

Whatever does not fit this picture is left to Hydra: choices with defaults of their own, or that meet in a section, are
composed together; a point with a reference that is more than a key (`${now:…}`), or that fails, is composed whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study.compose.hydra_errors import translated
from cpt.study.compose.with_hydra import ByHydra, plain, refuse_unknown

MISTAKES = (HydraException, OmegaConfBaseException, UserError)
NAMES = tuple(field.name for field in fields(StudyConfig))
REFERENCE = re.compile(r"\$\{(?:oc\.env:[^${}]*|([a-z_]+)(?:\.\w+)*)\}")
"""To a key, whose section is the group, or to a variable of the environment, which is the same for all points."""

Lines = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Composition:
    """What Hydra makes of some choices, before any value of the command line."""

    config: DictConfig

    @cached_property
    def texts(self) -> dict[str, str]:
        """Each section as it is written, references unresolved; order and types of values count."""
        written = OmegaConf.to_container(self.config, resolve=False)
        assert isinstance(written, dict)
        return {str(name): repr(section) for name, section in written.items() if name != "hydra"}

    def written_by(self, other: Composition) -> set[str]:
        """The sections that are different in another composition."""
        return {name for name in {**self.texts, **other.texts} if self.texts.get(name) != other.texts.get(name)}


@dataclass(frozen=True)
class Origin:
    """Where a section comes from: the composition it is taken from, and the values that are then applied to it."""

    name: str
    composition: Composition
    values: Lines


@dataclass(frozen=True)
class Section:
    """A section with its values applied, in a configuration of its own, and the sections that it refers to."""

    config: DictConfig
    mentions: frozenset[str]


class NeedsHydraError(Exception):
    """Parts of a point, by what they are made of, that cannot be had section by section."""

    def __init__(self, parts: frozenset[object]) -> None:
        self.parts = parts


class Sections:
    """The sections of a study's points; everything is made once and kept."""

    def __init__(self, hydra: ByHydra) -> None:
        self.hydra = hydra
        self._overrides: dict[str, Override] = {}
        self._choices: dict[str, bool] = {}
        self._compositions: dict[Lines, Composition] = {}
        self._origins: dict[Lines, dict[str, Composition]] = {}
        self._sections: dict[Origin, Section | None] = {}
        self._objects: dict[tuple[Origin, ...], Any] = {}
        self._mistakes: dict[frozenset[object], UserError] = {}
        self._first: Lines | None = None

    def config(self, point: Sequence[str]) -> StudyConfig:
        """A point's configuration. A mistake is told as Hydra finds it, once for all points that share it."""
        try:
            return self._config(point)
        except NeedsHydraError as needing:
            if needing.parts not in self._mistakes:
                try:
                    return self.hydra.config(point)
                except MISTAKES as error:
                    self._mistakes[needing.parts] = translated(error)
            raise self._mistakes[needing.parts] from None

    def _config(self, point: Sequence[str]) -> StudyConfig:
        choices = tuple(line for line in point if self._chooses(line))
        values: dict[str, Lines] = {}
        for line in point:
            if not self._chooses(line):
                name = re.split(r"[.\[]", self._override(line).key_or_group)[0]
                values[name] = (*values.get(name, ()), line)
        sources = self._sources(choices)
        if strange := frozenset((set(sources) | set(values)) - set(NAMES)):
            raise NeedsHydraError(frozenset((name, values.get(name, choices)) for name in strange))
        origins = {name: Origin(name, sources[name], values.get(name, ())) for name in NAMES}
        found: dict[str, Any] = {}
        failed: set[object] = set()
        for name in NAMES:
            try:
                found[name] = self._object(name, origins)
            except NeedsHydraError as needing:
                failed |= needing.parts
        if failed:
            raise NeedsHydraError(frozenset(failed))
        return StudyConfig(**found)

    def _override(self, line: str) -> Override:
        if line not in self._overrides:
            [self._overrides[line]] = OverridesParser.create().parse_overrides([line])
        return self._overrides[line]

    def _chooses(self, line: str) -> bool:
        """Whether it chooses from a group, as Hydra decides it."""
        if line not in self._choices:
            override = self._override(line)
            group = self.hydra.files.group_exists(override.key_or_group)
            self._choices[line] = group and not isinstance(override.value(), dict)
        return self._choices[line]

    def _sources(self, choices: Lines) -> dict[str, Composition]:
        """The composition that each section is taken from."""
        if choices not in self._origins:
            try:
                self._origins[choices] = self._combined(choices) or self._whole(choices)
            except MISTAKES as error:
                raise NeedsHydraError(frozenset([choices])) from error
        return self._origins[choices]

    def _whole(self, choices: Lines) -> dict[str, Composition]:
        composition = self._composition(choices)
        return dict.fromkeys(composition.texts, composition)

    def _composition(self, choices: Lines) -> Composition:
        if choices not in self._compositions:
            self._compositions[choices] = Composition(self.hydra.composed(choices))
        return self._compositions[choices]

    def _combined(self, choices: Lines) -> dict[str, Composition] | None:
        """Sections of compositions with one choice each that differs from the first point's, where that is sound."""
        self._first = first = self._first or choices
        places = [place for place, pair in enumerate(zip(first, choices, strict=False)) if pair[0] != pair[1]]
        if len(places) < 2 or len(first) != len(choices):
            return None
        found = self._whole(first)
        written: set[str] = set()
        for place in places:
            alone = self._composition((*first[:place], choices[place], *first[place + 1 :]))
            mine = self._composition(first).written_by(alone)
            if mine & written or not self._alike(first[place], choices[place]):
                return None
            written |= mine
            found |= dict.fromkeys(mine, alone)
        return None if self.hydra.files.follows_choices else found

    def _alike(self, *lines: str) -> bool:
        """Whether these are plain choices of one group, of files that bring nothing but what is written in them."""
        overrides = [self._override(line) for line in lines]
        if len({override.key_or_group for override in overrides}) > 1:
            return False
        for override in overrides:
            value = override.value()
            names = value if isinstance(value, list) else [value]
            if override.type is not OverrideType.CHANGE or override.package is not None:
                return False
            if not all(self.hydra.files.chooses_nothing(f"{override.key_or_group}/{name}") for name in names):
                return False
        return True

    def _section(self, origin: Origin) -> Section:
        if origin not in self._sections:
            try:
                self._sections[origin] = self._applied(origin)
            except MISTAKES:
                self._sections[origin] = None
        section = self._sections[origin]
        if section is None:
            raise NeedsHydraError(frozenset([origin]))
        return section

    def _applied(self, origin: Origin) -> Section | None:
        config = together([(origin.name, origin.composition.config)])
        overrides = [self._override(line) for line in origin.values]
        if any(override.is_sweep_override() for override in overrides):
            return None
        ConfigLoaderImpl._apply_overrides_to_config(overrides, config)
        refuse_unknown(config, StudyConfig, "")
        mentions: set[str] = set()
        for text in texts_in(OmegaConf.to_container(config, resolve=False)):
            if "${" in (rest := REFERENCE.sub("", text)) or "\\$" in rest:
                return None
            mentions |= {name for name in REFERENCE.findall(text) if name}
        return Section(config, frozenset(mentions)) if mentions <= set(NAMES) else None

    def _object(self, name: str, origins: dict[str, Origin]) -> Any:
        """A section resolved. Points share it: a configuration is never changed."""
        needed, new = {name: self._section(origins[name])}, [name]
        while new:
            for other in sorted(needed[new.pop()].mentions - set(needed)):
                needed[other] = self._section(origins[other])
                new.append(other)
        key = tuple(origins[each] for each in needed)
        if key not in self._objects:
            alone = len(needed) == 1
            config = needed[name].config if alone else together([(n, s.config) for n, s in needed.items()])
            try:
                self._objects[key] = plain(config, name)
            except MISTAKES as error:
                raise NeedsHydraError(frozenset([key])) from error
        return self._objects[key]


def together(sections: list[tuple[str, DictConfig]]) -> DictConfig:
    """A configuration of some sections, each copied out of another, as closed to new keys as Hydra's."""
    config = OmegaConf.create({})
    OmegaConf.set_struct(config, True)
    with open_dict(config):
        for name, holder in sections:
            config[name] = holder._get_node(name)
    return config


def texts_in(value: Any) -> list[str]:
    """All texts in nested lists and dictionaries."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_in(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_in(each)]
    return [value] if isinstance(value, str) else []

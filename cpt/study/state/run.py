"""A run: one point of a study, its identity, its data, its model and its evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cpt.config import StudyConfig
from cpt.corpora.cleaning_setup import CleaningSetup, cleaning_of
from cpt.corpora.library import Library
from cpt.corpora.toy.world import ToyWorld
from cpt.evals.benchmark import ScoringResources
from cpt.evals.benchmark_location import LAYOUTS, BenchmarkLocation
from cpt.evals.benchmarks.harness import download
from cpt.evals.items import unit_name
from cpt.evals.suite import BENCHMARKS, Suite
from cpt.files import read_json, write_json, write_text
from cpt.languages import ENGLISH, relatives
from cpt.models.base_model import BaseModel
from cpt.run_keys import added_parts, base_name, evaluate_key, key_of, prepare_key, run_name, train_key
from cpt.saved_config import config_text, read_config
from cpt.study.state.run_files import EVALUATE, PREPARE, TRAIN, RunFiles, RunState
from cpt.tokens.prepare_shards import DataRequest
from cpt.tokens.recipe import Ingredient, identity, other_arm, recipe

BASE = "base"


def world_of(config: StudyConfig) -> ToyWorld:
    return ToyWorld(Path(config.paths.cache))


def roles_of(config: StudyConfig) -> dict[str, str]:
    """The evaluated languages of a run and the role of each."""
    category = config.lang_category
    trained = [code for code in category.words if code != ENGLISH]
    related = category.related if category.related is not None else relatives([*trained, ENGLISH])
    return {ENGLISH: "english"} | dict.fromkeys(trained, "train") | dict.fromkeys(related, "related")


@dataclass(frozen=True)
class Run:
    """One point of a study. `base` marks the untouched base model, which is only evaluated."""

    config: StudyConfig
    base: bool = False
    categories: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """For a base model: each language category it is compared in, with the roles of its languages."""

    @classmethod
    def base_of(cls, config: StudyConfig) -> Run:
        """The untouched model of a point, for the category of that point."""
        roles = tuple(roles_of(config).items())
        return cls(config, base=True, categories=((config.lang_category.name, roles),))

    @cached_property
    def world(self) -> ToyWorld:
        return world_of(self.config)

    @cached_property
    def model(self) -> BaseModel:
        model = self.config.model
        return BaseModel(model.path, model.revision, self.world, model.weights)

    @property
    def trains(self) -> bool:
        """Whether this run trains its model, rather than only evaluating one."""
        return not self.base and self.config.checkpoint is None

    @cached_property
    def evaluated_model(self) -> BaseModel:
        """The model that is evaluated."""
        if self.config.checkpoint is not None:
            revision = self.config.model.revision if self.base else "main"
            return BaseModel(self.config.checkpoint, revision, self.world, key="checkpoint")
        return self.model if self.base else BaseModel(str(self.folder / "model"), "", self.world)

    @property
    def cache(self) -> Path:
        return Path(self.config.paths.cache)

    @cached_property
    def library(self) -> Library:
        key, build = cleaning_of(self.cleaning_setup)
        return Library(self.config.corpora, self.world, self.cache, key, build)

    @property
    def cleaning_setup(self) -> CleaningSetup:
        """The tools of cleaning; those of a real study are never built from toy text."""
        config, missing = self.config, Path("/nonexistent")
        available = {key: config.scale == "toy" or getattr(config.paths, key) for key in ("sib200", "flores200")}
        folders = {key: self._data_folder(key) if known else missing for key, known in available.items()}
        steps = json.dumps(config.cleaning.steps)
        return CleaningSetup(steps, config.paths.glotlid, **folders, world=self.world, cache=self.cache)

    @cached_property
    def recipe(self) -> list[Ingredient]:
        return recipe(self.config, self.library)

    @cached_property
    def other_arm(self) -> list[Ingredient]:
        return other_arm(self.config, self.library)

    @property
    def data_request(self) -> DataRequest:
        return DataRequest(self.config, self.recipe, self.model, self.other_arm)

    @cached_property
    def prepare_key(self) -> str:
        recipe = identity(self.config, self.recipe, self.other_arm)
        return prepare_key(recipe, self.model.tokenizer_fingerprint, self.config)

    @cached_property
    def train_key(self) -> str:
        if not self.trains:
            kind = () if self.base else ("checkpoint",)
            added, model = added_parts(self.config.model, "train"), self.evaluated_model
            return key_of(model.weights_fingerprint, model.tokenizer_fingerprint, *kind, *added)
        return train_key(self.prepare_key, self.config, self.model.weights_fingerprint)

    @property
    def name(self) -> str:
        if not self.base:
            return run_name(self.config)
        return base_name(self.config) if self.config.checkpoint is None else self.config.model.label

    @property
    def run_id(self) -> str:
        return f"{self.name}-{self.train_key[:8]}"

    @property
    def folder(self) -> Path:
        return Path(self.config.paths.runs) / self.config.study / self.run_id

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.folder)

    @property
    def state(self) -> RunState:
        keys = {PREPARE: lambda: self.prepare_key, TRAIN: lambda: self.train_key, EVALUATE: lambda: self.evaluate_key}
        return RunState(self.files, keys)

    @property
    def roles(self) -> dict[str, dict[str, str]]:
        """Roles of the evaluated languages, by category."""
        if self.base:
            return {category: dict(roles) for category, roles in self.categories}
        return {self.config.lang_category.name: roles_of(self.config)}

    @property
    def languages(self) -> list[str]:
        return list(dict.fromkeys(code for roles in self.roles.values() for code in roles))

    @property
    def heldout(self) -> Path:
        """Where the held-out text is."""
        return self._data_folder("heldout")

    def _data_folder(self, key: str) -> Path:
        if location := self.benchmark_location(key):
            return location.folder
        name, _, inside = key.partition("/")
        where = getattr(self.config.paths, name)
        if name == "harness" and where == download.HUB:
            return download.folder_of(self.cache, inside)
        return Path(where) / inside if where else self.world.folder / key

    def benchmark_location(self, key: str) -> BenchmarkLocation | None:
        """Where a benchmark's files are copied or downloaded from, if they are not read there directly."""
        path = getattr(self.config.paths, key) if key in LAYOUTS else None
        return BenchmarkLocation(key, path, self.cache) if path else None

    @cached_property
    def suite(self) -> Suite:
        evals, setup = self.config.evals, self.cleaning_setup
        folders = {name: self._data_folder(benchmark.paths_key) for name, benchmark in BENCHMARKS.items()}
        resources = ScoringResources(setup.output_identifier, setup.identifier_key, evals.spbleu_sha256)
        return Suite.of(evals.benchmarks, folders, evals.bootstrap, resources, self.config.hardware.backend)

    @cached_property
    def evaluate_key(self) -> str:
        units, _ = self.suite.units(self.languages)
        return evaluate_key(self.train_key, [self.suite.key(unit) for unit in units], self.roles, self.config)

    def prompt_keys(self) -> dict[str, str]:
        """The prompt key of each unit, by the unit's name in files."""
        return {unit_name(unit): self.suite.prompt_key(unit) for unit in self.suite.units(self.languages)[0]}

    def save_config(self) -> None:
        """Save the whole configuration in the folder, where worker processes read it."""
        text = config_text(self.config)
        categories = self.files.categories
        if self.base:
            write_json(categories, self.categories)
        else:
            categories.unlink(missing_ok=True)
        if not self.state.done(EVALUATE):
            self.files.marker(EVALUATE).unlink(missing_ok=True)  # the marker of an evaluation with other settings
        path = self.files.config
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    @classmethod
    def from_folder(cls, folder: Path) -> Run:
        """The run of a folder, as it was saved."""
        config = read_config(folder)
        path = RunFiles(folder).categories
        if not path.exists():
            return cls(config)
        categories = tuple((name, tuple((code, role) for code, role in roles)) for name, roles in read_json(path))
        return cls(config, base=True, categories=categories)

"""A run and its folder: what it is made of, what of it is done, and the same things read back from disk.

runs/<study>/<name>-<key>/
    config.yaml     frozen configuration       status.json    where it is now
    prepare.done train.done evaluate.done      markers, each written last
    metrics.jsonl   one line a step            ledger.json    what it consumed
    curve.jsonl     bits per byte in training  checkpoints/   while it trains
    items/          questions and answers      evals.jsonl    scores unit by unit
    scores/         scores item by item        results.jsonl  result rows
    model/          weights, tokenizer, card   log.txt        what its process said
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from cpt.config import StudyConfig
from cpt.corpora.cleaning_setup import CleaningSetup, cleaning_of
from cpt.corpora.document import CODE
from cpt.corpora.library import Library
from cpt.corpora.toy.world import ToyWorld
from cpt.evals.benchmark import ScoringResources
from cpt.evals.benchmark_location import LAYOUTS, BenchmarkLocation
from cpt.evals.benchmarks.harness import download
from cpt.evals.items import unit_name
from cpt.evals.rows import Row
from cpt.evals.suite import BENCHMARKS, Suite, known_scores, known_units
from cpt.files import read_json, write_json, write_text
from cpt.keys import added_parts, base_name, evaluate_key, key_of, prepare_key, run_name, shown_path, train_key
from cpt.languages import ENGLISH, relatives
from cpt.models.base_model import BaseModel
from cpt.saved_config import CONFIG, config_text, read_config
from cpt.tokens.prepare_shards import DataRequest
from cpt.tokens.recipe import Ingredient, identity, other_arm, recipe

PREPARE, TRAIN, EVALUATE = STAGES = ("prepare", "train", "evaluate")
BASE = "base"
PRIVATE_HARDWARE = ("account", "container", "venv")
"""Settings of the hardware that say who computes, and where things lie there."""


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
    """One point of a study. `base` stands for the untouched model, which is only evaluated."""

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
        """Whether this run makes its model itself, and is not only the evaluation of one."""
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
        """What cleaning is done with; a real study's tools are never made of toy text."""
        config, nowhere = self.config, Path("/nonexistent")
        toy = config.scale == "toy"
        folders = {
            key: self._given(key) if toy or getattr(config.paths, key) else nowhere for key in ("sib200", "flores200")
        }
        return CleaningSetup(
            json.dumps(config.cleaning.steps), config.paths.glotlid, **folders, world=self.world, cache=self.cache
        )

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
        return self._given("heldout")

    def _given(self, key: str) -> Path:
        if place := self.place(key):
            return place.folder
        name, _, inside = key.partition("/")
        where = getattr(self.config.paths, name)
        if name == "harness" and where == download.HUB:
            return download.folder_of(self.cache, inside)
        return Path(where) / inside if where else self.world.folder / key

    def place(self, key: str) -> BenchmarkLocation | None:
        """Where the files of a benchmark come from that may lie elsewhere than where they are read."""
        where = getattr(self.config.paths, key) if key in LAYOUTS else None
        return BenchmarkLocation(key, where, self.cache) if where else None

    def ledger(self) -> dict[str, Any]:
        """What the run consumed, once it is trained."""
        return cast("dict[str, Any]", read_json(self.folder / "ledger.json"))

    @cached_property
    def suite(self) -> Suite:
        evals, setup = self.config.evals, self.cleaning_setup
        folders = {name: self._given(benchmark.paths_key) for name, benchmark in BENCHMARKS.items()}
        resources = ScoringResources(setup.output_identifier, setup.identifier_key, evals.spbleu_sha256)
        return Suite.of(evals.benchmarks, folders, evals.bootstrap, resources, self.config.hardware.backend)

    @cached_property
    def evaluate_key(self) -> str:
        units, _ = self.suite.units(self.languages)
        return evaluate_key(self.train_key, [self.suite.key(unit) for unit in units], self.roles, self.config)

    def rows(self) -> list[Row]:
        """Result rows from the scores in the journal, one set for each language category."""
        units, _ = self.suite.units(self.languages)
        scores = known_scores(self.folder / "evals.jsonl")
        keys = {unit: self.suite.key(unit) for unit in units}
        return [
            Row(
                run=self.name,
                run_id=self.run_id,
                model=self.config.model.name,
                data=BASE if self.base else self.config.data_mix.name,
                code=self.config.code and not self.base,
                langcat=category,
                seed=None if self.base else self.config.seed,
                language=unit.language,
                role=CODE if unit.language == CODE else roles[unit.language],
                task=unit.task,
                direction=unit.direction,
                protocol=unit.protocol,
                metric=score.metric,
                value=score.value,
                n=score.n,
                ci_low=score.ci_low,
                ci_high=score.ci_high,
                signature=score.signature,
            )
            for category, roles in self.roles.items()
            for unit in units
            if unit.language in roles or unit.language == CODE
            for score in scores[keys[unit]]
        ]

    def marker(self, stage: str) -> Path:
        return self.folder / f"{stage}.done"

    def done(self, stage: str) -> bool:
        """Whether a stage is finished for this very run: its marker is there and carries the stage's key."""
        path = self.marker(stage)
        if not path.exists():
            return False
        facts = read_json(path)
        made = [self.folder / "model" / name for name in facts.get("weights", ())]
        return bool(facts["key"] == self._key(stage)) and all(file.exists() for file in made)

    @property
    def last_stage(self) -> str:
        """The last finished stage; empty if none is."""
        return next((stage for stage in reversed(STAGES) if self.done(stage)), "")

    def finish(self, stage: str, **facts: Any) -> None:
        write_json(self.marker(stage), {"key": self._key(stage), **facts})

    def _key(self, stage: str) -> str:
        return str(getattr(self, f"{stage}_key"))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do; rows that were damaged since are written again from the journal."""
        path = self.folder / "results.jsonl"
        if not (self.done("evaluate") and path.exists()):
            return False
        facts = read_json(self.marker("evaluate"))
        return bool(facts.get("sha256") == self.rows_sum())

    def rows_sum(self) -> str:
        return hashlib.sha256((self.folder / "results.jsonl").read_bytes()).hexdigest()

    def prompt_keys(self) -> dict[str, str]:
        """The key of what is asked in each unit, by the unit's name in files."""
        return {unit_name(unit): self.suite.prompt_key(unit) for unit in self.suite.units(self.languages)[0]}

    def dropped_benchmarks(self) -> list[str]:
        """Benchmarks, with their protocols, that the run has scores of and is not asked now."""
        path = self.marker("evaluate")
        asked = read_json(path).get("asked", {}) if path.exists() else {}
        before = [unit for unit in known_units(self.folder / "evals.jsonl") if unit_name(unit) in asked]
        then, now = (
            {(unit.task, unit.protocol) for unit in units} for units in (before, self.suite.units(self.languages)[0])
        )
        return sorted(" ".join(filter(None, names)) for names in then - now)

    def save_config(self) -> None:
        """Keep the whole configuration in the folder: workers read this, and never compose."""
        text = config_text(self.config)
        categories = self.folder / "categories.json"
        if self.base:
            write_json(categories, self.categories)
        else:
            categories.unlink(missing_ok=True)
        if not self.done("evaluate"):
            self.marker("evaluate").unlink(missing_ok=True)  # rows of another measuring are not this run's
        path = self.folder / CONFIG
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    def public_config(self) -> dict[str, Any]:
        """The configuration without where things lie on this machine, for mirrors and cards."""
        shown = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.structured(self.config)))
        shown["model"]["path"] = shown_path(shown["model"]["path"])
        shown["mixing"]["code"]["tokenizer"] = shown_path(shown["mixing"]["code"]["tokenizer"])
        shown["mixing"]["tokenizer"] = shown_path(shown["mixing"]["tokenizer"])
        shown["corpora"] = {"name": shown["corpora"]["name"], "matched": shown["corpora"]["matched"]}
        shown["hardware"] = {key: value for key, value in shown["hardware"].items() if key not in PRIVATE_HARDWARE}
        if shown["checkpoint"] is not None:
            shown["checkpoint"] = shown_path(shown["checkpoint"])
        return {key: value for key, value in shown.items() if key not in ("paths", "dry_run", "sweeps")}

    @classmethod
    def from_folder(cls, folder: Path) -> Run:
        """The run of a folder, as it was saved."""
        config = read_config(folder)
        path = folder / "categories.json"
        if not path.exists():
            return cls(config)
        categories = tuple((name, tuple((code, role) for code, role in roles)) for name, roles in read_json(path))
        return cls(config, base=True, categories=categories)

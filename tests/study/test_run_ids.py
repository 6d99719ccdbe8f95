"""Ids and keys of the 36 runs at both scales stay as they were, also when a setting is added later."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

from cpt.added_keys import added_key, added_settings, hashed_settings
from cpt.config import StudyConfig
from cpt.study.launch.run_set import base_runs
from cpt.study.state.run import Run

Compose = Callable[..., list[StudyConfig]]
AXES = ("model=l3,l2,v7", "data=mono,bi", "code=true,false", "langcat=alt,sel,stag")
KNOWN = list(csv.DictReader(Path(__file__).with_name("run_ids.csv").open(encoding="utf-8", newline="")))
"""Made by the version before keys could be added."""


def known(scale: str, column: str = "run_id") -> dict[str, str]:
    return {row["run_id"]: row[column] for row in KNOWN if row["scale"] == scale}


def with_key(settings: Any, stage: Any, value: Any, neutral: Any = 0.0) -> Any:
    """The same settings, of a class that has one key more."""
    kind = type(settings)
    grown = make_dataclass(kind.__name__, [("later", Any, added_key(neutral, stage))], bases=(kind,))
    return grown(**{item.name: getattr(settings, item.name) for item in fields(settings)}, later=value)


def test_toy_runs_keep_their_ids_and_their_evaluations(compose: Compose, cache: Path) -> None:
    runs = [Run(config) for config in compose("-m", *AXES, f"paths.cache={cache}")]
    everyone = [*base_runs(runs), *runs]
    runs[0].world.benchmarks()
    assert {run.run_id: run.evaluate_key[:16] for run in everyone} == known("toy", "evaluate_key")


def test_runs_of_the_published_scale_keep_their_ids(compose: Compose) -> None:
    runs = [Run(config) for config in compose("-m", *AXES, "scale=paper", "dry_run=true")]
    assert sorted(run.run_id for run in runs) == sorted(known("paper"))


def test_an_added_key_renames_nothing_until_it_is_used(compose: Compose, cache: Path) -> None:
    [config] = compose(f"paths.cache={cache}")
    Run(config).world.benchmarks()

    def keys(grown: StudyConfig) -> tuple[str, str, str]:
        run = Run(grown)
        return run.prepare_key, run.train_key, run.evaluate_key

    before = keys(config)
    for section in ("train", "schedule", "model", "mixing", "lang_category", "evals", None):
        for number, stage in enumerate(("prepare", "train", "evaluate")):
            for value in (0.0, 0.5):
                changed = with_key(getattr(config, section) if section else config, stage, value)
                after = keys(replace(config, **{section: changed}) if section else changed)
                same = [one == other for one, other in zip(after, before, strict=True)]
                # Training settings are hashed whole, so a new one of a later stage is part of the train key too.
                first = min(number, 1) if section in ("train", "schedule") else number
                assert same == ([True] * 3 if value == 0.0 else [True] * first + [False] * (3 - first)), section


def test_an_added_key_of_a_benchmark_orphans_no_answer(compose: Compose, cache: Path) -> None:
    [config] = compose(f"paths.cache={cache}")
    run = Run(config)
    run.world.benchmarks()

    def keys(value: str) -> dict[str, str]:
        sib200 = with_key(config.evals.benchmarks["sib200"], "evaluate", value, neutral="")
        evals = replace(config.evals, benchmarks={**config.evals.benchmarks, "sib200": sib200})
        suite = Run(replace(config, evals=evals)).suite
        return {unit.title: suite.prompt_key(unit) for unit in suite.units(run.languages)[0]}

    before = {unit.title: run.suite.prompt_key(unit) for unit in run.suite.units(run.languages)[0]}
    assert keys("") == before
    changed = {title for title, key in keys("new").items() if key != before[title]}
    assert changed
    assert changed == {unit.title for unit in run.suite.units(run.languages)[0] if unit.task == "sib200"}


@dataclass
class Inner:
    old: int = 1
    new: list[int] = added_key([], stage="train")


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    saved: int = added_key(3, stage=None)
    mode: str = added_key("plain", stage="evaluate")


def test_hashed_settings_leave_out_neutral_keys_and_keys_of_no_stage() -> None:
    assert hashed_settings(Outer()) == {"inner": {"old": 1}}
    assert hashed_settings(Outer(Inner(2, [5]), 9, "fast")) == {"inner": {"old": 2, "new": [5]}, "mode": "fast"}
    assert hashed_settings({"a": [Inner()]}) == {"a": [{"old": 1}]}


def test_added_settings_are_named_by_stage() -> None:
    changed = Outer(Inner(2, [5]), 9, "fast")
    assert added_settings(Outer(), "train") == {}
    assert added_settings(changed, "train") == {"inner.new": [5]}
    assert added_settings(changed, "evaluate") == {"mode": "fast"}
    assert added_settings(changed, "prepare") == {}


def test_defaults_of_added_keys_are_not_shared() -> None:
    one, other = Inner(), Inner()
    one.new.append(1)
    assert other.new == []

"""What is put together from sections is what Hydra composes: every group, every kind of value, every odd override."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import AXES, ROOT
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from cpt.config import StudyConfig
from cpt.study.compose.compose_points import Sections
from cpt.study.compose.with_hydra import HydraComposer, hydra_composer

Compose = Callable[..., list[StudyConfig]]


@pytest.fixture(scope="module")
def hydra() -> Iterator[HydraComposer]:
    ConfigStore.instance().store(name="schema", node=StudyConfig, provider="cpt")
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
        loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    with hydra_composer(loader, master) as hydra:
        yield hydra


class Counting(HydraComposer):
    compositions = 0

    def composed(self, overrides: Sequence[str]) -> DictConfig:
        self.compositions += 1
        return super().composed(overrides)


def same(hydra: HydraComposer, *points: str) -> Sections:
    """Points, each as on a command line and all with the first as what others are set against."""
    sections = Sections(hydra)
    for point in points:
        overrides = point.split("  ")
        assert repr(sections.config(overrides)) == repr(hydra.config(overrides)), point
    return sections


GROUPS_ADDED = """# @package _global_
defaults:
  - /first: none
  - /second: none
  - /third: none
"""
CHOICES = {
    group: sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    for group in ("model", "data", "langcat", "mixing", "schedule", "corpora", "cleaning", "tracking", "evals")
}


def test_every_choice_combines_with_every_other_group(hydra: HydraComposer) -> None:
    """Each point has another choice of every group than the one before, and some of the benchmarks."""
    points = []
    others = {group: names for group, names in CHOICES.items() if group != "evals"}
    for number in range(most := max(map(len, others.values()))):
        chosen = {group: names[number % len(names)] for group, names in others.items()}
        chosen["evals"] = f"[{','.join(CHOICES['evals'][number::most])}]"
        points.append("  ".join(f"{group}={name}" for group, name in chosen.items()) + "  paths.corpora=/text")
    same(hydra, *points)


def test_a_choice_is_composed_once_whatever_it_is_combined_with(hydra: HydraComposer) -> None:
    points = [
        f"model={model}  data={data}  langcat={langcat}  seed={seed}"
        for model in CHOICES["model"]
        for data in CHOICES["data"]
        for langcat in CHOICES["langcat"]
        for seed in (1, 2)
    ]
    counting = Counting(hydra.loader, hydra.master, hydra.files)
    sections = Sections(counting)
    for point in points:
        sections.config(point.split("  "))
    assert len(points) == 36
    assert counting.compositions == 1 + 2 + 1 + 2  # the first point's choices, and every other choice beside them


def test_values_of_every_kind(hydra: HydraComposer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    values = [
        "seed=1",
        "seed=7",
        "code=true",
        "train.lr=1e-3",
        "train.lr=1",
        "model.hub=other/hub",  # model.path refers to it
        "study=${model.name}-${seed}",
        "study=${scale}",
        "train.clip=${train.lr}",
        "paths.runs=${oc.env:SCRATCH}/runs",
        "paths.runs=${oc.decode:'x'}",  # more than a key: left to Hydra
        "mixing.total=null",
        "mixing.total=1e6",
        "model.label='a b'",
        "model.label='1'",
        "model.label=1",
        "model.label='${oc.env:SCRATCH}'",
        "model.label=\\${seed}",
        "train.curve.at=[0,0.5,1]",
        "protocol=[paper]",  # benchmarks refer to it
        "lang_category.words.zul_Latn=5",
        "++lang_category.words={fra_Latn:5}",
        "lang_category={words:{zul_Latn:6}}",
        "+cleaning.steps.x={a:1}",
        "+cleaning.steps.x={a:true}",
        "+lang_category.words.fra_Latn=6",
        "~lang_category.words.zul_Latn",
        "~lang_category.words.zul_Latn  +lang_category.words.zul_Latn=6",
        "train.lr=1  train.lr=${train.clip}",
        "model.path=a  model={path:b}",
        "model={path:b}  model.path=a",
        "evals=[bpb]  evals.bootstrap=100",
        "evals.bootstrap=100  evals=[bpb,arc]",
    ]
    same(hydra, *(f"scale=paper  model=l2  {value}" for value in values))


def test_choices_that_are_more_than_a_choice(hydra: HydraComposer) -> None:
    same(
        hydra,
        "scale=toy  model=l3  cleaning=sound  ~cleaning.steps.ratio",
        "scale=paper  model=l2  cleaning=sound  ~cleaning.steps.ratio",  # it chooses for other groups
        "scale=paper  model=l2  cleaning=sound  ~cleaning.steps.ratio  schedule=wsd",
        "scale=toy  +langcat@lang_category=sel  model=v7  data=bi",
        "~schedule  model=l2  data=bi  schedule.kind=linear",
        "sweeps=released36  model=l2  data=bi",
        "tracking=none  langcat=sel",
        "model=l2  scale=toy  langcat=sel",
    )


def test_choices_that_meet_in_a_section_are_composed_together(tmp_path: Path, hydra: HydraComposer) -> None:
    """The later one of two files that write the same key wins, also where neither is the first point's."""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "three.yaml").write_text(GROUPS_ADDED)
    for group, key in (("first", "lr: 1"), ("second", "lr: 2"), ("third", "clip: 3")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "none.yaml").write_text("# @package train\n{}\n")
        (tmp_path / group / "some.yaml").write_text(f"# @package train\n{key}\n")
    master = hydra.loader.load_configuration(
        "config", [f"hydra.searchpath=[file://{tmp_path}]"], run_mode=RunMode.MULTIRUN
    )
    with hydra_composer(hydra.loader, master) as other:
        points = [
            f"+added=three  first={first}  second={second}  third={third}"
            for first in ("none", "some")
            for second in ("none", "some")
            for third in ("none", "some")
        ]
        same(other, *points)


def test_every_mistake_is_told_once_as_hydra_finds_it(mistake: Callable[..., str]) -> None:
    told = mistake("-m", "model=l4,l3", "seed=x,1,2", "train.lr=abc,1e-3", "data=mono,bi").strip().splitlines()
    assert told == [
        "model=l4: no such choice; known: l2, l3, v7; did you mean 'l3'?",
        "seed=x: expected a whole number",
        "train.lr=abc: expected a number",
    ]


def test_a_study_that_is_put_together_otherwise_than_by_hydra_is_refused(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Sections.config

    def astray(self: Sections, point: list[str]) -> StudyConfig:
        config = whole(self, point)
        config.seed = 1.0 if point == last else config.seed  # type: ignore[assignment]
        return config

    last = ["model=v7", "data=bi", "code=False", "langcat=stag"]
    monkeypatch.setattr(Sections, "config", astray)
    with pytest.raises(RuntimeError, match="model=v7 data=bi code=False langcat=stag is not composed as by Hydra"):
        compose("-m", *AXES)

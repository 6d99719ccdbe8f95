"""Every configuration that is shipped composes, and is what it says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import AXES, ROOT

from cpt.config import StudyConfig
from cpt.run_keys import hub_name, run_name
from cpt.study.checks.value_checks import check
from cpt.study.compose.hydra_errors import groups
from cpt.study.state.run import Run

Compose = Callable[..., list[StudyConfig]]


@pytest.mark.parametrize("scale", ["toy", "paper"])
def test_all_36_compose_to_distinct_runs(compose: Compose, scale: str) -> None:
    configs = compose("-m", *AXES, f"scale={scale}", "dry_run=true")
    runs = [Run(config) for config in configs]
    assert len({run.run_id for run in runs}) == len({run.name for run in runs}) == 36
    assert [error for run in runs for error in check(run)] == []
    assert {"L3-Bi+Code-Stag", "V7-Mono-Alt", "L2-Bi-Sel"} <= {run.name for run in runs}


@pytest.mark.parametrize("path", sorted(ROOT.glob("sweeps/*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_composes_from_any_folder(
    compose: Compose, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = compose(f"sweeps={path.stem}", "dry_run=true")
    expected = {"paper36": 36, "released36": 36, "smoke": 2, "mono_vs_bi": 18}
    assert len({Run(config).run_id for config in configs}) == expected[path.stem]
    assert [error for config in configs for error in check(Run(config))] == []


def test_every_choice_of_every_group_composes(compose: Compose) -> None:
    for group in groups():
        names = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
        if not names:
            continue  # sweeps lie beside conf/, and have a test of their own
        choices = [f"[{name}]" if group == "evals" else name for name in names]
        assert len(compose("-m", f"{group}={','.join(choices)}")) == len(names)


def test_the_command_line_wins_over_a_sweep_file(compose: Compose) -> None:
    configs = compose("sweeps=paper36", "data=mono", "model=l2")
    assert len(configs) == 6
    assert {(config.model.name, config.data_mix.name) for config in configs} == {("l2", "mono")}


def test_groups_fill_their_nodes_and_node_paths_override(compose: Compose) -> None:
    [config] = compose("data=bi", "langcat=stag", "data_mix.pairs_per_document=7", "lang_category.words.wol_Latn=99")
    assert (config.data_mix.name, config.data_mix.pairs_per_document) == ("bi", 7)
    assert (config.lang_category.name, config.lang_category.words["wol_Latn"]) == ("stag", 99)


def test_the_seed_is_an_axis_whose_names_never_collide(compose: Compose) -> None:
    configs = compose("-m", "seed=1,2,3", "data=mono,bi")
    assert len({run_name(config) for config in configs}) == len({Run(config).run_id for config in configs}) == 6


def test_hub_names_have_no_plus(compose: Compose) -> None:
    [config] = compose("data=bi", "code=true", "langcat=stag")
    assert run_name(config) == "L3-Bi+Code-Stag"
    assert hub_name(run_name(config)) == "L3-Bi-Code-Stag"


def test_a_composed_study_survives_freezing(compose: Compose, tmp_path: Path) -> None:
    [config] = compose("data=bi", "langcat=sel", "seed=4", f"paths.runs={tmp_path}")
    run = Run(config)
    run.save_config()
    assert Run.from_folder(run.folder).config == config
    assert Run.from_folder(run.folder).run_id == run.run_id

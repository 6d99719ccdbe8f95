"""What `evaluate.py` takes a checkpoint for, before anything is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cpt.config import StudyConfig
from cpt.console import make_console
from cpt.errors import UserError
from cpt.study.launch.evaluate_models import runs_to_evaluate

Compose = Callable[..., list[StudyConfig]]


def test_the_released_models_are_named_as_the_hub_names_them(compose: Compose) -> None:
    runs = runs_to_evaluate(compose("sweeps=released36"), make_console())
    assert [run.name for run in runs[:3]] == ["L3-Base", "L2-Base", "V7-Base"]
    assert {category for run in runs[:3] for category in run.roles} == {"alt", "sel", "stag"}
    released = {run.name: run for run in runs[3:]}
    assert len(released) == 36
    one = released["L3-Bi+Code-Stag"]
    assert one.evaluated_model.path == "Zihao-Li/L3-Bi-Code-Stag"
    assert one.model.path == "meta-llama/Llama-3.1-8B"
    assert not any(run.trains for run in runs)
    assert {tuple(b.protocol) for run in runs for b in run.config.evals.benchmarks.values()} == {("paper",)}
    assert len({run.run_id for run in runs}) == 39


def test_only_the_name_of_a_run_stands_in_braces(compose: Compose) -> None:
    [config] = compose('checkpoint="me/{nam}"', "scale=paper")
    with pytest.raises(UserError, match=r"checkpoint=me/{nam}: only {name} is allowed in braces"):
        runs_to_evaluate([config], make_console())
    [config] = compose('checkpoint="me/{name}"')
    with pytest.raises(UserError, match="give scale=paper"):
        runs_to_evaluate([config], make_console())


def test_a_model_alone_is_called_by_its_last_name_and_is_no_toy(compose: Compose) -> None:
    configs = compose("-m", "checkpoint=org/my.model-7B,there/other", "langcat=alt,sel")
    runs = runs_to_evaluate(configs, make_console())
    assert [(run.name, run.config.scale, list(run.roles)) for run in runs] == [
        ("my.model-7B", "real", ["alt", "sel"]),
        ("other", "real", ["alt", "sel"]),
    ]


def test_models_of_one_folder_name_are_told_apart_by_more_of_their_paths(compose: Compose) -> None:
    runs = runs_to_evaluate(compose("-m", "checkpoint=a/final,b/final,c/last"), make_console())
    assert [run.name for run in runs] == ["a-final", "b-final", "last"]


def test_what_is_no_model_is_told_as_what_it_is(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for study in ("toy", "other"):
        (tmp_path / "runs" / study / "L3-Base-1").mkdir(parents=True)
        (tmp_path / "runs" / study / "L3-Base-1/status.json").touch()
    for where, why in (("file", "it is a file"), ("runs", "it contains studies; give one of them: other, toy")):
        with pytest.raises(UserError, match=why):
            runs_to_evaluate(compose(f"checkpoint={tmp_path / where}"), make_console())


def test_a_copied_toy_is_still_one(compose: Compose, tmp_path: Path) -> None:
    card = "---\nlibrary_name: transformers\ntags:\n  - continual-pretraining\n{}---\n\n  - toy\n"
    for name, tag in (("toy", "  - toy\n"), ("mine", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(card.format(tag))
    runs = runs_to_evaluate(compose("-m", f"checkpoint={tmp_path}/toy,{tmp_path}/mine"), make_console())
    assert [run.config.scale for run in runs] == ["toy", "real"]

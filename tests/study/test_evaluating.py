"""What `evaluate.py` takes a checkpoint for, before anything is loaded."""

from collections.abc import Callable

import pytest

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.study.console import people_console
from cpt.study.evaluating import named

Compose = Callable[..., list[StudyConfig]]


def test_the_released_models_are_named_as_the_hub_names_them(compose: Compose) -> None:
    runs = named(compose("sweeps=released36"), people_console())
    assert [run.name for run in runs[:3]] == ["L3-Base", "L2-Base", "V7-Base"]
    assert {category for run in runs[:3] for category in run.roles} == {"alt", "sel", "stag"}
    released = {run.name: run for run in runs[3:]}
    assert len(released) == 36
    one = released["L3-Bi+Code-Stag"]
    assert one.asked.path == "Zihao-Li/L3-Bi-Code-Stag"
    assert one.model.path == "meta-llama/Llama-3.1-8B"
    assert not any(run.trains for run in runs)
    assert {tuple(b.protocol) for run in runs for b in run.config.evals.benchmarks.values()} == {("paper",)}
    assert len({run.run_id for run in runs}) == 39


def test_only_the_name_of_a_run_stands_in_braces(compose: Compose) -> None:
    [config] = compose('checkpoint="me/{nam}"', "scale=paper")
    with pytest.raises(UserError, match=r"checkpoint=me/{nam}: only {name} may stand in braces"):
        named([config], people_console())
    [config] = compose('checkpoint="me/{name}"')
    with pytest.raises(UserError, match="give scale=paper"):
        named([config], people_console())


def test_a_model_alone_is_called_by_its_last_name_and_is_no_toy(compose: Compose) -> None:
    configs = compose("-m", "checkpoint=org/my.model-7B,there/other", "langcat=alt,sel")
    runs = named(configs, people_console())
    assert [(run.name, run.config.scale, list(run.roles)) for run in runs] == [
        ("my.model-7B", "real", ["alt", "sel"]),
        ("other", "real", ["alt", "sel"]),
    ]

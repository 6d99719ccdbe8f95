"""A saved configuration is read as OmegaConf reads it, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.saved_config import config_text, read_config

Compose = Callable[..., list[StudyConfig]]


@pytest.mark.parametrize("argument", ["scale=toy", "scale=paper", "hardware=lumi", "mixing=temperature"])
def test_what_is_read_is_what_was_saved(compose: Compose, tmp_path: Path, argument: str) -> None:
    [config] = compose(argument, *(["hardware.account=x"] if "lumi" in argument else []))
    (tmp_path / "config.yaml").write_text(config_text(config), encoding="utf-8")
    assert repr(read_config(tmp_path)) == repr(config)
    assert read_config(tmp_path).hardware is not read_config(tmp_path).hardware


def test_edited_by_hand_it_is_read_as_omegaconf_would(compose: Compose, tmp_path: Path) -> None:
    [config] = compose()
    edited = OmegaConf.structured(config)
    text = OmegaConf.to_yaml(edited).replace("seed: 1\n", "seed: '7'\n")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("wait:"))
    (tmp_path / "config.yaml").write_text(text.replace("lr: ", "lr: 1  # "), encoding="utf-8")
    read = read_config(tmp_path)
    assert (read.seed, read.wait, read.train.lr, type(read.train.lr)) == (7, False, 1.0, float)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 1", "sed: 1"),
        ("seed: 1", "seed: one"),
        ("model:\n", "model: 3\nm:\n"),
        ("scale: toy", "scale: ???"),
    ],
)
def test_a_damaged_one_is_refused(compose: Compose, tmp_path: Path, old: str, new: str) -> None:
    [config] = compose("scale=toy")
    text = config_text(config)
    assert old in text
    (tmp_path / "config.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.yaml is damaged .*; remove the folder"):
        read_config(tmp_path)

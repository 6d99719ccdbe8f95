"""Checkpoints are whole or unused, and kept by rule; the final model is what others read."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import BATCH, MIX, KillAfter, KilledError, Losses, engine, plan, rate, tiny, weights
from transformers import AutoModelForCausalLM

from cpt.errors import UserError
from cpt.train import checkpoint as module
from cpt.train import final_model
from cpt.train.checkpoint import Checkpoints, assign_owners
from cpt.train.final_model import shards, write_model
from cpt.train.loop import train


def trained(folder: Path, **rule: Any) -> Checkpoints:
    """What is on disk when a run of 10 steps, saved every 2, was killed after 7."""
    kept = plan(10, folder, save_every=2, **rule)
    with pytest.raises(KilledError):
        train(engine(), MIX, kept, [rate(), KillAfter(7)])
    assert kept.checkpoints is not None
    return kept.checkpoints


def resumed_from(folder: Path, **changes: Any) -> int:
    losses = Losses()
    train(engine(), MIX, plan(10, folder, **changes), [rate(), losses])
    return losses.seen[0][0] - 1 if losses.seen else 10


@pytest.mark.parametrize(
    ("rule", "left"),
    [({}, [4, 6]), ({"keep_last": 1}, [6]), ({"keep_last": 3}, [2, 4, 6]), ({"keep_last": 1, "keep_every": 4}, [4, 6])],
)
def test_checkpoints_are_kept_by_rule(rule: dict[str, int], left: list[int], tmp_path: Path) -> None:
    assert trained(tmp_path, **rule).steps() == left
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["weights-000-00.safetensors", "moments-000-00.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path)
    path = tmp_path / "step-00000006" / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    else:
        path.unlink()
    with caplog.at_level(logging.ERROR):
        assert resumed_from(tmp_path) == 4
    assert "IS DAMAGED" in caplog.text
    assert "using the one before it" in caplog.text


def test_with_every_checkpoint_damaged_training_begins_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in trained(tmp_path).folder.glob("*/weights*"):
        path.write_bytes(b"")
    assert resumed_from(tmp_path) == 0
    assert "training from the start" in caplog.text


def test_a_save_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for broken in ("write_json", "write_tensors", "_random_state"):
        with monkeypatch.context() as patch:
            patch.setattr(module, broken, killed)
            with pytest.raises(KeyboardInterrupt):
                Checkpoints(tmp_path, "a").save(engine(), 8)
        assert Checkpoints(tmp_path, "a").steps() == [4, 6]
        assert all(path.read_bytes() == content for path, content in whole.items())
    assert resumed_from(tmp_path) == 6
    assert not list(tmp_path.glob(".step*"))


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(UserError, match=r"belongs to another run \(its data, mix or settings are different"):
        resumed_from(tmp_path, fingerprint="b")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(UserError, match="of another model"):
        train(engine(model={"num_hidden_layers": 1}), MIX, plan(10, tmp_path), [rate()])


def test_a_finished_run_keeps_weights_alone_and_only_where_the_rule_says(tmp_path: Path) -> None:
    checkpoints = trained(tmp_path / "some", keep_every=4)
    checkpoints.finish()
    assert checkpoints.steps() == [4]
    files = {path.name for path in checkpoints.path(4).iterdir()}
    assert files == {"checkpoint.json", "weights-000-00.safetensors"}
    assert set(json.loads((checkpoints.path(4) / "checkpoint.json").read_text())["files"]) == files - {
        "checkpoint.json"
    }
    trained(tmp_path / "none").finish()
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_without_moments_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(tmp_path, keep_every=4).finish()
    with caplog.at_level(logging.INFO):
        assert resumed_from(tmp_path, keep_every=4) == 0
    assert "has weights only: training cannot resume from it" in caplog.text


def test_killed_after_its_last_step_it_has_nothing_to_learn_anew(tmp_path: Path) -> None:
    straight, resumed, losses = engine(), engine(seed=5), Losses()
    train(straight, MIX, plan(4, tmp_path), [rate()])
    train(resumed, MIX, plan(4, tmp_path), [rate(), losses])
    assert losses.seen == []
    again = weights(resumed)
    assert all(torch.equal(value, again[name]) for name, value in weights(straight).items())


def test_large_shares_are_written_in_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 20_000)
    trained(tmp_path)
    assert len(list((tmp_path / "step-00000006").glob("weights-*"))) > 2
    assert resumed_from(tmp_path) == 6


def test_the_share_of_each_process_is_alike() -> None:
    owner = assign_owners({"a": 100, "b": 60, "c": 50, "d": 40}, 2)
    assert owner == {"a": 0, "b": 1, "c": 1, "d": 0}


@pytest.mark.parametrize("limit", [10**9, 10_000])
@pytest.mark.parametrize("tied", [False, True])
def test_the_final_model_is_read_by_transformers(
    limit: int, tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_model, "SHARD_BYTES", limit)
    one = engine(model={"tie_word_embeddings": tied})
    write_model(one, tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert (len(files) > 1) == (limit < 10**9)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert read.dtype == torch.bfloat16
    for name, parameter in tiny(tie_word_embeddings=tied).named_parameters():
        assert torch.equal(read.get_parameter(name), parameter.to(torch.bfloat16)), name
    held = [name for file in files for name in load_file(file)]
    assert len(held) == len(set(held)) == len(one.parameters)


def test_files_of_the_final_model_stay_below_the_limit() -> None:
    assert shards({"a": 5, "b": 5}, 10) == {"model.safetensors": ["a", "b"]}
    many = shards({"a": 6, "b": 5, "c": 30, "d": 1}, 10)
    assert list(many.values()) == [["a"], ["b"], ["c"], ["d"]]
    assert next(iter(many)) == "model-00001-of-00004.safetensors"


def test_weights_and_moments_of_a_checkpoint_are_the_engine_s(tmp_path: Path) -> None:
    one = engine()
    train(one, MIX, plan(4), [rate()])
    Checkpoints(tmp_path, "a").save(one, 4)
    other = engine(seed=5)
    assert Checkpoints(tmp_path, "a").resume(other) == 4
    again = weights(other)
    assert all(torch.equal(value, again[name]) for name, value in weights(one).items())
    one.set_lr(1e-2)
    other.set_lr(1e-2)
    assert one.step(MIX.batch(4 * BATCH, BATCH), 2) == other.step(MIX.batch(4 * BATCH, BATCH), 2)

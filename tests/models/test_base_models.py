"""Base models: stand-ins that differ as the real ones do, folders checked before they are needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.files import file_hash
from cpt.models.base_model import BaseModel
from cpt.models.toy import STAND_INS, StandIn, architecture
from cpt.train.pretrain_standin import ensure_stand_in

SENTENCES = {
    "eng_Latn": "the doctor treats the patient.\n",
    "code": "def f(x):\n    return x + 10\n",
    "zho_Hans": "东花电中电风月草。",
    "khm_Khmr": "ពូទាដីបា។",
    "shn_Mymr": "ၵႃထိ",
}


@pytest.mark.parametrize("name", STAND_INS)
def test_a_tokenizer_gives_back_what_it_was_given(world: ToyWorld, name: str) -> None:
    tokenizer = BaseModel(f"toy:{name}", "main", world).tokenizer()
    for text in SENTENCES.values():
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_three_tokenizers_differ_as_the_real_ones_do(world: ToyWorld) -> None:
    counts = {
        name: {
            key: len(BaseModel(f"toy:{name}", "main", world).tokenizer()(text)["input_ids"])
            for key, text in SENTENCES.items()
        }
        for name in STAND_INS
    }
    assert counts["l2"]["shn_Mymr"] == 1 + len(SENTENCES["shn_Mymr"].encode()), "unseen scripts are spelt in bytes"
    assert counts["l3"]["shn_Mymr"] < counts["l2"]["shn_Mymr"]
    assert len({tuple(found.values()) for found in counts.values()}) == 3


@pytest.mark.parametrize("name", STAND_INS)
def test_no_token_reaches_over_a_line_end(world: ToyWorld, name: str) -> None:
    tokenizer = BaseModel(f"toy:{name}", "main", world).tokenizer()
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        assert "\n" not in text.strip("\n"), repr(text)


def test_a_stand_in_is_the_same_bytes_from_the_same_seed(
    world: ToyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAND_INS, "short", StandIn("short", 600, byte_level=True, steps=6))
    hashes = []
    for cache in ("one", "two"):
        base = BaseModel("toy:short", "main", ToyWorld(tmp_path / cache, size=world.size))
        ensure_stand_in(base, tmp_path / cache / "shards")
        hashes.append([file_hash(base.folder / name) for name in ("model.safetensors", "tokenizer.json")])
        before = (base.folder / "model.safetensors").stat().st_mtime_ns
        ensure_stand_in(base, tmp_path / cache / "shards")
        assert (base.folder / "model.safetensors").stat().st_mtime_ns == before, "it was made twice"
    assert hashes[0] == hashes[1]


@pytest.fixture
def folder(world: ToyWorld, tmp_path: Path) -> Path:
    """A local model in the Hugging Face layout."""
    LlamaForCausalLM(architecture(STAND_INS["l3"])).bfloat16().save_pretrained(tmp_path / "model")
    BaseModel("toy:l3", "main", world).tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_is_a_base_model(world: ToyWorld, folder: Path) -> None:
    base = BaseModel(str(folder), "main", world)
    base.check()
    assert base.tokenizer().decode(base.tokenizer()("a b")["input_ids"], skip_special_tokens=True) == "a b"
    assert base.model(torch.float32).num_parameters() > 800_000


def test_its_fingerprint_follows_its_content(world: ToyWorld, folder: Path) -> None:
    before = BaseModel(str(folder), "main", world)
    weights, tokens = before.weights_fingerprint, before.tokenizer_fingerprint
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    after = BaseModel(str(folder), "main", world)
    assert (after.weights_fingerprint != weights, after.tokenizer_fingerprint == tokens) == (True, True)


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("config.json", "no config.json there"),
        ("tokenizer_config.json", "no tokenizer_config.json there"),
        ("model.safetensors", "only safetensors weights are loaded"),
    ],
)
def test_a_folder_that_lacks_something_is_named(world: ToyWorld, folder: Path, lacks: str, message: str) -> None:
    (folder / lacks).unlink()
    with pytest.raises(UserError, match=message):
        BaseModel(str(folder), "main", world).check()


def test_pickled_weights_are_not_loaded(world: ToyWorld, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="only safetensors"):
        BaseModel(str(folder), "main", world).check()


def in_shards(folder: Path) -> list[Path]:
    """The folder's weights as a large model has them: several files and an index."""
    model = LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    return sorted(folder.glob("model-*.safetensors"))


def test_weights_in_several_files_are_read_tensor_by_tensor(world: ToyWorld, folder: Path) -> None:
    wanted = LlamaForCausalLM.from_pretrained(folder)
    assert len(in_shards(folder)) > 1
    base = BaseModel(str(folder), "main", world)
    base.check()
    built = base.blueprint(seed=1).build(torch.float32, torch.device("cpu"))
    for name, parameter in wanted.named_parameters():
        assert torch.equal(built.get_parameter(name), parameter.float()), name
    assert built.lm_head.weight is built.model.embed_tokens.weight


def test_a_shard_that_is_missing_or_torn_is_named_before_anything_starts(world: ToyWorld, folder: Path) -> None:
    files = in_shards(folder)
    files[1].write_bytes(files[1].read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{files[1].name} has [\d,]+ of [\d,]+ bytes; download it again"):
        BaseModel(str(folder), "main", world).check()
    files[1].write_bytes(b"not a header")
    with pytest.raises(UserError, match=files[1].name):
        BaseModel(str(folder), "main", world).check()
    files[1].unlink()
    with pytest.raises(UserError, match=f"{files[1].name} is not there, which model.safetensors.index.json names"):
        BaseModel(str(folder), "main", world).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["LlamaForSequenceClassification"]}, "a causal language model is needed"),
        ({"vocab_size": 1000}, "its tokenizer has 1,536 tokens, its weights 1,000; they do not belong together"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(
    world: ToyWorld, folder: Path, change: dict[str, object], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match=message):
        BaseModel(str(folder), "main", world).check()


def test_weights_of_another_shape_than_the_configuration_says(world: ToyWorld, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 100}))
    blueprint = BaseModel(str(folder), "main", world).blueprint(seed=1)
    with pytest.raises(UserError, match=r"mlp.* is \[384, 128\], its config.json says \[100, 128\]"):
        blueprint.build(torch.float32, torch.device("cpu"))


def test_random_weights_need_only_the_configuration(world: ToyWorld, folder: Path) -> None:
    pretrained = BaseModel(str(folder), "main", world)
    (folder / "model.safetensors").unlink()
    base = BaseModel(str(folder), "main", world, weights="random")
    base.check()
    assert base.weights_fingerprint.startswith("random:")
    assert base.weights_fingerprint != pretrained.weights_fingerprint
    built = base.blueprint(seed=1).build(torch.float32, torch.device("cpu"))
    assert built.num_parameters() > 800_000
    assert BaseModel("toy:l3", "main", world, weights="random").model(torch.float32).num_parameters() > 800_000


def test_a_hub_model_is_found_in_the_local_cache(
    world: ToyWorld, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own layout of a cache, without a network: checked, and read by the code that reads it there."""
    cache, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    snapshot = cache / "models--some--model/snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (cache / "models--some--model/refs").mkdir()
    (cache / "models--some--model/refs/main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    base = BaseModel("some/model", "main", world)
    base.check()
    assert base.blueprint(seed=1).build(torch.float32, torch.device("cpu")).num_parameters() > 800_000
    with pytest.raises(UserError, match="not in the local cache and HF_HUB_OFFLINE=1"):
        BaseModel("some/other", "main", world).check()

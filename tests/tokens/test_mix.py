"""The mix is a pure function of seed and position, sees every token once an epoch, and keeps documents apart."""

from pathlib import Path

import numpy as np
import pytest

from cpt.corpora.bitext import tagged
from cpt.corpora.source import Doc, Source
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.models.base import BaseModel
from cpt.tokens.budget import Budget
from cpt.tokens.mix import IGNORED, Mix
from cpt.tokens.shards import TOKENS, WORDS, Shard, make_shard, shard_key

ENGLISH = [Doc((("eng_Latn", f"the doctor treats the patient number {n}. " * (1 + n % 3)),)) for n in range(23)]
PAIRS = [doc for n in range(11) for doc in tagged([(f"item {n}", f"into {n} yesi")], "eng_Latn", "zul_Latn", 1)]


def source(name: str, docs: list[Doc], languages: tuple[str, ...]) -> Source:
    return Source(name, languages, f"test:{name}:{len(docs)}", lambda: iter(docs))


@pytest.fixture
def shards(world: ToyWorld, tmp_path: Path) -> list[Shard]:
    base = BaseModel("toy:l3", "main", world)
    sources = [source("mono", ENGLISH, ("eng_Latn",)), source("bi", PAIRS, ("eng_Latn", "zul_Latn"))]
    budget = Budget(10_000)
    folders = [tmp_path / shard_key(item, budget, base.tokenizer_fingerprint) for item in sources]
    return [
        make_shard(folder, item, budget, base.tokenizer(), None) for folder, item in zip(folders, sources, strict=True)
    ]


def test_a_shard_holds_its_documents_and_their_amounts(shards: list[Shard], world: ToyWorld) -> None:
    tokenizer = BaseModel("toy:l3", "main", world).tokenizer()
    mono, bi = shards
    assert mono.documents == len(ENGLISH)
    for index, doc in enumerate(ENGLISH):
        ids = mono.tokens[mono.starts[index] : mono.starts[index + 1]].tolist()
        assert ids == [*tokenizer(doc.text)["input_ids"], tokenizer.eos_token_id]
    assert bi.total(WORDS) == {"eng_Latn": 22, "zul_Latn": 33}
    assert sum(bi.total(TOKENS).values()) == len(bi.tokens)
    assert bi.total(TOKENS)["zul_Latn"] > bi.total(TOKENS)["eng_Latn"] - len(PAIRS)


def test_a_batch_does_not_depend_on_what_was_read_before(shards: list[Shard]) -> None:
    there, again = Mix(shards, 32, seed=5), Mix(shards, 32, seed=5)
    forward = [there.batch(first, 2) for first in range(0, 40, 2)]
    for first in reversed(range(0, 40, 2)):
        batch = again.batch(first, 2)
        for field in ("inputs", "labels", "documents", "positions"):
            assert np.array_equal(getattr(batch, field), getattr(forward[first // 2], field))
    assert not np.array_equal(Mix(shards, 32, seed=6).batch(0, 2).inputs, forward[0].inputs)


def test_an_epoch_sees_every_token_once(shards: list[Shard]) -> None:
    mix = Mix(shards, 16, seed=1)
    sequences = -(-mix.epoch_tokens // 16)
    stream = mix.batch(0, sequences).inputs.flatten()[: mix.epoch_tokens]
    everything = np.concatenate([shard.tokens for shard in shards])
    assert np.array_equal(np.sort(stream), np.sort(everything))
    following = mix.batch(0, 3 * sequences).inputs.flatten()[mix.epoch_tokens : 2 * mix.epoch_tokens]
    assert np.array_equal(np.sort(following), np.sort(everything))
    assert not np.array_equal(following, stream), "epochs are shuffled anew"


def test_labels_are_next_tokens_within_a_document(shards: list[Shard]) -> None:
    mix = Mix(shards, 24, seed=2)
    batch = mix.batch(0, 12)
    flat, labels = batch.inputs.flatten(), batch.labels.flatten()
    start = shards[0].tokens[0]  # every document begins with the tokenizer's start token
    for position in range(len(flat) - 1):
        expected = IGNORED if flat[position + 1] == start else flat[position + 1]
        assert labels[position] == expected
    assert batch.targets == int((labels != IGNORED).sum()) > 0


def test_positions_begin_anew_with_each_document(shards: list[Shard]) -> None:
    batch = Mix(shards, 48, seed=2).batch(3, 4)
    for documents, positions in zip(batch.documents, batch.positions, strict=True):
        for number in np.unique(documents):
            assert positions[documents == number].tolist() == list(range(int((documents == number).sum())))


@pytest.mark.parametrize("sequences", [1, 7, 30, 200])
def test_what_was_seen_agrees_with_counting_it(shards: list[Shard], sequences: int) -> None:
    mix = Mix(shards, 16, seed=3)
    seen = mix.seen(sequences)
    tokens = sum(amounts["tokens_seen"] for amounts in seen.values())
    assert tokens == pytest.approx(sequences * 16, abs=3)
    unique = sum(amounts["tokens_unique"] for amounts in seen.values())
    assert unique == pytest.approx(min(sequences * 16, mix.epoch_tokens), abs=3)


def test_steps_see_every_token_as_often_as_asked(shards: list[Shard]) -> None:
    mix = Mix(shards, 16, seed=3)
    steps = mix.steps(2, 4)
    assert (steps - 1) * 64 < 2 * mix.epoch_tokens <= steps * 64


@pytest.mark.parametrize("unit", ["words", "bytes", "tokens"])
def test_a_budget_takes_documents_from_the_start_until_it_is_reached(
    world: ToyWorld, tmp_path: Path, unit: str
) -> None:
    base = BaseModel("toy:l3", "main", world)
    sizes = {
        "words": [sum(doc.words().values()) for doc in ENGLISH],
        "bytes": [len(doc.text.encode()) for doc in ENGLISH],
        "tokens": [len(base.tokenizer()(doc.text, add_special_tokens=False)["input_ids"]) for doc in ENGLISH],
    }[unit]
    budget = Budget(sum(sizes[:5]), unit, "toy:l3" if unit == "tokens" else "")
    chosen = {}
    for name in ("l3", "l2", "v7"):
        tokenizer = BaseModel(f"toy:{name}", "main", world).tokenizer()
        shard = make_shard(tmp_path / name, source("mono", ENGLISH, ("eng_Latn",)), budget, tokenizer, base.tokenizer())
        chosen[name] = (shard.documents, shard.total(WORDS))
    assert chosen["l3"] == chosen["l2"] == chosen["v7"], "documents are chosen once, the same for all models"
    assert chosen["l3"][0] == 5


def test_a_shard_is_made_once(world: ToyWorld, tmp_path: Path) -> None:
    tokenizer = BaseModel("toy:l3", "main", world).tokenizer()
    reads = []

    def read():
        reads.append(1)
        return iter(ENGLISH)

    item = Source("mono", ("eng_Latn",), "test", read)
    for _ in range(3):
        make_shard(tmp_path / "shard", item, Budget(50), tokenizer, None)
    assert len(reads) == 1


def test_an_empty_source_is_an_error_and_leaves_nothing_behind(world: ToyWorld, tmp_path: Path) -> None:
    tokenizer = BaseModel("toy:l3", "main", world).tokenizer()
    with pytest.raises(UserError, match="has no documents"):
        make_shard(tmp_path / "shard", source("none", [], ("eng_Latn",)), Budget(5), tokenizer, None)
    assert [path.name for path in tmp_path.iterdir()] == ["shard.lock"]

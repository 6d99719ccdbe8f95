"""Sequences are a pure function of seed and position; masked ones lose no token, joined ones what the study's lose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import ENGLISH, PAIRS, made, pairs, source, tokenizer
from tiny import shard as tiny_shard

from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.models.base_model import BaseModel
from cpt.tokens.batch import IGNORED
from cpt.tokens.encode import TOKENS, WORDS
from cpt.tokens.joined_packing import JoinedPacking
from cpt.tokens.masked_packing import MaskedPacking
from cpt.tokens.portion import Portion, Shuffle
from cpt.tokens.run_sequences import Staged
from cpt.tokens.shards import Shard

FIELDS = ("inputs", "labels", "documents", "positions", "sources")


@pytest.fixture(scope="module")
def shards(world: ToyWorld, tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    folder = tmp_path_factory.mktemp("shards")
    sources = [source(folder, "mono", ENGLISH), pairs(folder, "bi", PAIRS)]
    return [made(folder, item, tokenizer(world)) for item in sources]


def whole(shards: list[Shard]) -> list[Portion]:
    return [Portion.all_of(shard) for shard in shards]


def test_a_shard_holds_its_documents_and_their_amounts(shards: list[Shard], world: ToyWorld) -> None:
    backend = BaseModel("toy:l3", "main", world).tokenizer()
    mono, bi = shards
    assert mono.documents == len(ENGLISH)
    starts = mono.starts(np.arange(mono.documents))
    for text, begin, end in zip(ENGLISH, starts, mono.ends, strict=True):
        assert mono.tokens[begin:end].tolist() == [*backend(text)["input_ids"], backend.eos_token_id]
    assert bi.total(WORDS) == {"eng_Latn": 22, "zul_Latn": 33}
    assert sum(bi.total(TOKENS).values()) == len(bi.tokens) == bi.ends[-1]
    assert bi.total(TOKENS)["zul_Latn"] > bi.total(TOKENS)["eng_Latn"] - len(PAIRS)
    assert mono.whole
    assert mono.start == backend.bos_token_id


def test_stretches_say_which_tokens_are_in_which_language(shards: list[Shard], world: ToyWorld) -> None:
    backend, bi = BaseModel("toy:l3", "main", world).tokenizer(), shards[1]
    runs = np.asarray(bi.stretches[: bi.stretch_ends[0]])
    english, zulu = (int(size) for size in runs >> 4)
    assert (runs & 15).tolist() == [0, 1]
    ids = bi.tokens[: bi.ends[0]]
    assert backend.decode(ids[1:english]) == "[English]: item 0\n"
    assert backend.decode(ids[english : english + zulu - 1]) == "[Zulu]: into 0 yesi\n"


@pytest.mark.parametrize("packing", [MaskedPacking, JoinedPacking])
def test_a_batch_does_not_depend_on_what_was_read_before(
    shards: list[Shard], packing: type[MaskedPacking | JoinedPacking]
) -> None:
    there, again = packing(whole(shards), 32, seed=5), packing(whole(shards), 32, seed=5)
    forward = [there.batch(first, 2) for first in range(0, 40, 2)]
    for first in reversed(range(0, 40, 2)):
        for field in FIELDS:
            assert np.array_equal(getattr(again.batch(first, 2), field), getattr(forward[first // 2], field))
    assert not np.array_equal(packing(whole(shards), 32, seed=6).batch(0, 2).inputs, forward[0].inputs)


def test_an_epoch_sees_every_token_once(shards: list[Shard]) -> None:
    mix = MaskedPacking(whole(shards), 16, seed=1)
    sequences = -(-mix.epoch_tokens // 16)
    stream = mix.batch(0, sequences).inputs.flatten()[: mix.epoch_tokens]
    everything = np.concatenate([shard.tokens for shard in shards])
    assert np.array_equal(np.sort(stream), np.sort(everything))
    following = mix.batch(0, 3 * sequences).inputs.flatten()[mix.epoch_tokens : 2 * mix.epoch_tokens]
    assert np.array_equal(np.sort(following), np.sort(everything))
    assert not np.array_equal(following, stream), "epochs are shuffled anew"


def test_labels_are_next_tokens_within_a_document(shards: list[Shard]) -> None:
    batch = MaskedPacking(whole(shards), 24, seed=2).batch(0, 12)
    flat, labels = batch.inputs.flatten(), batch.labels.flatten()
    start = shards[0].tokens[0]  # every document begins with the tokenizer's start token
    for position in range(len(flat) - 1):
        expected = IGNORED if flat[position + 1] == start else flat[position + 1]
        assert labels[position] == expected
    assert batch.targets == int((labels != IGNORED).sum()) > 0


def test_positions_begin_anew_with_each_document(shards: list[Shard]) -> None:
    batch = MaskedPacking(whole(shards), 48, seed=2).batch(3, 4)
    for documents, positions in zip(batch.documents, batch.positions, strict=True):
        for number in np.unique(documents):
            assert positions[documents == number].tolist() == list(range(int((documents == number).sum())))


def counted(mix: MaskedPacking | JoinedPacking | Staged, shards: list[Shard], sequences: int) -> dict[str, int]:
    """Tokens of the first sequences by source, from the sequences themselves."""
    owners = mix.batch(0, sequences).sources.flatten()
    return {shard.source: int((owners == number).sum()) for number, shard in enumerate(shards)}


@pytest.mark.parametrize("sequences", [1, 7, 30, 200])
def test_the_ledger_is_exact_to_the_token(shards: list[Shard], sequences: int) -> None:
    mix = MaskedPacking(whole(shards), 16, seed=3)
    seen = mix.seen(sequences)
    by_source: dict[str, int] = {}
    for (name, _), amounts in seen.items():
        by_source[name] = by_source.get(name, 0) + amounts["tokens_seen"]
    assert by_source == counted(mix, shards, sequences)
    unique = sum(amounts["tokens_unique"] for amounts in seen.values())
    assert unique == min(sequences * 16, mix.epoch_tokens)


def test_the_ledger_tells_the_languages_of_a_cut_document(shards: list[Shard]) -> None:
    bi = shards[1]
    size, runs = int(bi.ends[0]), np.asarray(bi.stretches[: bi.stretch_ends[0]]) >> 4
    for cut in range(1, size + 1):
        mix = MaskedPacking([Portion(bi, 0, cut)], cut, seed=0)
        seen = mix.seen(1)
        english, zulu = (seen["bi", code]["tokens_seen"] for code in ("eng_Latn", "zul_Latn"))
        assert (english, zulu) == (min(cut, int(runs[0])), max(cut - int(runs[0]), 0))


def test_steps_see_every_token_as_often_as_asked(shards: list[Shard]) -> None:
    mix = MaskedPacking(whole(shards), 16, seed=3)
    steps = mix.steps(2, 4)
    assert (steps - 1) * 64 < 2 * mix.epoch_tokens <= steps * 64


@pytest.mark.parametrize(("asks", "pads"), [(True, False), (False, True), (False, False)])
def test_joined_is_what_the_studys_tool_makes(shards: list[Shard], asks: bool, pads: bool) -> None:
    """Texts with an end behind each and no start, cut into sequences, the rest dropped; start tokens are written over
    where the tokenizer asks for them, and ends are no targets where they pad."""
    length, stream = 32, []
    shards = [replace(shard, habits=(asks, pads)) for shard in shards]
    for shard in shards:
        for begin, end in zip(shard.starts(np.arange(shard.documents)), shard.ends, strict=True):
            stream += shard.tokens[begin + 1 : end].tolist()
    expected = [stream[at : at + length] for at in range(0, len(stream) - length + 1, length)]
    labels = [[*tokens[1:], IGNORED] for tokens in expected]
    if pads:
        labels = [[IGNORED if token == shards[0].end else token for token in row] for row in labels]
    for tokens in expected:
        tokens[0] = shards[0].start if asks else tokens[0]
    mix = JoinedPacking(whole(shards), length, seed=0)
    batch = mix.batch(0, mix.sequences)
    assert sorted(batch.inputs.tolist()) == sorted(expected)
    assert sorted(batch.labels.tolist()) == sorted(labels)
    assert batch.documents.max() == 0
    assert (batch.positions == np.arange(length)).all()
    losses = mix.losses()
    assert losses["dropped"] == pytest.approx(1 - len(expected) * length / len(stream))
    assert losses["overwritten"] == pytest.approx(asks * len(expected) / len(stream))
    assert sum(a["tokens_seen"] for a in mix.seen(mix.sequences + 3).values()) == (mix.sequences + 3) * length


def test_joined_documents_keep_all_their_words_in_the_ledger(shards: list[Shard]) -> None:
    mono = shards[0]
    size = int(mono.ends[-1]) - mono.documents
    [length] = [n for n in range(2, 2_000) if size % n == 0][-1:]  # nothing is dropped
    seen = JoinedPacking(whole([mono]), length, seed=0).seen(size // length)["mono", "eng_Latn"]
    assert seen["words_seen"] == pytest.approx(mono.total(WORDS)["eng_Latn"], abs=len(ENGLISH))
    assert seen["tokens_seen"] == size


def test_too_little_text_to_join_is_said(shards: list[Shard]) -> None:
    with pytest.raises(UserError, match="together fill a sequence of 100,000 tokens; choose masked"):
        JoinedPacking(whole(shards), 100_000, seed=0)


def test_joined_drops_what_every_thousand_documents_leave_over() -> None:
    sizes = [7] * 2_500
    mix = JoinedPacking([Portion.all_of(tiny_shard(sizes))], 64, seed=0)
    assert mix.sequences == 2 * (7_000 // 64) + 3_500 // 64


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(2, 24),
    st.data(),
)
@settings(max_examples=120, deadline=None)
def test_portions_are_seen_in_their_declared_shares(sizes: list[list[int]], length: int, data: st.DataObject) -> None:
    """Whatever is taken of each source, begun and ended anywhere and gone around more than once, is what comes out."""
    portions = []
    for number, lengths in enumerate(sizes):
        shard = tiny_shard(lengths, f"s{number}", seed=number)
        begin = data.draw(st.integers(0, 2 * sum(lengths)))
        portions.append(Portion(shard, begin, begin + data.draw(st.integers(1, 3 * sum(lengths)))))
    mix = MaskedPacking(portions, length, seed=data.draw(st.integers(0, 99)))
    sequences = -(-mix.epoch_tokens // length)
    batch = mix.batch(0, sequences)
    tokens, owners = (getattr(batch, name).flatten()[: mix.epoch_tokens] for name in ("inputs", "sources"))
    for number, portion in enumerate(portions):
        around = np.resize(portion.shard.tokens, portion.end)  # the shard over and over
        assert np.array_equal(np.sort(tokens[owners == number]), np.sort(around[portion.begin : portion.end]))
    upto = data.draw(st.integers(1, sequences))
    seen = mix.seen(upto)
    found = {portion.shard.source: int((batch.sources[:upto] == i).sum()) for i, portion in enumerate(portions)}
    assert {name: amounts["tokens_seen"] for (name, _), amounts in seen.items()} == found


def test_stages_go_on_in_each_source_where_the_one_before_stopped() -> None:
    first, second = (tiny_shard([5] * 60, name, seed=n) for n, name in enumerate(("a", "b")))
    early = MaskedPacking([Portion(first, 0, 161), Portion(second, 0, 0)], 16, seed=0, stage=1)
    late = MaskedPacking([Portion(first, 161, 210), Portion(second, 0, 112)], 16, seed=0, stage=2)
    mix = Staged([early, late], [10, 20], epochs=1)
    assert counted(mix, [first, second], 10) == {"a": 160, "b": 0}
    split = mix.batch(8, 4)
    for field in FIELDS:
        together = np.concatenate([getattr(early.batch(8, 2), field), getattr(late.batch(0, 2), field)])
        assert np.array_equal(getattr(split, field), together)
    seen = mix.seen(20)
    assert {key[0]: amounts["tokens_seen"] for key, amounts in seen.items()} == counted(mix, [first, second], 20)
    assert mix.steps(1, 4) == 5


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000, 65_537])
def test_a_shuffle_is_a_permutation(size: int) -> None:
    order = Shuffle(size, 3, 0)(np.arange(size))
    assert np.array_equal(np.sort(order), np.arange(size))
    places = np.arange(size)[::-1]
    assert np.array_equal(Shuffle(size, 3, 0)(places), order[::-1]), "each place by itself"


def test_every_order_of_few_things_comes_up_as_often() -> None:
    found: dict[tuple[int, ...], int] = {}
    for seed in range(4_800):
        order = tuple(Shuffle(4, seed)(np.arange(4)).tolist())
        found[order] = found.get(order, 0) + 1
    expected = 4_800 / 24
    assert len(found) == 24
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 49.7  # chi-square, 23 degrees, 0.1 %


def test_memory_does_not_grow_with_the_documents() -> None:
    mix = MaskedPacking([Portion.all_of(tiny_shard([2] * 200_000))], 64, seed=0)
    mix.batch(0, 4)
    _, begins = mix._order(0)
    assert begins.nbytes < 200_000 / 1024 * 8 + 64


def test_any_number_of_documents_reads_in_any_split(shards: list[Shard], tmp_path: Path) -> None:
    """One, two or eight ranks that share a batch read what one reads."""
    mix = MaskedPacking(whole(shards), 16, seed=9)
    together = mix.batch(0, 16)
    for ranks in (2, 8):
        own = [MaskedPacking(whole(shards), 16, seed=9).batch(rank * 16 // ranks, 16 // ranks) for rank in range(ranks)]
        for field in FIELDS:
            assert np.array_equal(np.concatenate([getattr(batch, field) for batch in own]), getattr(together, field))

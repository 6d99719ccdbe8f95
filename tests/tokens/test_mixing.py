"""Mixes take what published ones took, never repeat a source too often, and reach their total wherever they can.

`golden/afriquellm_unimax.csv` is McGill-NLP/AfriqueLLM's data/monolingual/mixture-config/unimax-full.csv: tokens of 24
languages by UniMax with at most 4 epochs. It does not say how large the sources were; those it repeats most often are
taken to be a quarter of what was taken of them.
"""

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpt.tokens.mixing import explicit, proportional, temperature, unimax, with_share

GOLDEN = Path(__file__).parent / "golden" / "afriquellm_unimax.csv"
EPOCHS, TOTAL = 4, 22_803_696_257

Mixer = Callable[[dict[str, float], float, float], dict[str, float]]


def at(value: float) -> Mixer:
    return lambda available, total, most_epochs: temperature(available, total, value, most_epochs)


MIXERS = [proportional, unimax, at(0.02), at(0.5), at(1), at(3.3), at(100)]
SIZES = st.dictionaries(st.text(max_size=4), st.floats(1, 1e7), min_size=1, max_size=12)
CAPS = st.floats(0.1, 50)


def test_unimax_gives_the_published_table() -> None:
    with GOLDEN.open() as file:
        published = {row["subset"]: int(row["token_count"]) for row in csv.DictReader(file)}
    assert len(published) == 24
    assert sum(published.values()) == TOTAL
    most = max(published.values())
    full = {name: count / EPOCHS for name, count in published.items() if count < most - 1}
    assert len(full) == 8
    taken = unimax({name: full.get(name, most) for name in published}, TOTAL, EPOCHS)
    for name, count in published.items():
        assert abs(taken[name] - count) < 1, name


def test_amounts_computed_by_hand() -> None:
    sizes = {"large": 900.0, "small": 100.0}
    assert proportional(sizes, 500, 1) == {"large": 450, "small": 50}
    assert temperature(sizes, 400, 2, 1) == pytest.approx({"large": 300, "small": 100})  # shares 30 to 10, just full
    assert temperature(sizes, 600, 2, 1) == pytest.approx({"large": 500, "small": 100})  # 150 would be too much
    assert temperature(sizes, 820, 0.5, 1) == pytest.approx({"large": 810, "small": 10})  # 81 to 1
    assert temperature(sizes, 950, 0.5, 1) == pytest.approx({"large": 900, "small": 50})  # the large one is full first
    assert unimax(sizes, 400, 1) == {"large": 300, "small": 100}
    assert unimax(sizes, 400, 4) == {"large": 200, "small": 200}
    assert unimax({"a": 10, "b": 30, "c": 100}, 100, 2) == {"a": 20, "b": 40, "c": 40}
    three = {"a": 16.0, "b": 4.0, "c": 1.0}
    assert temperature(three, 17, 2, 2) == pytest.approx({"a": 10, "b": 5, "c": 2})  # 4 to 2 to 1; c is full at 2


def test_a_budget_is_taken_as_it_is_or_as_much_as_there_is() -> None:
    sizes = {"a": 10.0, "b": 10.0, "unused": 10.0}
    assert explicit({"a": 8, "b": 25}, sizes, 1) == {"a": 8, "b": 10}
    assert explicit({"a": 8, "b": 25}, sizes, 2) == {"a": 8, "b": 20}
    assert explicit({"a": 8, "b": 25}, sizes, math.inf) == {"a": 8, "b": 25}


@pytest.mark.parametrize("mixer", MIXERS)
def test_too_large_a_total_takes_everything_there_is(mixer: Mixer) -> None:
    sizes = {"a": 3.0, "empty": 0.0, "b": 7.0}
    assert mixer(sizes, 1_000, 3) == {"a": 9, "empty": 0, "b": 21}


@given(mixer=st.sampled_from(MIXERS), sizes=SIZES, cap=CAPS, part=st.floats(0, 2))
def test_no_cap_is_exceeded_and_the_total_is_reached(
    mixer: Mixer, sizes: dict[str, float], cap: float, part: float
) -> None:
    room = cap * sum(sizes.values())
    taken = mixer(sizes, part * room, cap)
    assert list(taken) == list(sizes)
    assert all(0 <= taken[name] <= cap * size for name, size in sizes.items())
    assert sum(taken.values()) == pytest.approx(min(part, 1) * room)


@given(mixer=st.sampled_from(MIXERS), sizes=SIZES, cap=CAPS, part=st.floats(0, 2), seed=st.integers())
def test_the_order_of_sources_changes_no_bit(
    mixer: Mixer, sizes: dict[str, float], cap: float, part: float, seed: int
) -> None:
    total, names = part * cap * math.fsum(sizes.values()), list(sizes)
    random.Random(seed).shuffle(names)
    assert mixer({name: sizes[name] for name in names}, total, cap) == mixer(sizes, total, cap)


@given(sizes=SIZES, value=st.floats(0.2, 20), cap=CAPS, part=st.floats(0.01, 1))
def test_sources_that_are_not_full_keep_their_proportions(
    sizes: dict[str, float], value: float, cap: float, part: float
) -> None:
    taken = temperature(sizes, part * cap * sum(sizes.values()), value, cap)
    rates = {name: math.log(taken[name]) - math.log(size) / value for name, size in sizes.items() if taken[name] > 1e-9}
    free = [rate for name, rate in rates.items() if taken[name] < cap * sizes[name] * (1 - 1e-9)]
    level = max(free, default=math.inf)
    assert free == pytest.approx([level] * len(free), abs=1e-6)
    assert all(rate <= level + 1e-6 for rate in rates.values())


@given(sizes=SIZES, cap=CAPS, part=st.floats(0, 2))
def test_temperature_lies_between_proportional_and_unimax(sizes: dict[str, float], cap: float, part: float) -> None:
    total = part * cap * sum(sizes.values())
    assert temperature(sizes, total, 1, cap) == proportional(sizes, total, cap)
    assert temperature(sizes, total, math.inf, cap) == unimax(sizes, total, cap)
    assert temperature(sizes, total, 1e9, cap) == pytest.approx(unimax(sizes, total, cap), rel=1e-6)


@given(sizes=SIZES, total=st.floats(1, 1e9))
def test_without_caps_unimax_is_uniform(sizes: dict[str, float], total: float) -> None:
    assert unimax(sizes, total, math.inf) == pytest.approx(dict.fromkeys(sizes, total / len(sizes)))


@given(sizes=SIZES, share=st.floats(0, 0.99))
def test_a_further_source_makes_up_its_share_of_all(sizes: dict[str, float], share: float) -> None:
    sizes.pop("replay", None)
    mixed = with_share(sizes, "replay", share)
    assert {name: mixed[name] for name in sizes} == sizes
    assert mixed["replay"] == pytest.approx(share * sum(mixed.values()))
    assert with_share({"a": 90.0}, "code", 0.1)["code"] == pytest.approx(10)

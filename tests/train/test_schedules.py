"""Schedules are pure functions with known values."""

import math

import pytest

from cpt.train.schedules import Schedule


def test_warmup_rises_to_the_peak() -> None:
    schedule = Schedule("cosine", 0.03, 0.0, 1000)
    assert schedule.factor(0) == pytest.approx(1 / 30)
    assert schedule.factor(29) == schedule.factor(30) == 1.0


def test_cosine_values() -> None:
    schedule = Schedule("cosine", 0.0, 0.1, 100)
    assert schedule.factor(0) == 1.0
    assert schedule.factor(50) == pytest.approx(0.55)
    assert schedule.factor(100) == schedule.factor(130) == pytest.approx(0.1)


def test_two_epochs_of_a_schedule_of_three_end_at_a_quarter_of_the_peak() -> None:
    schedule = Schedule("cosine", 0.03, 0.0, 3000)
    assert schedule.factor(2000) == pytest.approx(0.5 * (1 + math.cos(math.pi * 1910 / 2910)))
    assert 0.22 < schedule.factor(2000) < 0.27


def test_constant_stays() -> None:
    schedule = Schedule("constant", 0.1, 0.0, 50)
    assert [schedule.factor(step) for step in (4, 5, 49, 80)] == [1.0, 1.0, 1.0, 1.0]

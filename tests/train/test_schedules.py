"""Schedules are pure functions with known values; where transformers has the same one, its values are ours."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from omegaconf import OmegaConf
from torch.optim.lr_scheduler import LRScheduler
from transformers.optimization import (
    get_cosine_with_min_lr_schedule_with_warmup,
    get_scheduler,
    get_wsd_schedule,
)

from cpt.config import ScheduleConfig, StudyConfig
from cpt.study.state.run import Run
from cpt.train.schedules import FORMS, KINDS, Schedule, make_schedule

Compose = Callable[..., list[StudyConfig]]
CHOICES = sorted(path.stem for path in (ROOT / "conf/schedule").glob("*.yaml"))
STEPS = 1000


def choice(name: str, steps: int = STEPS) -> Schedule:
    """The schedule of a file of group `schedule` over so many steps."""
    file = OmegaConf.load(Path(ROOT / f"conf/schedule/{name}.yaml"))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ScheduleConfig), file))
    assert isinstance(config, ScheduleConfig)
    return make_schedule(config, steps)


def infinite(cooldown_form: str = "cosine", decay_form: str = "exponential") -> Schedule:
    return Schedule(
        "infinite",
        0.05,
        0.01,
        STEPS,
        cooldown=0.1,
        cooldown_form=cooldown_form,
        level=0.1,
        decay=0.2,
        decay_form=decay_form,
    )


def test_warmup_rises_to_the_peak() -> None:
    schedule = Schedule("cosine", 0.03, 0.0, 1000)
    assert schedule.factor(0) == 0
    assert schedule.factor(15) == 0.5
    assert schedule.factor(29) == pytest.approx(29 / 30)
    assert schedule.factor(30) == 1.0


def test_cosine_values() -> None:
    schedule = Schedule("cosine", 0.0, 0.1, 100)
    assert schedule.factor(0) == 1.0
    assert schedule.factor(50) == pytest.approx(0.55)
    assert schedule.factor(100) == schedule.factor(130) == pytest.approx(0.1)


def test_two_epochs_of_a_schedule_of_three_end_at_a_quarter_of_the_peak() -> None:
    schedule = choice("study", 3000)
    assert schedule.factor(2000) == pytest.approx(0.5 * (1 + math.cos(math.pi * 1910 / 2910)))
    assert 0.22 < schedule.factor(2000) < 0.27


def test_constant_stays() -> None:
    schedule = Schedule("constant", 0.1, 0.0, 50)
    assert [schedule.factor(step) for step in (5, 6, 49, 80)] == [1.0, 1.0, 1.0, 1.0]


def test_a_rewarmed_cosine_goes_on_from_where_the_base_model_ended() -> None:
    schedule = choice("rewarm_cosine")
    values = [schedule.factor(step) for step in (0, 15, 30, 515, 1000)]
    assert values == pytest.approx([0.1, 0.55, 1.0, 0.55, 0.1])


def test_wsd_values() -> None:
    schedule = choice("wsd")
    values = [schedule.factor(step) for step in (0, 30, 800, 850, 1000)]
    assert values == pytest.approx([0.0, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(("form", "halfway"), [("cosine", 5.5e-4), ("linear", 5.5e-4), ("inverse-sqrt", 2.3754e-4)])
def test_infinite_has_the_tabulated_values(form: str, halfway: float) -> None:
    steps = (0, 50, 100, 150, 500, 800, 900, 1000)
    expected = (0, 1e-3, halfway, 1e-4, 1e-4, 1e-4, 3.1623e-5, 1e-5)
    assert [1e-3 * infinite(form).factor(step) for step in steps] == pytest.approx(expected, rel=1e-4)
    assert choice("infinite") == infinite()


@pytest.mark.parametrize("form", ["linear", "1-sqrt"])
def test_infinite_may_anneal_otherwise(form: str) -> None:
    values = [infinite(decay_form=form).factor(step) for step in (800, 850, 1000)]
    assert values == pytest.approx([0.1, 0.0775 if form == "linear" else 0.055, 0.01])


def test_a_later_stage_of_infinite_begins_at_its_level() -> None:
    schedule = Schedule("infinite", 0.0, 0.01, 100, level=0.1, decay=0.5, decay_form="exponential")
    assert [schedule.factor(step) for step in (0, 50, 100)] == pytest.approx([0.1, 0.1, 0.01])
    gone_on_from = Schedule("infinite", 0.0, 0.0, 100, level=0.1)
    assert {gone_on_from.factor(step) for step in range(102)} == {0.1}


def theirs(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    return list(_stepped(optimizer, scheduler, steps))


def _stepped(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int) -> Iterator[float]:
    for _ in range(steps + 1):
        yield float(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("steps", [2, 3, 7, 100, 1013])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.25])
@pytest.mark.parametrize(("kind", "name"), [("constant", "constant_with_warmup"), ("linear", ""), ("cosine", "")])
def test_the_same_as_transformers(kind: str, name: str, warmup: float, steps: int) -> None:
    warm = math.ceil(steps * warmup)  # as its TrainingArguments do
    expected = theirs(lambda optimizer: get_scheduler(name or kind, optimizer, warm, steps), steps)
    schedule = Schedule(kind, warmup, 0.0, steps)
    assert [schedule.factor(step) for step in range(steps + 1)] == pytest.approx(expected, abs=1e-12)


def test_a_cosine_with_a_floor_is_the_same_as_transformers() -> None:
    expected = theirs(lambda o: get_cosine_with_min_lr_schedule_with_warmup(o, 30, STEPS, min_lr_rate=0.1), STEPS)
    schedule = Schedule("cosine", 0.03, 0.1, STEPS)
    assert [schedule.factor(step) for step in range(STEPS + 1)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("form", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_wsd_is_the_same_as_transformers(form: str, floor: float) -> None:
    """There the warm-up begins at the floor."""
    expected = theirs(
        lambda o: get_wsd_schedule(o, 30, 200, num_training_steps=STEPS, decay_type=form, min_lr_ratio=floor), STEPS
    )
    schedule = Schedule("wsd", 0.03, floor, STEPS, start=floor, decay=0.2, decay_form=form)
    assert [schedule.factor(step) for step in range(STEPS + 1)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_falls_from_its_beginning_to_its_end(form: str) -> None:
    values = [FORMS[form](0.9, 0.1, step / 100) for step in range(101)]
    assert (values[0], values[-1]) == pytest.approx((0.9, 0.1))
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_rises_to_the_peak_and_then_only_falls(name: str) -> None:
    schedule = choice(name)
    values = [schedule.factor(step) for step in range(STEPS + 20)]
    assert values[0] == schedule.start
    assert values[schedule.warm] == max(values) == 1.0
    assert values[: schedule.warm] == sorted(values[: schedule.warm])
    assert values[schedule.warm :] == sorted(values[schedule.warm :], reverse=True)
    end = 1.0 if schedule.kind == "constant" else schedule.floor
    assert values[STEPS:] == pytest.approx([end] * 20)


@pytest.mark.parametrize("name", CHOICES)
def test_no_choice_jumps(name: str) -> None:
    """With ten times the steps the largest change is smaller: by ten, or by the root of it where a root begins."""
    changes = []
    for steps in (1_000, 10_000):
        schedule = choice(name, steps)
        values = [schedule.factor(step) for step in range(steps + 2)]
        changes.append(max(abs(after - before) for before, after in pairwise(values)))
    assert changes[1] < changes[0] / 3


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_too_few_steps_for_all_phases_still_give_rates(name: str, steps: int) -> None:
    schedule = choice(name, steps)
    values = [schedule.factor(step) for step in range(steps + 3)]
    assert all(0 <= value <= 1 for value in values)
    assert max(values[:steps]) == 1.0


def test_every_kind_is_a_choice_and_reads_settings_that_exist() -> None:
    assert {choice(name).kind for name in CHOICES} == set(KINDS)
    assert set().union(*(kind.reads for kind in KINDS.values())) == set(ScheduleConfig.__dataclass_fields__)


@pytest.mark.parametrize("scale", ["scale=toy", "scale=paper"])
def test_a_scale_chooses_the_studys_schedule_by_name(compose: Compose, scale: str) -> None:
    [default], [named] = compose(scale, "dry_run=true"), compose("schedule=study", scale, "dry_run=true")
    assert default.schedule == named.schedule == ScheduleConfig("cosine", epochs=3, warmup=0.03, floor=0.0)
    assert Run(default).train_key == Run(named).train_key


@pytest.mark.parametrize("scale", ["scale=toy", "scale=paper"])
@pytest.mark.parametrize("name", sorted({*CHOICES} - {"study"}))
def test_a_schedule_that_is_asked_for_is_as_long_as_the_training(compose: Compose, scale: str, name: str) -> None:
    [config] = compose(f"schedule={name}", scale, "dry_run=true")
    assert config.schedule.kind == choice(name).kind
    assert config.schedule.epochs is None


def test_schedules_are_an_axis(compose: Compose) -> None:
    configs = compose("-m", f"schedule={','.join(CHOICES)}")
    assert len({Run(config).train_key for config in configs}) == len(CHOICES)

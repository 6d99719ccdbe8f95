"""Differences of two models over the same items, the file of forgetting, and its section of the report."""

import re

import numpy as np
import pytest
from study_folder import BITS, row, write_run

from cpt.evals.benchmark import Unit
from cpt.evals.metrics.bootstrap import interval, ratio
from cpt.evals.metrics.measured import Measured
from cpt.results.analysis.change.forgetting import (
    COLUMNS,
    FORGETTING,
    forgetting_table,
    lines,
    runs_with_base,
)
from cpt.results.analysis.change.paired_test import Difference, differences
from cpt.results.analysis.study_results import StudyResults
from cpt.results.report.page import render_section
from cpt.results.rows.table import read_table

BASE, RUN = "L3-Base-00000000", "L3-Mono-Alt-11111111"
ITEMS = 200


def accuracy(right, signature=""):
    statistics = np.stack([np.asarray(right, dtype=float), np.ones(len(right))], axis=1)
    return Measured("accuracy", statistics, ratio, signature)


def bits(nats, metric="bits_per_byte"):
    statistics = np.stack([np.asarray(nats, dtype=float), np.full(len(nats), 100.0)], axis=1)
    return Measured(metric, statistics, lambda sums: float(sums[0] / sums[1]))


def one(first, second):
    (found,), why = differences([first], [second], 500)
    assert why == {}
    return found


def test_a_difference_by_hand():
    found = one(accuracy([True] * 30 + [False] * 10), accuracy([True] * 20 + [False] * 20))
    assert (found.value, found.other, found.difference, found.n) == (0.75, 0.5, 0.25, 40)
    assert found.ci_low < 0.25 < found.ci_high
    assert found.verdict == "better"


def test_a_paired_interval_is_narrower_than_two_intervals_tell():
    hard = np.random.default_rng(1).uniform(10, 400, ITEMS)
    base, run = bits(hard), bits(hard * 1.02)
    found = one(run, base)
    assert found.difference == pytest.approx(0.02 * hard.sum() / (100 * ITEMS))
    low, high = (interval(side.statistics, side.score, 500) for side in (base, run))
    assert low[1] > high[0], "the two scores' own intervals overlap"
    assert found.ci_high - found.ci_low < 0.1 * np.hypot(low[1] - low[0], high[1] - high[0])
    assert found.verdict == "worse", "more bits are worse, and the paired interval says so"


def test_a_verdict_needs_an_interval_without_zero_and_a_way_that_is_better():
    right = np.arange(ITEMS) % 2 == 0
    swapped = right.copy()
    swapped[:2] = ~swapped[:2]
    assert one(accuracy(right), accuracy(swapped)).verdict == "unclear"
    unheard = one(bits([1.0] * 9, "unheard_of"), bits([2.0] * 9, "unheard_of"))
    assert (unheard.ci_high < 0, unheard.verdict) == (True, "unclear")


def test_none_seen_of_either_is_not_none():
    none, every = accuracy([False] * 12), accuracy([True] * 12)
    found = one(none, none)
    assert (found.ci_low, found.ci_high) == pytest.approx((-0.2425, 0.2425), abs=1e-4)  # Wilson's reach for 0 of 12
    assert found.verdict == "unclear"
    found = one(none, every)
    assert (found.ci_low, found.ci_high) == pytest.approx((-1, -1 + np.hypot(0.2425, 0.2425)), abs=1e-4)


def test_what_is_computed_otherwise_or_for_one_only_is_not_compared():
    found, why = differences([accuracy([True], "a"), bits([1.0])], [accuracy([True], "b")], 10)
    assert found == []
    assert why == {"accuracy": "computed otherwise: a / b", "bits_per_byte": "only measured for the first"}


def study_of(folder, **changed):
    write_run(folder, BASE, [row(BASE, "eng_Latn", 0.5, BITS, role="english")])
    write_run(folder, RUN, [row(RUN, "eng_Latn", 0.7, BITS, role="english", **changed)])
    return folder


def example(folder):
    found = [
        *lines(run(folder), Unit("bpb", "eng_Latn", "", ""), [of("bits_per_byte", 0.7, 0.5, 0.15, 0.25, 12)], "k"),
        *lines(run(folder), Unit("sib200", "eng_Latn", "", "sound"), [of("accuracy", 0.8, 0.9, -0.2, 0.01, 204)], "k"),
        *lines(run(folder), Unit("bpb", "code", "", ""), [of("bits_per_byte", 0.3, 0.4, -0.15, -0.05, 60)], "k"),
    ]
    return FORGETTING.write(folder, forgetting_table(found))


def run(folder):
    (found,) = runs_with_base(read_table(folder))
    return found


def of(metric, value, base, low, high, n):
    return Difference(metric, value, base, value - base, low, high, n)


def test_a_run_is_set_beside_the_base_of_its_model(tmp_path):
    found = run(study_of(tmp_path))
    assert (found["run_id"], found["base_id"], found["seed"]) == (RUN, BASE, 17)
    (tmp_path / "other").mkdir()
    assert runs_with_base(read_table(study_of(tmp_path / "other", model="l2"))) == [], "the base is another model's"


def test_the_file_comes_back_as_it_was_written(tmp_path):
    path = example(study_of(tmp_path))
    table = FORGETTING.read(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert list(table["verdict"]) == ["worse", "unclear", "better"]
    assert list(table["role"]) == ["english", "english", "code"]
    before = path.read_bytes()
    FORGETTING.write(tmp_path, forgetting_table(table.to_dict("records")))
    assert path.read_bytes() == before
    path.write_text("run_id,lost\n")
    assert FORGETTING.read(tmp_path).empty
    assert FORGETTING.write(tmp_path, FORGETTING.empty()) is None
    assert not path.exists()


def test_the_report_tells_interval_items_and_verdict(tmp_path):
    assert render_section(StudyResults.read(study_of(tmp_path), "s", "toy", {}), "forgetting") is None
    example(tmp_path)
    section = render_section(StudyResults.read(tmp_path, "s", "toy", {}), "forgetting")
    assert "English, n = 12" in section
    assert "English, percentage points, n = 204, sound" in section
    assert "code, n = 60" in section
    told = re.findall(r"<td([^>]*)>([^<]+)<small>([^<]+)", section)
    assert [(shown, span) for _, shown, span in told] == [
        ("+0.200", "+0.150 to +0.250"),
        ("−10.0", "−20.0 to +1.0"),
        ("−0.100", "−0.150 to −0.050"),
    ]
    assert ['class="w5"' in told[0][0], "class" in told[1][0], 'class="b5"' in told[2][0]] == [True, False, True]
    assert "L3-Mono-Alt: 0.700, base 0.500, n = 12: worse" in section

"""Adaptation, forgetting and cost: who is on the front, and how the section for those who choose says it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_folder import row, write_run

from cpt.evals.rows import Row
from cpt.files import write_json
from cpt.results.analysis.change.forgetting import FORGETTING
from cpt.results.analysis.choice.tradeoff import Pareto, front, pareto, spent
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.published_study import published_rows, sound_rows
from cpt.results.report.page import render_section
from cpt.results.rows.banners import PUBLISHED
from cpt.results.rows.measures import Measure
from cpt.results.rows.run_folders import read_ledger, run_folders

ACCURACY = Measure("sib200", "", "sound", "accuracy")
BITS = Measure("bpb", "", "", "bits_per_byte")
FLOPS = {"L3-Mono-Alt-1": 1e18, "L3-Bi-Alt-1": 2e18}, "FLOPs"
NUMBERS = st.integers(-3, 3).map(float) | st.just(math.nan)


def test_the_front_of_known_points() -> None:
    points = [[3, 0], [2, 2], [0, 3], [2, 1], [1, 1], [2, 2], [5, math.nan]]
    assert front(np.array(points, float)).tolist() == [True, True, True, False, False, True, False]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=30))
def test_no_point_of_the_front_is_beaten_and_every_other_is(points: list[tuple[float, ...]]) -> None:
    on_front = front(np.array(points, float).reshape(-1, 3))

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    leaders = [point for point, leads in zip(points, on_front, strict=True) if leads]
    for point, leads in zip(points, on_front, strict=True):
        if any(map(math.isnan, point)):
            assert not leads
        else:
            assert leads == (not any(beats(other, point) for other in points))
            assert leads or any(beats(other, point) for other in leaders)


def line(run_id: str, role: str, difference: float, **changed: Any) -> dict[str, Any]:
    """A line of `forgetting.csv` in bits per byte."""
    values = dict(zip(("task", "direction", "protocol", "metric"), BITS, strict=True))
    told = {"difference": difference, "ci_low": difference - 0.1, "ci_high": difference + 0.1}
    return {"run_id": run_id, "role": role} | values | told | changed


def rows_of_study() -> list[Row]:
    """A base and two runs: mono gains 20 points, bi 10."""
    rows: list[Row] = []
    for run_id, data, values in (
        ("L3-Base-1", "base", (0.3, 0.5)),
        ("L3-Mono-Alt-1", "mono", (0.6, 0.6)),
        ("L3-Bi-Alt-1", "bi", (0.5, 0.5)),
    ):
        rows += [
            row(run_id, code, value, ACCURACY, data=data)
            for code, value in zip(("zul_Latn", "ceb_Latn"), values, strict=True)
        ]
        rows.append(row(run_id, "xho_Latn", 0.9, ACCURACY, data=data, role="related"))
        rows.append(row(run_id, "zul_Latn", 0.9, Measure("flores200", "en-x", "sound", "empty"), data=data))
    return rows


def study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table, and what of English and code was forgotten: mono 0.3 bits of English, bi 0.4."""
    lines = [line("L3-Mono-Alt-1", "english", 0.3), line("L3-Bi-Alt-1", "english", 0.4)]
    lines += [line("L3-Mono-Alt-1", "code", 1.5), line("L3-Bi-Alt-1", "code", -0.05)]
    return pd.DataFrame([each.record() for each in rows_of_study()]), pd.concat(
        [FORGETTING.empty(), pd.DataFrame(lines)]
    )


def points_of(found: Pareto | None) -> dict[str, dict[Any, Any]]:
    assert found is not None
    return {each["run"]: each for each in found.points.to_dict("records")}


def test_points_are_gains_in_trained_languages_losses_in_english_and_costs() -> None:
    found = pareto(*study(), FLOPS)
    points = points_of(found)
    assert found is not None
    assert (found.adaptation, found.forgetting, found.code, found.cost_unit) == (ACCURACY, BITS, BITS, "FLOPs")
    mono, bi, base = points["L3-Mono-Alt"], points["L3-Bi-Alt"], points["L3-Base"]
    assert (mono["adaptation"], bi["adaptation"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (mono["forgetting"], mono["forgetting_low"], mono["forgetting_high"]) == pytest.approx((0.3, 0.2, 0.4))
    assert bi["code_forgetting"] == -0.05
    assert (mono["cost"], base["cost"], base["adaptation"], base["forgetting"]) == (1e18, 0, 0, 0)
    # Two languages, each with a standard error of 0.05 / 1.96, of run and of base.
    reach = 0.05 * math.sqrt(2 / 2)
    assert mono["adaptation_high"] - mono["adaptation_low"] == pytest.approx(2 * reach, rel=0.05)
    assert [mono["front"], bi["front"], base["front"]] == [True, False, True]


def test_what_is_cheaper_is_on_the_front_though_it_gains_less() -> None:
    costs = {"L3-Mono-Alt-1": 2.0, "L3-Bi-Alt-1": 1.0}, "steps"
    assert points_of(pareto(*study(), costs))["L3-Bi-Alt"]["front"]
    assert not points_of(pareto(*study(), ({}, "")))["L3-Bi-Alt"]["front"]


def test_a_loss_is_a_rise_in_bits_and_a_fall_in_accuracy() -> None:
    table, _ = study()
    english = [
        row("L3-Base-1", "eng_Latn", 0.9, ACCURACY, role="english"),
        row("L3-Mono-Alt-1", "eng_Latn", 0.8, ACCURACY, role="english"),
    ]
    both = pd.concat([table, pd.DataFrame([each.record() for each in english])])
    found = pareto(both, FORGETTING.empty(), FLOPS)
    points = points_of(found)
    assert found is not None
    assert (found.forgetting, found.code) == (ACCURACY, None)
    assert points["L3-Mono-Alt"]["forgetting"] == pytest.approx(0.1)
    assert points["L3-Mono-Alt"]["forgetting_low"] < 0.1 < points["L3-Mono-Alt"]["forgetting_high"]
    assert math.isnan(points["L3-Bi-Alt"]["forgetting"])
    assert not points["L3-Bi-Alt"]["front"]


def test_a_base_alone_is_on_no_front_and_without_a_base_there_is_none() -> None:
    table, _ = study()
    assert not any(point["front"] for point in points_of(pareto(table, FORGETTING.empty(), FLOPS)).values())
    assert pareto(table[table["data"] != "base"], FORGETTING.empty(), FLOPS) is None
    assert pareto(table[table["data"] == "base"], FORGETTING.empty(), FLOPS) is None


def test_published_points_are_reckoned_from_the_published_tables() -> None:
    table = sound_rows(published_rows())
    points = points_of(pareto(table, FORGETTING.empty(), ({}, "")))
    trained = table[(table["langcat"] == "alt") & (table["role"] == "train") & (table["direction"] == "x-en")]
    means = trained.groupby("run")["value"].mean()
    assert points["L3-Bi-Alt"]["adaptation"] == pytest.approx(means["L3-Bi-Alt"] - means["L3-Base"])
    english = table[(table["langcat"] == "alt") & (table["language"] == "eng_Latn")].set_index("run")["value"]
    assert points["L3-Mono-Alt"]["forgetting"] == pytest.approx(english["L3-Base"] - english["L3-Mono-Alt"])
    assert math.isnan(points["L3-Mono-Stag"]["forgetting"])  # English of the stagnant runs was not published


@pytest.mark.parametrize(
    ("ledgers", "hours", "expected"),
    [
        (({"flops": 5.0, "steps": 7}, {"flops": 6.0, "steps": 8}), ("1", "2"), ({"a-1": 5.0, "b-1": 6.0}, "FLOPs")),
        (({"steps": 7}, {"flops": 6.0, "steps": 8}), ("1", "2"), ({"a-1": 1.0, "b-1": 2.0}, "device hours")),
        (({"steps": 7}, {"flops": 6.0, "steps": 8}), ("1", ""), ({"a-1": 7.0, "b-1": 8.0}, "steps")),
        (({}, {"steps": 8}), ("", ""), ({"b-1": 8.0}, "steps")),
        (({}, {}), ("1", "2"), ({}, "")),
    ],
)
def test_costs_are_in_one_unit_that_all_runs_have(
    tmp_path: Path,
    ledgers: tuple[dict[str, float], ...],
    hours: tuple[str, str],
    expected: tuple[dict[str, float], str],
) -> None:
    for run_id, ledger in zip(("a-1", "b-1"), ledgers, strict=True):
        folder = write_run(tmp_path, run_id, [row(run_id, "zul_Latn", 0.5)])
        if ledger:
            write_json(folder / "ledger.json", ledger)
    plan = [{"run_id": run_id, "device_hours": told} for run_id, told in zip(("a-1", "b-1"), hours, strict=True)]
    found = {folder.run_id: read_ledger(folder.path) for folder in run_folders(tmp_path)}
    assert spent({run_id: ledger for run_id, ledger in found.items() if ledger}, plan) == expected


def test_the_section_names_the_best_of_each_language_and_marks_the_front(tmp_path: Path) -> None:
    for run_id in ("L3-Base-1", "L3-Mono-Alt-1", "L3-Bi-Alt-1"):
        rows = [each for each in rows_of_study() if each.run_id == run_id]
        english = row(run_id, "eng_Latn", 0.9 if "Base" in run_id else 0.89, ACCURACY, role="english")
        folder = write_run(tmp_path, run_id, [*rows, english])
        if "Base" not in run_id:
            write_json(folder / "ledger.json", {"flops": 1e18})
    told = render_section(StudyResults.read(tmp_path, "s", "toy", {}), "best")
    assert told is not None
    assert "From l3" in told
    assert '<th scope="row" class="t">Zulu</th>' in told
    assert "60.0 %; +30.0 (" in told
    assert "Adaptation, forgetting, cost" in told
    assert 'title="yes; not sure to be other than zero: forgetting" data-sort="1">○' in told
    assert told.count('<span class="tag">toy</span>') >= 2


def test_the_section_of_published_numbers_claims_no_sureness_of_bleu() -> None:
    rows = published_rows()
    told = render_section(StudyResults.of_rows(sound_rows(rows), rows[rows["odd"] != ""], "p", PUBLISHED, {}), "best")
    assert told is not None
    assert "how sure that is is not known" in told
    assert '<span class="tag">published</span>' in told

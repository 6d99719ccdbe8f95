import math

import pandas as pd
import pytest
from study_folder import BITS, row

from cpt.results.analysis.change.mono_bi_pairs import Pairs, by_language, mean_differences, pairs, unpaired

RUNS = {
    ("mono", False): "L3-Mono-Alt-1",
    ("bi", False): "L3-Bi-Alt-2",
    ("mono", True): "L3-Mono+Code-Alt-3",
    ("bi", True): "L3-Bi+Code-Alt-4",
}
TRAINED = ("zul_Latn", "mar_Deva", "khm_Khmr")


def scores(point, values, **changed):
    """Rows of a run at a point, a value a language."""
    data, code = point
    return [
        row(changed.get("run_id", RUNS[point]), language, value, data=data, code=code, **changed.get("more", {}))
        for language, value in zip(TRAINED, values, strict=True)
    ]


def table(rows):
    return pd.DataFrame([each.record() for each in rows])


@pytest.fixture
def crossed():
    """Bi is better by 0.1, 0.2 and 0.3 without code, and by as much less 0.04 with it; code costs 0.01 in mono."""
    rows = [row("L3-Base-Alt-0", language, 0.2) for language in TRAINED]
    rows += scores(("mono", False), (0.3, 0.3, 0.3)) + scores(("bi", False), (0.4, 0.5, 0.6))
    rows += scores(("mono", True), (0.29, 0.29, 0.29)) + scores(("bi", True), (0.35, 0.45, 0.55))
    return table(rows)


def test_pairs_differ_in_one_axis_alone(crossed):
    found = pairs(crossed, "data")
    assert len(found) == 6
    assert set(found["other"]) == {"without code", "with code"}
    assert set(zip(found["first_id"], found["second_id"], strict=True)) == {
        ("L3-Mono-Alt-1", "L3-Bi-Alt-2"),
        ("L3-Mono+Code-Alt-3", "L3-Bi+Code-Alt-4"),
    }
    without = found[found["other"] == "without code"].set_index("language")["difference"]
    assert without.to_dict() == pytest.approx({"zul_Latn": 0.1, "mar_Deva": 0.2, "khm_Khmr": 0.3})
    code = pairs(crossed, "code")
    assert set(code["other"]) == {"mono", "bi"}
    assert set(code.loc[code["other"] == "mono", "difference"].round(9)) == {-0.01}


def test_means_are_over_matched_pairs_and_then_over_languages(crossed):
    found = pairs(crossed, "data")
    zulu = by_language(found).set_index("language").loc["zul_Latn"]
    assert zulu["first"] == pytest.approx(0.295)
    assert zulu["second"] == pytest.approx(0.375)
    assert zulu["pairs"] == 2
    (mean,) = mean_differences(by_language(found)).itertuples()
    assert mean.difference == pytest.approx(0.18)
    # By hand: differences 0.08, 0.18, 0.28; standard error 0.1 / √3; Student's quantile for 2 degrees 4.302653.
    assert mean.ci_high - mean.difference == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert mean.languages == 3


def test_two_languages_have_no_interval(crossed):
    (mean,) = Pairs(pairs(crossed[crossed["language"] != "zul_Latn"], "data")).means.itertuples()
    assert mean.difference == pytest.approx(0.23)
    assert math.isnan(mean.ci_low)
    assert math.isnan(mean.ci_high)


def test_what_is_in_no_pair_is_said(crossed):
    assert unpaired(crossed, "data", pairs(crossed, "data")) == []
    alone = crossed[crossed["run_id"] != "L3-Bi+Code-Alt-4"]
    assert unpaired(alone, "data", pairs(alone, "data")) == [
        "L3-Mono+Code-Alt-3: no counterpart that differs in this alone and was scored on the same"
    ]
    fewer = crossed[(crossed["run_id"] != "L3-Bi-Alt-2") | (crossed["language"] != "zul_Latn")]
    assert unpaired(fewer, "data", pairs(fewer, "data")) == ["L3-Mono-Alt-1: some scores that the counterpart has not"]
    assert len(pairs(fewer, "data")) == 5


def test_a_point_with_two_runs_is_in_no_pair(crossed):
    twice = pd.concat([crossed, table(scores(("bi", False), (0.9, 0.9, 0.9), run_id="L3-Bi-Alt-5"))])
    assert set(pairs(twice, "data")["other"]) == {"with code"}
    said = unpaired(twice, "data", pairs(twice, "data"))
    assert said[0].startswith("L3-Mono-Alt-1: no counterpart")
    assert said[1] == "L3-Bi-Alt-2, L3-Bi-Alt-5: another run stands at the same point of the study"


def test_seeds_pair_with_themselves(crossed):
    other = [
        *scores(("mono", False), (0.1, 0.1, 0.1), run_id="L3-Mono-Alt-6", more={"seed": 18}),
        *scores(("bi", False), (0.2, 0.2, 0.2), run_id="L3-Bi-Alt-7", more={"seed": 18}),
    ]
    found = pairs(pd.concat([crossed, table(other)]), "data")
    assert set(found.loc[found["seed"] == 18, "difference"].round(9)) == {0.1}
    assert len(found) == 9
    unknown = crossed.assign(seed=pd.Series([pd.NA] * len(crossed), dtype="Int64"))
    assert len(pairs(unknown, "data")) == 6


def test_measures_never_mix(crossed):
    bits = table([row("L3-Mono-Alt-1", "zul_Latn", 2.0, BITS), row("L3-Bi-Alt-2", "zul_Latn", 1.5, BITS, data="bi")])
    found = pairs(pd.concat([crossed, bits]), "data")
    assert found.loc[found["task"] == "bpb", "difference"].tolist() == [-0.5]
    assert len(mean_differences(by_language(found))) == 2

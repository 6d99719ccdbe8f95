import math

import pandas as pd
import pytest
from study_folder import BITS, SIB200, row

from cpt.evals.rows import COLUMNS
from cpt.results.analysis.change.against_base import change_of_groups, changes, group_change, left_out, relative_change
from cpt.results.analysis.change.heat_maps import level
from cpt.results.analysis.summary import headline_protocols, summary
from cpt.results.figures.curves import thin
from cpt.results.figures.drawing import ticks
from cpt.results.rows.measures import Measure, number, signed
from cpt.results.rows.table import DTYPES

BASE, RUN = "L3-Base-Alt-00000000", "L3-Mono-Alt-11111111"
# Published SIB-200 accuracies of Llama 3.1 8B and of L3-Mono-Alt on its trained languages (arXiv 2504.04152).
PUBLISHED_BASE = {"zho_Hans": 0.7549, "mar_Deva": 0.6667, "ceb_Latn": 0.6912, "zul_Latn": 0.5441, "khm_Khmr": 0.6422}
PUBLISHED_RUN = {"zho_Hans": 0.6176, "mar_Deva": 0.4510, "ceb_Latn": 0.4902, "zul_Latn": 0.5196, "khm_Khmr": 0.4167}


def table(*rows):
    return pd.DataFrame([item.record() for item in rows], columns=list(COLUMNS)).astype(DTYPES)


def published():
    base = [row(BASE, language, value) for language, value in PUBLISHED_BASE.items()]
    return [*base, *(row(RUN, language, value) for language, value in PUBLISHED_RUN.items())]


def test_relative_change():
    assert relative_change(3.0, 2.0) == pytest.approx(50.0)
    assert relative_change(1.0, 4.0) == pytest.approx(-75.0)
    assert math.isnan(relative_change(1.0, 0.0))


def test_the_group_reckoning_gives_the_published_change():
    found = group_change(PUBLISHED_RUN, PUBLISHED_BASE)
    assert round(found.change, 2) == -24.37
    assert found.mean == pytest.approx(2.4951 / 5)
    assert (found.n, found.missing) == (5, ())


def test_the_group_reckoning_is_of_means_and_over_shared_languages():
    found = group_change({"a": 2.0, "b": 4.0, "only_run": 100.0}, {"a": 1.0, "b": 4.0, "only_base": 0.5})
    # Means 3.0 and 2.5: +20 %. The mean of the two relative changes would be +50 %.
    assert found.change == pytest.approx(20.0)
    assert (found.n, found.missing) == (2, ("only_base", "only_run"))
    assert math.isnan(group_change({"a": 1.0}, {}).change)


def test_change_of_each_score_against_the_same_score_of_its_base():
    rows = [
        row(BASE, "zul_Latn", 0.4),
        row(BASE, "zul_Latn", 0.2, ("sib200", "", "paper", "accuracy")),
        row(BASE, "zul_Latn", 0.1, langcat="stag"),
        row(BASE, "zul_Latn", 0.9, model="l2"),
        row(RUN, "zul_Latn", 0.5),
        row(RUN, "zul_Latn", 3.0, BITS),
    ]
    found = changes(table(*rows))
    assert len(found) == 1
    only = found.iloc[0]
    assert (only["run_id"], only["base"], only["base_n"]) == (RUN, 0.4, 204)
    assert only["difference"] == pytest.approx(0.1)
    assert only["relative"] == pytest.approx(25.0)
    assert (only["base_low"], only["base_high"]) == (pytest.approx(0.35), pytest.approx(0.45))


def test_groups_hold_trained_and_related_apart_and_no_english():
    extra = [
        row(BASE, "yue_Hant", 0.5, role="related"),
        row(RUN, "yue_Hant", 0.6, role="related"),
        row(BASE, "eng_Latn", 0.8, role="english"),
        row(RUN, "eng_Latn", 0.1, role="english"),
    ]
    found = change_of_groups(table(*published(), *extra)).set_index("role")
    assert set(found.index) == {"train", "related"}
    assert round(found.loc["train", "change"], 2) == -24.37
    assert found.loc["train", "n"] == 5
    assert found.loc["related", "change"] == pytest.approx(20.0)


def test_what_cannot_be_compared_is_left_out_and_said():
    assert left_out(table(*published())) == []
    rows = [row(RUN, "tha_Thai", 0.5), row(RUN, "zul_Latn", 2.0, BITS)]
    lacking = [item for item in published() if (item.run_id, item.language) != (RUN, "khm_Khmr")]
    assert left_out(table(*lacking, *rows)) == [
        f"{RUN}: no score of the base model in sib200 sound accuracy for tha_Thai",
        f"{RUN}: no score of the base model in bpb sound bits_per_byte for zul_Latn",
        f"{RUN}: not scored in sib200 sound accuracy for khm_Khmr",
    ]
    group = change_of_groups(table(*lacking, *rows))
    assert list(group["missing"]) == ["khm_Khmr tha_Thai"]
    assert list(group["n"]) == [4]


def test_runs_without_any_base_are_said_once_together():
    other = "L3-Bi-Alt-22222222"
    rows = [row(RUN, "zul_Latn", 0.5), row(other, "zul_Latn", 0.6, data="bi"), row(other, "khm_Khmr", 0.6, data="bi")]
    assert changes(table(*rows)).empty
    assert left_out(table(*rows)) == [f"{other}, {RUN}: no score of the untouched base model l3 for alt"]


def test_a_base_scored_twice_differently_is_not_guessed():
    again = row("L3-Base-Alt-99999999", "zul_Latn", 0.9)
    found = table(*published(), again)
    assert "zul_Latn" not in set(changes(found)["language"])
    assert left_out(found) == [f"{RUN}: two different scores of the base model in sib200 sound accuracy for zul_Latn"]
    same = row("L3-Base-Alt-99999999", "zul_Latn", PUBLISHED_BASE["zul_Latn"])
    assert len(changes(table(*published(), same))) == 5


def test_summary_takes_means_by_run_of_one_protocol():
    rows = [
        *published(),
        row(RUN, "zho_Hans", 0.0, ("sib200", "", "paper", "accuracy")),
        row(RUN, "zho_Hans", 1.0, BITS),
        row(RUN, "zul_Latn", 2.0, BITS),
        row(RUN, "eng_Latn", 0.7, BITS, role="english"),
        row(RUN, "python", 0.25, BITS, role="code"),
        row(RUN, "zul_Latn", 9.0, ("flores200", "en-x", "sound", "chrf++")),
        row(RUN, "zul_Latn", 15.0, ("flores200", "x-en", "sound", "chrf++")),
        row(RUN, "yue_Hant", 99.0, ("flores200", "x-en", "sound", "chrf++"), role="related"),
    ]
    found = summary(table(*rows)).set_index("run_id")
    assert found.loc[RUN, "sib200_train"] == pytest.approx(0.49902)
    assert found.loc[BASE, "sib200_train"] == pytest.approx(0.65982)
    values = found.loc[RUN, ["bpb_train", "bpb_english", "bpb_code", "chrf_en_x_train", "chrf_x_en_train"]]
    assert list(values) == [1.5, 0.7, 0.25, 9.0, 15.0]
    assert math.isnan(found.loc[RUN, "bpb_related"])
    assert math.isnan(found.loc[BASE, "bpb_train"])
    assert set(found["partial"]) == {""}


def test_summary_says_which_means_lack_languages():
    lacking = [item for item in published() if (item.run_id, item.language) != (RUN, "khm_Khmr")]
    found = summary(table(*lacking)).set_index("run_id")
    assert dict(found["partial"]) == {BASE: "", RUN: "sib200_train lacks khm_Khmr"}


def test_the_sound_protocol_is_shown_where_there_is_one():
    rows = [row(RUN, "a", 0.1), row(RUN, "a", 0.1, ("sib200", "", "paper", "accuracy"))]
    rows.append(row(RUN, "a", 0.1, ("flores200", "en-x", "paper", "bleu")))
    assert headline_protocols(table(*rows)) == {"sib200": "sound", "flores200": "paper"}


def test_better_has_one_colour_whichever_way_a_metric_runs():
    accuracy, bits = Measure(*SIB200), Measure(*BITS)
    assert level(accuracy.gain(0.2), 0.2) == level(bits.gain(-0.2), 0.2) == "b5"
    assert level(accuracy.gain(-0.1), 0.2) == level(bits.gain(0.1), 0.2) == "w3"
    assert level(accuracy.gain(9.0), 0.2) == "b5"
    assert level(accuracy.gain(0.01), 0.2) == level(math.nan, 0.2) == level(0.1, 0.0) == ""
    assert Measure("new", "", "sound", "unheard_of").gain(1.0) == 0.0


def test_numbers_for_people():
    assert Measure(*SIB200).value(0.4119) == "41.2"
    assert Measure(*SIB200).change(-0.0512) == "−5.1"
    assert Measure(*BITS).value(1.23456) == "1.235"
    assert (signed(0.04, 1), signed(-0.04, 1), signed(1234.0, 0)) == ("0.0", "0.0", "+1,234")
    assert (number(math.nan, 1), signed(math.inf, 1)) == ("–", "–")


def test_thinned_curves_keep_means_and_the_last_step():
    points = [(step, float(step)) for step in range(1, 1001)]
    thinned = thin(points, most=10)
    assert thinned[0] == (100, 50.5)
    assert thinned[-1] == (1000, 950.5)
    assert len(thinned) == 10
    assert thin(points[:7], most=10) == points[:7]
    assert len(thin(points, most=150)) <= 150


def test_ticks_are_round():
    assert ticks(0, 600) == [0, 200, 400, 600]
    assert ticks(1.3, 4.1) == [2, 3, 4]
    assert ticks(5, 5) == [5]


def test_a_mean_has_the_interval_of_its_scores_and_says_over_how_many_languages() -> None:
    rows = [row("L3-Mono-Alt-01", code, value, n=100) for code, value in (("zul_Latn", 0.3), ("khm_Khmr", 0.5))]
    found = summary(pd.DataFrame([each.record() for each in rows]).astype({"seed": "Int64"})).iloc[0]
    reach = math.sqrt(0.05**2 + 0.05**2) / 2
    assert found["sib200_train"] == pytest.approx(0.4)
    assert (found["sib200_train_low"], found["sib200_train_high"]) == pytest.approx((0.4 - reach, 0.4 + reach))
    assert found["sib200_train_languages"] == 2

"""The answer in words says what the effects hold, no more; on the published numbers, what the paper found or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from study_folder import row

from cpt.results.analysis.conclusions import (
    AGAINST,
    ALIKE,
    APART,
    BORNE_OUT,
    OPEN,
    Finding,
    answers,
    findings,
    headline,
    judged,
)
from cpt.results.analysis.effects.effects_table import effects
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.published_study import published_rows, sound_rows
from cpt.results.report.page import render_section
from cpt.results.rows.banners import PUBLISHED

LANGUAGES = ("zho_Hans", "ceb_Latn", "mar_Deva", "zul_Latn", "khm_Khmr")
BITS = ("bpb", "", "sound", "bits_per_byte")
SIB200 = ("sib200", "", "sound", "accuracy")


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return sound_rows(published_rows())


@pytest.fixture(scope="module")
def held(published: pd.DataFrame) -> dict[tuple[str, str], list[Finding]]:
    found: dict[tuple[str, str], list[Finding]] = {}
    for each in findings(effects(published), published):
        found.setdefault((each.part.claim, each.role), []).append(each)
    return found


def test_code_adds_to_accuracy_and_takes_nothing_from_text() -> None:
    rows = []
    for place, language in enumerate(LANGUAGES):
        for data, code in (("base", False), ("mono", False), ("mono", True)):
            axes: dict[str, Any] = {"data": data, "code": code, "role": "train"}
            name = f"L3-{data.title()}{'+Code' if code else ''}-01"
            rows.append(row(name, language, 0.3 + (0.1 + 0.001 * place) * code, SIB200, **axes))
            rows.append(row(name, language, 1.0 + (-1) ** place * 0.01 * code, BITS, **axes))
    table = pd.DataFrame([each.record() for each in rows])
    (answer,) = [each for each in answers(effects(table), table) if each.question == "With or without code?"]
    (conclusion,) = answer.conclusions
    assert conclusion.choice == "Code in the mix"
    assert conclusion.verdicts == {
        "better": "SIB-200 accuracy (trained)",
        "unclear": "Held-out text bits per byte (trained)",
    }
    assert [each.measure.metric for each in conclusion.effects] == ["bits_per_byte", "accuracy"]


def test_without_effects_nothing_is_answered(published: pd.DataFrame) -> None:
    bases = published[published["data"] == "base"]
    assert answers(effects(bases), bases) == []


def test_headline_is_one_metric_of_each_benchmark_and_direction(published: pd.DataFrame) -> None:
    found = [(each.task, each.direction, each.metric) for each in headline(published)]
    assert found == [("sib200", "", "accuracy"), ("flores200", "en-x", "spbleu"), ("flores200", "x-en", "spbleu")]


Held = dict[tuple[str, str], list[Finding]]


def test_first_finding_bilingual_text_collapses_translation_and_may_help_classification(held: Held) -> None:
    for role, bound in (("train", -7), ("related", -2.5)):
        (collapse,) = held["it makes translation into English collapse", role]
        assert collapse.judged == BORNE_OUT
        assert collapse.row.ci_high < bound
        (help_,) = held["bilingual text helps classification", role]
        assert help_.judged == OPEN  # +2.1 and +1.2 points, of which chance may be the cause
        assert help_.row.estimate > 0


def test_second_finding_code_helps_classification_but_no_cost_is_seen(held: Held) -> None:
    for role in ("train", "related"):
        (helps,) = held["code helps classification", role]
        assert helps.judged == BORNE_OUT
        assert helps.row.ci_low > 0.005
        (cost,) = held["it costs translation into English", role]
        assert cost.judged != BORNE_OUT  # +1.2 and +1.0 spBLEU: if anything a gain
        assert cost.row.estimate > 0
        (few,) = held["more with few resources", role]
        assert few.judged == OPEN


def test_third_finding_categories_do_not_predict_transfer(held: Held) -> None:
    found = held["categories do not differ in what related languages gain", "related"]
    assert [each.row.contrast for each in found] == ["sel − alt", "stag − alt", "stag − sel"]
    assert {each.judged for each in found} == {ALIKE}


@pytest.mark.parametrize(
    ("sense", "estimate", "low", "high", "p", "said"),
    [
        (1, 2.0, 1.0, 3.0, 0.01, BORNE_OUT),
        (1, 2.0, -1.0, 5.0, 0.2, OPEN),
        (1, 2.0, 0.1, 3.9, 0.2, BORNE_OUT),
        (1, -2.0, -5.0, 1.0, 0.2, OPEN),
        (1, -2.0, -3.0, -1.0, 0.01, AGAINST),
        (-1, -2.0, -3.0, -1.0, 0.01, BORNE_OUT),
        (0, -2.0, -5.0, 1.0, 0.2, ALIKE),
        (0, -2.0, -3.0, -1.0, 0.01, APART),
        (1, 2.0, float("nan"), float("nan"), float("nan"), OPEN),
    ],
)
def test_how_a_part_is_judged(sense: int, estimate: float, low: float, high: float, p: float, said: str) -> None:
    line = {"estimate": estimate, "ci_low": low, "ci_high": high, "p_adjusted": p, "metric": "accuracy"}
    assert judged(sense, next(pd.DataFrame([line]).itertuples())) == said


def test_the_section_says_what_kind_of_numbers_it_has_and_holds_findings_only_against_real_ones(
    published: pd.DataFrame,
) -> None:
    contents = StudyResults.of_rows(published, published.iloc[:0].assign(odd=""), "p", PUBLISHED, {})
    section = render_section(contents, "answer")
    assert section is not None
    assert "one seed" in section
    assert section.count('class="tag">published') == section.count("<caption>")
    assert "held against these runs" in section
    toy = render_section(replace(contents, scale="toy"), "answer")
    assert toy is not None
    assert "held against these runs" not in toy

"""The published numbers are what was published, and only what is comparable is set beside them."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console
from study_folder import row, write_run

from cpt.evals.rows import COLUMNS, EN_X, X_EN
from cpt.languages import ENGLISH, registry, relatives
from cpt.results.analysis.change.against_base import change_of_groups
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.published_comparison import (
    ALL,
    beside,
    missing,
    print_beside,
    study_beside,
    summary,
    write_beside,
)
from cpt.results.rows.published import read_published
from cpt.results.rows.table import DTYPES

SIB200 = ("sib200", "", "paper", "accuracy")
FROM_ENGLISH = ("flores200", EN_X, "paper", "spbleu")
TO_ENGLISH = ("flores200", X_EN, "paper", "spbleu")
MONO, BASE, TWIN = "L3-Mono-Alt-11111111", "L3-Base-00000000", "L2-Bi-Alt-22222222"


@pytest.fixture(scope="module")
def published():
    return read_published()


def table(*rows):
    return pd.DataFrame([item.record() for item in rows], columns=list(COLUMNS)).astype(DTYPES)


def lines(found):
    """A summary by run, category, task and direction."""
    return found.set_index(["run", "langcat", "task", "direction"])


def test_all_values_are_there_in_the_form_of_our_rows(published):
    assert list(published.columns) == [*COLUMNS, "odd"]
    assert list(published.dtypes[list(COLUMNS)]) == list(table().dtypes)
    assert len(published) == 1785
    assert published.groupby("task").size().to_dict() == {"flores200": 1170, "sib200": 615}
    assert published["run"].nunique() == 39
    assert {"L3-Bi+Code-Stag", "V7-Mono-Alt", "L2-Base"} <= set(published["run"])
    assert not published.duplicated(["run", "langcat", "language", "task", "direction", "metric"]).any()
    assert published[published["metric"] == "accuracy"]["value"].between(0, 0.8).all()
    assert published[published["metric"] == "spbleu"]["value"].between(0, 40).all()


@pytest.mark.parametrize(
    ("run", "langcat", "language", "task", "direction", "role", "value"),
    [
        ("L2-Bi-Alt", "alt", "zho_Hans", "sib200", "", "train", 0.2598),
        ("L3-Mono-Alt", "alt", "zho_Hans", "sib200", "", "train", 0.6176),
        ("V7-Mono+Code-Sel", "sel", "eng_Latn", "sib200", "", "english", 0.3922),
        ("L3-Base", "stag", "bam_Latn", "flores200", "en-x", "related", 22.51),
        ("V7-Base", "sel", "dan_Latn", "flores200", "x-en", "related", 39.68),
        ("L2-Base", "alt", "khm_Khmr", "flores200", "x-en", "train", 2.06),
    ],
)
def test_single_values_are_the_published_ones(published, run, langcat, language, task, direction, role, value):
    at = {"run": run, "langcat": langcat, "language": language, "task": task, "direction": direction}
    [found] = published[(published[list(at)] == list(at.values())).all(axis=1)].to_dict("records")
    assert (found["value"], found["role"]) == (value, role)


def test_languages_and_roles_are_the_registrys(published):
    for category in ("alt", "sel", "stag"):
        trained = [code for code, item in registry().items() if category in item.trained_in and code != ENGLISH]
        expected = dict.fromkeys(trained, "train") | dict.fromkeys(relatives([*trained, ENGLISH]), "related")
        for task, english in (("sib200", category != "stag"), ("flores200", False)):
            rows = published[(published["langcat"] == category) & (published["task"] == task)]
            roles = expected | ({ENGLISH: "english"} if english else {})
            for _, one in rows.groupby(["run", "direction"]):
                assert dict(zip(one["language"], one["role"], strict=True)) == roles


def test_our_reckoning_of_change_gives_the_published_one(published):
    found = change_of_groups(published)
    found = found[(found["run"] == "L3-Mono-Alt") & (found["task"] == "sib200")]
    assert {role: round(change, 2) for role, change in zip(found["role"], found["change"], strict=True)} == {
        "train": -24.37,
        "related": -31.26,
    }
    assert set(found["missing"]) == {""}


def test_what_is_out_of_line_is_marked_with_its_reason(published):
    odd = published[published["odd"] != ""]
    assert odd.groupby(["run", "task", "direction"]).size().to_dict() == {
        ("L3-Base", "flores200", EN_X): 39,
        ("L2-Bi-Alt", "flores200", EN_X): 13,
        ("L2-Bi-Alt", "flores200", X_EN): 13,
    }
    reasons = odd.groupby("run")["odd"].unique()
    assert "permuted" in reasons["L3-Base"].item()
    assert "L2-Mono-Alt" in reasons["L2-Bi-Alt"].item()


def of_study(study, scale):
    return study_beside(StudyResults.read(study, scale=scale))


def test_each_score_is_set_beside_its_own_published_one():
    rows = [
        row(MONO, "zho_Hans", 0.60, SIB200),
        row(MONO, "zho_Hans", 0.90, ("sib200", "", "sound", "accuracy")),
        row(MONO, "zho_Hans", 0.0, ("flores200", EN_X, "paper", "chrf++")),
        row(MONO, "tha_Thai", 0.5, SIB200),
        row(MONO, "zul_Latn", 0.6, SIB200, ci_low=0.53, ci_high=0.66),
    ]
    found = beside(table(*rows)).set_index("language")
    assert set(found.index) == {"zho_Hans", "zul_Latn"}
    chinese, zulu = found.loc["zho_Hans"], found.loc["zul_Latn"]
    assert (chinese["published"], chinese["ours"], chinese["n"], chinese["odd"]) == (0.6176, 0.60, 204, "")
    assert chinese["difference"] == pytest.approx(-0.0176)
    assert chinese["inside"]
    assert zulu["published"] == 0.5196
    assert not zulu["inside"]


def test_the_rounding_of_what_is_published_puts_nothing_outside():
    exact = 126 / 204  # published as 0.6176
    touching = row(MONO, "zho_Hans", exact, SIB200, ci_low=exact, ci_high=exact)
    beyond = row("L3-Mono-Alt-S2-3", "zho_Hans", 0.6177, SIB200, ci_low=0.6177, ci_high=0.6177)
    found = beside(table(touching, beyond))
    assert dict(zip(found["run_id"], found["inside"], strict=True)) == {MONO: True, "L3-Mono-Alt-S2-3": False}


def test_a_base_model_is_compared_in_each_of_its_categories():
    rows = [row(BASE, "zul_Latn", value, SIB200, langcat=name) for name, value in (("alt", 0.5), ("stag", 0.6))]
    found = beside(table(*rows, row(BASE, "zul_Latn", 0.7, SIB200, langcat="sel")))
    assert list(zip(found["langcat"], found["published"], found["ours"], strict=True)) == [
        ("alt", 0.5441, 0.5),
        ("stag", 0.5441, 0.6),
    ]


def test_seeds_are_compared_each_and_random_weights_never():
    seeds = [row(f"L3-Mono-Alt-S{seed}-1111111{seed}", "zul_Latn", 0.5, SIB200, seed=seed) for seed in (2, 3)]
    random = [row(f"L3Random-{name}-44444444", "zul_Latn", 0.5, SIB200) for name in ("Mono-Alt", "Base")]
    found = beside(table(*seeds, *random))
    assert list(found["run"]) == ["L3-Mono-Alt-S2", "L3-Mono-Alt-S3"]
    assert missing(table(*random)).equals(read_published())
    assert lines(summary(found)).loc[ALL, "missing"].tolist() == [614, 585, 585]


def test_scores_over_fewer_items_are_not_set_beside():
    whole, part = (row(MONO, "zho_Hans", 0.6, SIB200, n=n) for n in (204, 50))
    assert list(beside(table(whole))["n"]) == [204]
    assert beside(table(part)).empty


def test_summaries_count_and_leave_out_what_is_odd():
    differences = {"zho_Hans": 0.01, "mar_Deva": -0.02, "ceb_Latn": 0.06}
    values = {"zho_Hans": 0.6176, "mar_Deva": 0.4510, "ceb_Latn": 0.4902}
    rows = [row(MONO, code, value + differences[code], SIB200) for code, value in values.items()]
    rows += [row(BASE, "zul_Latn", 2.0, FROM_ENGLISH, n=1012), row(BASE, "zul_Latn", 8.7, TO_ENGLISH, n=1012)]
    rows += [
        row(TWIN, "zul_Latn", 1.0, measure, model="l2", data="bi", n=1012) for measure in (FROM_ENGLISH, TO_ENGLISH)
    ]
    found = beside(table(*rows))
    assert (found["odd"] != "").sum() == 3
    named = lines(summary(found))
    mono = named.loc["L3-Mono-Alt", "alt", "sib200", ""]
    assert (mono["cells"], mono["inside"], mono["odd"], mono["missing"]) == (3, 2, 0, 11)
    assert (mono["mean"], mono["median"]) == (pytest.approx(0.03), pytest.approx(0.02))
    assert mono["correlation"] == pytest.approx(pd.Series([0.6276, 0.4310, 0.5502]).corr(pd.Series(values.values())))
    from_english, to_english = (named.loc["L3-Base", "alt", "flores200", way] for way in (EN_X, X_EN))
    assert (from_english["cells"], from_english["odd"], from_english["missing"]) == (0, 1, 12)
    assert math.isnan(from_english["mean"])
    assert (to_english["cells"], to_english["mean"]) == (1, pytest.approx(0.03))
    assert math.isnan(to_english["correlation"])
    overall = named.loc[ALL, "", "flores200", X_EN]
    assert (overall["cells"], overall["odd"], overall["missing"]) == (1, 1, 583)
    assert overall["mean"] == pytest.approx(0.03)


def test_published_cells_without_a_score_are_known():
    found = missing(table(row(MONO, "zho_Hans", 0.6, SIB200), row(BASE, "zul_Latn", 0.5, SIB200)))
    assert len(found) == 1783
    mono = found[(found["run"] == "L3-Mono-Alt") & (found["task"] == "sib200")]
    assert len(mono) == 13
    assert "zho_Hans" not in set(mono["language"])


def test_a_study_gets_a_file_and_lines_of_its_own(tmp_path):
    write_run(tmp_path, MONO, [row(MONO, "zho_Hans", 0.6, SIB200)])
    path = write_beside(tmp_path, of_study(tmp_path, "paper"))
    assert path == tmp_path / "published.csv"
    back = pd.read_csv(path, keep_default_na=False)
    assert back[["run_id", "published", "ours", "inside"]].values.tolist() == [[MONO, 0.6176, 0.6, True]]
    told = said(tmp_path, "paper")
    assert "arXiv 2504.04152" in told[0]
    assert told[2].split() == ["L3-Mono-Alt", "alt", "1/1", "1.8/1.8", "–", *["–", "–/–", "–"] * 2, "0", "39"]
    assert told[-1] == "1,784 of the 1,785 published values have no score here"


def test_toy_numbers_are_never_set_beside_real_ones(tmp_path):
    write_run(tmp_path, MONO, [row(MONO, "zho_Hans", 0.6, SIB200)])
    assert write_beside(tmp_path, of_study(tmp_path, "toy")) is None
    assert said(tmp_path, "toy") == []
    assert not (tmp_path / "published.csv").exists()


def test_a_study_of_the_sound_protocol_alone_is_not_compared(tmp_path):
    write_run(tmp_path, MONO, [row(MONO, "zho_Hans", 0.6)])
    assert write_beside(tmp_path, of_study(tmp_path, "paper")) is None
    assert said(tmp_path, "paper") == []
    assert write_beside(tmp_path / "nowhere", of_study(tmp_path / "nowhere", "paper")) is None


def said(study, scale):
    console = Console(file=io.StringIO(), width=80)
    print_beside(study.name, of_study(study, scale), console)
    return console.file.getvalue().splitlines()

"""The published numbers open like a study of ours, and the claims of the categories are judged by the stated rule."""

import contextlib
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from study_folder import row, write_run

from cpt.cli import main
from cpt.errors import UserError
from cpt.evals.metrics.bootstrap import wilson
from cpt.evals.rows import COLUMNS, EN_X, X_EN
from cpt.results.analysis.change.against_base import change_of_groups
from cpt.results.analysis.claims import ALTRUISTIC, MET, SELFISH, STAGNANT, Change, claims, is_met, tally
from cpt.results.output.published_study import write_published
from cpt.results.report.page import write_report
from cpt.results.rows.banners import PUBLISHED_LABEL, TOY_LABEL
from cpt.results.rows.published import FACTS
from cpt.results.rows.table import DTYPES, read_comparison

UP, DOWN, SOME, NONE = Change(20, 10, 30), Change(-20, -30, -10), Change(3, -8, 14), Change(0, -3, 3)
MORE = Change(60, 50, 70)
ROLES = ("train",) * 3 + ("related",) * 3
UNKNOWN = Change(20, float("nan"), float("nan"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command wrote, and what it said."""
    runs, told = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
        main(["--runs", str(runs), "report", "--published"])
    assert ended.value.code == 0
    return runs / "published", told.getvalue()


@pytest.fixture
def study(written):
    return written[0]


def lines(study, name):
    return pd.read_csv(study / name, keep_default_na=False, dtype="str")


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.links, self.tables, self.tagged, self.words = [], 0, 0, []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [named[key] for key in ("src", "href", "srcset", "data") if key in named]
        self.tables += tag == "table" or named.get("class") == "drawn"
        self.tagged += tag == "span" and named.get("class") == "tag"

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize(
    ("run", "role", "task", "direction", "change"),
    [
        ("L3-Mono-Alt", "train", "sib200", "", -24.37),
        ("L3-Mono-Alt", "related", "sib200", "", -31.26),
        # (.4461 + .4412 + .4216 + .4118) ÷ (.1618 + .3725 + .2206 + .2108) = 1.7207 ÷ 0.9657
        ("V7-Bi-Stag", "train", "sib200", "", 78.18),
        # (.307 + .062 + .191 + .026) ÷ (7.09 + 22.72 + 4.69 + 6.48) = 0.586 ÷ 40.98
        ("L3-Bi-Stag", "train", "flores200", X_EN, -98.57),
    ],
)
def test_changes_are_what_follows_from_the_published_values_by_hand(study, run, role, task, direction, change):
    found = lines(study, "change.csv")
    at = {"run": run, "role": role, "task": task, "direction": direction}
    [line] = found[(found[list(at)] == list(at.values())).all(axis=1)].to_dict("records")
    assert (round(float(line["change"]), 2), line["odd"], line["missing"]) == (change, "", "")


def test_all_values_open_as_any_comparison_does(study):
    found = read_comparison(study / "comparison.csv")
    facts = pd.read_csv(FACTS, keep_default_na=False)
    assert len(found) == len(facts) == 1785
    assert found["value"].sum() == pytest.approx(facts["value"].sum())
    assert found["seed"].isna().all()
    shares = found["metric"] == "accuracy"
    assert found.loc[~shares, ["ci_low", "ci_high"]].isna().all(axis=None)
    assert (found.loc[shares, "ci_low"] < found.loc[shares, "value"]).all()
    assert (found.loc[shares, "value"] < found.loc[shares, "ci_high"]).all()


def test_the_interval_of_a_share_is_wilsons():
    assert wilson(0.5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(0.0, 10) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.2775, abs=1e-4))


def test_every_run_has_a_line_that_says_whether_its_claim_is_met(study):
    found = lines(study, "categories.csv")
    assert len(found) == found["run"].nunique() == 36
    assert found.groupby("claim").size().to_dict() == {ALTRUISTIC: 12, SELFISH: 12, STAGNANT: 12}
    assert set(found["met"]) <= set(MET.values())
    counts = found.groupby(["claim", "at_face_value"]).size().to_dict()
    assert counts == {(ALTRUISTIC, "no"): 12, (SELFISH, "no"): 8, (SELFISH, "yes"): 4} | {
        (STAGNANT, "no"): 9,
        (STAGNANT, "yes"): 3,
    }
    assert not (found["met"] == "yes").any()
    line = found[found["run"] == "L3-Mono-Alt"].to_dict("records")[0]
    assert [round(float(line[f"{group}_change"]), 2) for group in ("trained", "related")] == [-24.37, -31.26]
    assert (line["met"], line["why"].count("no gain"), line["code"], line["seed"]) == ("no", 2, "false", "")


def test_claims_are_reckoned_as_the_study_does(study):
    changes = change_of_groups(read_comparison(study / "comparison.csv"))
    changes = changes[changes["task"] == "sib200"].set_index(["run", "role"])["change"]
    for line in lines(study, "categories.csv").to_dict("records"):
        assert float(line["trained_change"]) == pytest.approx(changes[line["run"], "train"], abs=1e-6)
        assert float(line["related_change"]) == pytest.approx(changes[line["run"], "related"], abs=1e-6)


def test_what_is_odd_is_listed_and_every_change_it_makes_is_marked(study):
    odd, changes = lines(study, "odd.csv"), lines(study, "change.csv")
    assert list(odd) == [*COLUMNS, "odd"]
    assert len(odd) == 65
    marked = set(changes[changes["odd"] != ""][["run", "task", "direction"]].itertuples(index=False, name=None))
    of_base = {run for run in changes["run"] if run.startswith("L3-")}
    assert marked == {(run, "flores200", EN_X) for run in of_base} | {
        ("L2-Bi-Alt", "flores200", way) for way in (EN_X, X_EN)
    }
    assert len(changes) == 36 * 2 * 3
    assert (changes["odd"] != "").sum() == (12 + 2) * 2


def test_the_report_needs_nothing_else_and_is_labelled(study):
    source = (study / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?:|url\(|@import|fetch\(", source)
    words = "".join(page.words)
    assert words.index(PUBLISHED_LABEL) < words.index("What was run")
    assert TOY_LABEL not in words
    assert "arXiv 2504.04152" in PUBLISHED_LABEL
    assert page.tagged == page.tables > 8
    for part in ("36 runs and 3 untouched base models", "altruistic, 12 runs: 0 meet", "as if permuted", "−24.4"):
        assert part in words
    assert {"#claims", "#odd"} <= set(page.links)
    assert not {"#ledger", "#loss", "#curve", "#plan", "#forgetting", "#left-out"} & set(page.links)


def test_no_odd_value_is_in_a_table_of_the_report(study):
    source = (study / "report.html").read_text(encoding="utf-8")
    changes = source[source.index('<section id="languages">') :]
    figure = changes[changes.index("<h3>FLORES-200 spBLEU En\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}X") :]
    lines = re.findall(r"<tr[^>]*>(<th.*?)</tr>", figure[: figure.index("</details>")])
    # What Bi-Alt from Llama 2 makes of Cebuano, and Wolof and Bambara from English by untouched Llama 3.1
    assert not [line for line in lines if ">L2-Bi-Alt</th>" in line]
    assert [line for line in lines if ">L2-Bi+Code-Alt</th>" in line]
    assert not [line for line in lines if "L3-Base score" in line and ('"22.5, n' in line or ">22.5<" in line)]
    assert [line for line in lines if "V7-Base score" in line]


def test_the_command_writes_and_tells(written, capsys):
    study, told = written
    assert PUBLISHED_LABEL in told
    assert "altruistic, 12 runs: 0 meet the claim" in told
    assert {path.name for path in study.iterdir()} == {
        *("comparison.csv", "change.csv", "categories.csv", "odd.csv", "effects.csv", "report.html", "plots")
    }
    with pytest.raises(SystemExit) as ended:
        main(["report", "pilot", "--published"])
    assert ended.value.code == 2
    assert "'pilot'" in capsys.readouterr().err


def test_translations_are_told_in_the_metric_that_was_published(written):
    told = written[1]
    assert "spBLEU en→x ↑ trained" in told
    assert "chrF++" not in told
    assert "bpb" not in told


def test_a_launched_study_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / ".lock").touch()
    with pytest.raises(UserError, match="launched"):
        write_published(tmp_path / "published")


@pytest.mark.parametrize(
    ("claim", "trained", "related", "met"),
    [
        (ALTRUISTIC, UP, MORE, True),
        (ALTRUISTIC, DOWN, UP, True),
        (ALTRUISTIC, MORE, UP, False),
        (ALTRUISTIC, UP, DOWN, False),
        (ALTRUISTIC, NONE, NONE, False),
        (ALTRUISTIC, UP, UP, None),
        (ALTRUISTIC, DOWN, SOME, None),
        (SELFISH, UP, DOWN, True),
        (SELFISH, UP, NONE, True),
        (SELFISH, UP, UP, False),
        (SELFISH, NONE, DOWN, False),
        (SELFISH, UP, SOME, None),
        (SELFISH, SOME, UP, False),
        (STAGNANT, NONE, DOWN, True),
        (STAGNANT, NONE, NONE, True),
        (STAGNANT, NONE, UP, False),
        (STAGNANT, UP, SOME, False),
        (STAGNANT, NONE, SOME, None),
        (STAGNANT, UNKNOWN, DOWN, None),
        (SELFISH, UNKNOWN, UP, False),
    ],
)
def test_a_claim_is_met_by_the_rule(claim, trained, related, met):
    assert is_met(claim, trained, related) is met


@pytest.mark.parametrize(
    ("claim", "trained", "related", "met"),
    [
        (ALTRUISTIC, 3, 4, True),
        (ALTRUISTIC, 4, 3, False),
        (SELFISH, 1, 0, True),
        (SELFISH, 1, 2, False),
        (STAGNANT, 0, -1, True),
        (STAGNANT, 0.1, -1, False),
    ],
)
def test_at_face_value_every_claim_is_met_or_not(claim, trained, related, met):
    assert is_met(claim, *(Change(value, value, value) for value in (trained, related))) is met


def test_any_study_with_enough_languages_is_judged_and_few_languages_are_unclear(tmp_path):
    base, run, other = "L3-Base-00000000", "L3-Mono-Alt-11111111", "L3-Mono-Sel-22222222"
    trained, related = ("a", "b", "c", "d"), ("e", "f", "g")
    rows = [row(base, code, 0.5) for code in trained]
    rows += [row(base, code, 0.3, role="related") for code in related]
    rows += [row(run, code, 0.4) for code in trained] + [row(run, code, 0.6, role="related") for code in related]
    rows += [row(base, code, 0.3, role=role, langcat="sel") for code, role in (("a", "train"), ("e", "related"))]
    rows += [row(other, "a", 0.6, langcat="sel"), row(other, "e", 0.2, role="related", langcat="sel")]
    found = claims(pd.DataFrame([item.record() for item in rows], columns=list(COLUMNS)).astype(DTYPES))
    assert found[["run", "met", "at_face_value"]].values.tolist() == [
        ["L3-Mono-Alt", "yes", "yes"],
        ["L3-Mono-Sel", "unclear", "yes"],
    ]
    first = found.iloc[0]
    assert (first["trained_change"], first["related_change"]) == (pytest.approx(-20), pytest.approx(100))
    assert "no interval" in found.iloc[1]["why"]
    assert tally(found)[0] == "altruistic, 1 runs: 1 meet the claim, 0 do not, 0 unclear; 1 meet it at face value"
    for run_id in (base, run, other):
        write_run(tmp_path, run_id, [item for item in rows if item.run_id == run_id])
    page = Page(write_report(tmp_path, "pilot", "paper", {}).read_text(encoding="utf-8"))
    assert "#claims" in page.links
    assert PUBLISHED_LABEL not in "".join(page.words)
    assert page.tagged == 0


def test_languages_that_agree_are_no_surer_than_their_items():
    rows = [row("L3-Base-00000000", code, 0.5, role=role, n=20) for code, role in zip("abcdef", ROLES, strict=True)]
    rows += [row("L3-Mono-Stag-1", code, 0.52, role=role, n=20) for code, role in zip("abcdef", ROLES, strict=True)]
    table = pd.DataFrame([item.record() | {"langcat": "stag"} for item in rows], columns=list(COLUMNS)).astype(DTYPES)
    [line] = claims(table).to_dict("records")
    # every language rises by 4 %, so languages drawn anew tell of no noise; 2 × 60 items do
    half = 100 * 1.96 * (3 * 0.52 * 0.48 / 20 + 1.04**2 * 3 * 0.25 / 20) ** 0.5 / 1.5
    assert line["trained_change"] - line["trained_low"] == pytest.approx(half, rel=1e-3)
    assert (line["met"], line["at_face_value"]) == ("unclear", "no")

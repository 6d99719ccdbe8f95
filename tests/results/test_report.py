import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console
from study_folder import BITS, row, write_curve, write_losses, write_rows, write_run

from cpt.results.analysis.effects.effects_table import EFFECTS, effects
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.terminal import print_comparison
from cpt.results.report import page as report_page
from cpt.results.report.page import write_report
from cpt.results.rows.banners import TOY_LABEL
from cpt.results.rows.table import read_table

BASE, MONO, BI = "L3-Base-Alt-00000000", "L3-Mono-Alt-11111111", "L3-Bi-Alt-22222222"
FAILED, RUNNING = "L3-Mono+Code-Alt-33333333", "L3-Bi+Code-Alt-44444444"
ERROR = 'Traceback (most recent call last):\n  File "loop.py", line 57\nOutOfMemoryError: tried to allocate 2.00 GiB'
VOID = {"meta"}
TAGGED = {"summary", "groups", "languages", "loss", "consumption"}


class Page(HTMLParser):
    """A page as its elements, refusing what is not closed in order."""

    def __init__(self, source):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "within": list(self.open), **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", "within": list(self.open), **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [item for item in self.elements if item["tag"] == tag and attributes.items() <= item.items()]

    def section(self, anchor):
        (found,) = self.all("section", id=anchor)
        return found["text"]

    @property
    def text(self):
        return self.all("body")[0]["text"]


@pytest.fixture
def study(tmp_path):
    write_run(tmp_path, BASE, [row(BASE, "zul_Latn", 0.4), row(BASE, "zul_Latn", 3.0, BITS)])
    mono = [row(MONO, "zul_Latn", 0.55), row(MONO, "zul_Latn", 1.5, BITS), row(MONO, "yue_Hant", 0.3, role="related")]
    folder = write_run(tmp_path, MONO, mono)
    write_losses(folder, [(step, 4.0 - step / 1000) for step in range(1, 2001)])
    sources = [{"source": "monolingual", "language": "zul_Latn", "words_seen": 4321, "tokens_seen": 8642}]
    ledger = {"tokens_seen": 1228800, "flops": 6.2e12, "seed": 17, "sources": sources}
    (folder / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
    write_run(tmp_path, BI, [row(BI, "zul_Latn", 0.38, data="bi"), row(BI, "zul_Latn", 3.9, BITS, data="bi")])
    write_run(tmp_path, FAILED, state="failed", step=61, error=ERROR)
    write_losses(write_run(tmp_path, RUNNING, state="running", step=12), [(1, 4.0), (2, 3.5)])
    heads = "run,run_id,planned_steps,published_steps,steps_flag,minutes,assumption"
    plan = f"{heads}\nL3-Mono-Alt,{MONO},1493,3000,low,,2 a word\n"
    (tmp_path / "plan.csv").write_text(plan, encoding="utf-8")
    return tmp_path


def report(study, scale="toy", name="pilot", provenance=None):
    path = write_report(study, name, scale, provenance or {"cpt": "0.1.0"})
    assert path == study / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def cell(page, start, line=""):
    """The one cell that says this when pointed at, in the line of that run where more than one says it."""
    (found,) = [
        item
        for item in page.all("td")
        if item.get("title", "").startswith(start) and item["within"][-1]["text"].startswith(line)
    ]
    return found


def test_asks_the_network_for_nothing(study):
    page = report(study)
    links = [item[key] for item in page.elements for key in ("src", "href", "data", "action", "srcset") if key in item]
    assert links
    assert all(link.startswith("#") for link in links)
    styles = "".join(item["text"] for item in page.all("style") + page.all("script"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?:", styles)
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


def test_every_link_leads_to_a_section(study):
    page = report(study)
    anchors = {item["id"] for item in page.all("section")}
    links = {item["href"].removeprefix("#") for item in page.all("a")}
    assert links - {"main"} == anchors
    assert page.all("main", id="main")


def test_every_section_has_a_template_and_a_heading():
    templates = Path(report_page.__file__).parent / "templates"
    anchors = {path.name.removesuffix(".html.j2") for path in (templates / "sections").iterdir()}
    headings = set(re.findall(r'^  "([\w-]+)": "', (templates / "page.html.j2").read_text(encoding="utf-8"), re.M))
    assert anchors == headings == report_page.SECTIONS.keys()


def test_shows_every_run_and_counts_them(study):
    page = report(study)
    assert "3 of 5 finished (2 runs and 1 untouched base model), 1 failed, 1 running" in page.text
    axes = {item["text"] for item in page.all("dd")}
    assert {"l3 (2)", "bi (1), mono (1)", "without (2)", "alt (2)", "17 (2)"} <= axes
    for run in ("L3-Mono-Alt", "L3-Bi-Alt", "L3-Base-Alt"):
        assert run in page.section("summary")
    for run in ("L3-Mono+Code-Alt", "L3-Bi+Code-Alt"):
        assert run in page.section("unfinished")


def test_failed_runs_are_shown_with_their_reason(study):
    text = report(study).section("unfinished")
    assert "OutOfMemoryError: tried to allocate 2.00 GiB" in text
    assert 'File "loop.py", line 57' in text
    assert "61 of 150" in text


def test_runs_that_have_not_begun_are_named(study):
    write_run(study, "L3-Mono-Stag-66666666")
    page = report(study)
    assert "Planned, not begun: L3-Mono-Stag." in page.section("unfinished")
    assert "1 failed, 1 planned, 1 running" in page.text


def test_toy_results_are_marked_and_only_they(study):
    toy = report(study, scale="toy")
    assert TOY_LABEL in toy.text
    assert toy.all("title")[0]["text"] == "TOY: pilot"
    tagged = {outer.get("id") for tag in toy.all("span", **{"class": "tag"}) for outer in tag["within"]}
    assert tagged >= TAGGED
    captions = toy.all("caption")
    assert captions
    assert all(item["text"].endswith(" toy") for item in captions)
    paper = report(study, scale="paper")
    assert paper.all("title")[0]["text"] == "pilot (paper)"
    assert TOY_LABEL not in paper.text
    assert not paper.all("span", **{"class": "tag"})


def test_every_printed_sheet_says_what_it_is_of(study):
    def printed(scale):
        (style,) = report(study, scale=scale).all("style")
        (words,) = re.findall(r'@top-center \{ content: "([^"]*)"', style["text"])
        return re.sub(r"\\([0-9a-f]+) ", lambda found: chr(int(found[1], 16)), words)

    assert printed("toy") == "TOY results: pilot"
    assert printed("paper") == "pilot"


def test_a_hostile_name_is_only_text(study):
    hostile = "<script>alert('run')</script>\"><img src=x onerror=alert(1)>&amp;"
    run_id = "hostile-99999999"
    write_run(study, run_id, [row(run_id, "zul_Latn", 0.5, run=hostile)], run=hostile)
    write_losses(study / run_id, [(1, 4.0), (2, 3.0)])
    write_run(study, "hostile-88888888", run=hostile + "2", state="failed", error=hostile)
    page = report(study, name=hostile, provenance={hostile: hostile})
    assert len(page.all("script")) == 2
    assert not page.all("img")
    assert page.all("h1")[0]["text"] == hostile
    assert hostile in page.section("summary")
    assert hostile in page.section("unfinished")
    assert hostile in page.section("provenance")
    assert cell(page, "50.0 (95 %", hostile)["text"] == "+10.0"


def test_cells_tell_their_numbers_and_better_has_one_colour(study):
    page = report(study)
    accuracy = cell(page, "55.0")
    assert accuracy["title"] == "55.0 (95 % 50.0 to 60.0), n = 204; base 40.0 (+37.5 %)"
    assert accuracy["text"] == "+15.0"
    bits = cell(page, "1.500", "L3-Mono-Alt")
    assert bits["text"] == "−1.50"
    assert accuracy["class"].split() == bits["class"].split() == ["b5", "e"]
    assert cell(page, "38.0")["class"].split() == ["w1", "e"]
    assert cell(page, "3.900")["class"].startswith("w")
    apart = [item["text"] for item in page.all("b") if item["within"][-1] in (accuracy, bits, cell(page, "38.0"))]
    assert sorted(apart) == ["+15.0", "−1.50"]


def test_group_change_and_what_is_left_out(study):
    page = report(study)
    groups = page.section("groups")
    assert "+37.5" in groups
    assert "−50.0" in groups
    assert "L3-Mono-Alt-11111111: no score of the base model in sib200 sound accuracy for yue_Hant" in page.section(
        "left-out"
    )


def test_curves_are_described_and_thin(study):
    page = report(study)
    drawings = [item for item in page.all("svg") if item.get("role") == "img"]
    told = " ".join(item["aria-label"] for item in drawings)
    assert "L3-Mono-Alt: 3.993 to 2.006 at step 2,000" in told
    assert "L3-Bi+Code-Alt: 4.000 to 3.500 at step 2" in told
    points = [item["d"].count("L") + 1 for item in page.all("path")]
    assert 100 < max(points) <= 150


def test_forgetting_is_a_curve_for_each_group_of_languages(study):
    write_curve(study / RUNNING, [{"train": 4.0, "english": 0.9}, {"train": 2.0, "english": 1.4}])
    drawings = report(study).all("svg", role="img")
    told = [item["aria-label"] for item in drawings if item["aria-label"].startswith("Bits per byte")]
    assert len(told) == 2
    assert "trained languages by step" in told[0]
    assert "4.000 to 2.000 at step 50" in told[0]
    assert "English by step" in told[1]
    assert "0.900 to 1.400 at step 50" in told[1]


def shares(run_id, direction, role="train", **found):
    """Rows of what is wrong with the translations of two languages."""
    return [
        row(run_id, language, value, ("flores200", direction, "sound", metric), role=role, n=16)
        for metric, values in found.items()
        for language, value in zip(("zul_Latn", "khm_Khmr"), values, strict=True)
    ]


@pytest.fixture
def mixed(tmp_path):
    """Translations of which the base gets none wrong, and a run more than half."""
    for run_id, worse in ((BASE, 0.0), (MONO, 0.5)):
        quality = [row(run_id, "zul_Latn", 20.0 - worse, ("flores200", "x-en", "sound", "chrf++"))]
        wrong = shares(run_id, "x-en", wrong_language=(worse, 1.5 * worse), empty=(0.0, 0.125))
        wrong += shares(run_id, "x-en", role="related", empty=(0.25, 0.25))
        write_run(tmp_path, run_id, [*quality, *wrong, *shares(run_id, "en-x", wrong_language=(0.25, 0.25))])
    return tmp_path


def test_language_mixing_has_tables_of_its_own(mixed):
    page = report(mixed)
    text = page.section("mixing")
    assert "FLORES-200, X → En, protocol sound: share of outputs, %" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "FLORES-200, En → X, protocol sound: share of outputs, %" in text.replace("\N{NO-BREAK SPACE}", " ")
    wrong = cell(page, "most: Khmer 75.0")
    assert wrong["text"] == "62.5 2, n = 32"
    assert wrong["title"] == "most: Khmer 75.0 (95 % 70.0 to 80.0), n = 16"
    lines = [line["text"].replace(" 2, n = 32", "|") for line in page.all("tr") if "2, n = 32" in line["text"]]
    assert lines[:2] == ["L3-Base-Altalt0.0|6.2|25.0|", "L3-Mono-Altalt62.5|6.2|25.0|"]


def test_a_share_of_few_judged_outputs_says_so_beside_shares_of_all(tmp_path):
    judged = row(MONO, "zul_Latn", 1.0, ("flores200", "x-en", "sound", "wrong_language"), n=1)
    write_run(tmp_path, MONO, [judged, *shares(MONO, "x-en", empty=(0.5, 0.25))])
    page = report(tmp_path)
    wrong, empty = cell(page, "most: Zulu 100.0"), cell(page, "most: Zulu 50.0")
    assert (wrong["text"], empty["text"]) == ("100.0* 1, n = 1", "37.5 2, n = 32")
    assert wrong["title"].endswith("; lacks Khmer")
    assert "lacks" not in empty["title"]


def test_language_mixing_is_in_no_table_of_quality(mixed):
    page = report(mixed)
    for anchor in ("run", "groups", "languages"):
        assert "chrF++" in page.section(anchor)
        assert "wrong" not in page.section(anchor)
    assert "wrong language" in page.section("summary")
    assert len(page.all("figure", **{"class": "heat"})) == 1


def test_a_study_without_translations_or_kept_answers_has_no_section_on_them(study):
    assert not {"mixing", "forgetting"} & {item["id"] for item in report(study).all("section")}


XLSUM, MGSM = ("xlsum", "", "lm-eval", "rouge_l"), ("mgsm_direct", "", "lm-eval", "exact_match")
ALONE = "Llama-Base-77777777"


@pytest.fixture
def alone(tmp_path):
    """A model evaluated as it is, in benchmarks of lm-eval and in SIB-200 as published."""
    rows = [row(ALONE, "zul_Latn", 0.2, XLSUM), row(ALONE, "khm_Khmr", 0.4, XLSUM, role="related")]
    rows += [row(ALONE, "zul_Latn", 12.0, (*XLSUM[:3], "chrf++")), row(ALONE, "zul_Latn", 0.05, MGSM)]
    write_run(tmp_path, ALONE, [*rows, row(ALONE, "zul_Latn", 0.35, ("sib200", "", "paper", "accuracy"))])
    return tmp_path


def test_a_model_as_it_is_shows_its_scores_by_language(alone):
    page = report(alone, scale="real")
    assert "1 of 1 finished (1 model as it is)." in page.text
    assert "base model" not in page.section("run")
    scores = page.section("scores")
    for title in ("SIB-200 accuracy (%, protocol paper)", "XL-Sum ROUGE-L (%, protocol lm-eval)", "XL-Sum chrF++"):
        assert title in scores
    assert cell(page, "35.0 (95 % 30.0 to 40.0), n = 204")["text"] == "35.0"
    assert cell(page, "40.0")["text"] == "40.0"
    assert not page.all("section", id="languages")


def test_the_summary_has_a_column_for_every_benchmark_that_was_measured(alone):
    summary = report(alone, scale="real").section("summary").replace("\N{NO-BREAK SPACE}", " ")
    assert "MGSM, directexact match % ↑trained, related" in summary
    assert "XL-SumROUGE-L % ↑trained, related" in summary
    assert "bits per byte" not in summary
    assert "chrF++" not in summary
    sib200, score, benchmarks, scores, protocols = printed(alone).splitlines()
    assert (sib200.count("sib200 %"), score.split()[-2:]) == (2, ["35.0", "–"])
    assert " ".join(benchmarks.split()[2:]) == "mgsm_direct % ↑ trained, related xlsum % ↑ trained, related"
    assert scores.split()[-2:] == ["5.0", "30.0"]
    assert protocols == "protocols: mgsm_direct lm-eval, sib200 paper, xlsum lm-eval"


def test_a_mean_of_a_benchmark_that_lacks_languages_is_marked(alone):
    other = "Mistral-Base-88888888"
    write_run(alone, other, [row(other, "zul_Latn", 0.3, XLSUM)])
    assert cell(report(alone), "xlsum lacks khm_Khmr")["text"] == "30.0*"
    assert "30.0*" in printed(alone)


def test_scores_are_not_told_twice_where_a_change_tells_them(study):
    assert not report(study).all("section", id="scores")
    write_rows(study / MONO, [row(MONO, "zul_Latn", 0.55), row(MONO, "zul_Latn", 0.25, XLSUM)])
    page = report(study)
    assert "XL-Sum" in page.section("scores")
    assert "SIB-200" not in page.section("scores")


def test_a_resumed_run_draws_each_step_once(study):
    write_losses(study / RUNNING, [(1, 4.0), (2, 9.9), (2, 3.5), (3, 3.0)])
    drawings = report(study).all("svg", role="img")
    assert any("L3-Bi+Code-Alt: 4.000 to 3.000 at step 3" in item["aria-label"] for item in drawings)


def test_the_plan_stands_against_the_ledger(study):
    page = report(study)
    told = page.section("consumption")
    for amount in ("1,228,800", "6.20e+12", "8,642", "Zulu", "1,493", "3,000", "low", "2 a word"):
        assert amount in told


def test_runs_of_one_name_are_told_apart(study):
    again = "L3-Mono-Alt-55555555"
    write_run(study, again, [row(again, "zul_Latn", 0.6, seed=18)])
    text = report(study).section("summary")
    assert MONO in text
    assert again in text
    assert BI not in text


def test_an_only_candidate_is_not_said_to_be_the_best(tmp_path):
    write_run(tmp_path, BASE, [row(BASE, "zul_Latn", 0.4)])
    page = report(tmp_path)
    answer = page.section("answer")
    assert "untouched base" in answer
    assert "score 40.0; nothing to compare with" in answer
    assert "> 99 %" not in page.text
    assert not [
        item for item in page.all("strong") if any(one.get("id") in ("answer", "best") for one in item["within"])
    ]
    assert not page.all("section", id="plots")


def test_what_is_compared_is_a_column_only_where_it_differs(study):
    EFFECTS.write(study, effects(read_table(study)))
    page = report(study)
    heads = [item["text"] for item in page.all("th") if any(one.get("id") == "answer" for one in item["within"])]
    assert "Measure" in heads
    assert "Compared" not in heads


def test_a_study_without_anything_still_has_a_report(tmp_path):
    page = report(tmp_path)
    assert "0 of 0 finished" in page.text
    assert not [item for item in page.all("section") if item["id"] in {"summary", "languages", "loss"}]


def test_tables_are_reachable_and_their_heads_scoped(study):
    page = report(study)
    assert all(item.get("scope") for item in page.all("th"))
    boxes = [item for item in page.all("div") if item.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table"))
    assert all(item["role"] == "region" and item["aria-label"] and item["tabindex"] == "0" for item in boxes)


def printed(study, **settings):
    scale = settings.pop("scale", "real")
    stream = io.StringIO()
    print_comparison(StudyResults.read(study, scale=scale), Console(file=stream, width=160, **settings))
    return stream.getvalue()


def test_the_comparison_in_a_log_file_is_plain_aligned_lines(study):
    lines = printed(study, scale="toy").splitlines()
    assert lines[0] == TOY_LABEL
    heads, *rows = lines[1:5]
    assert [line.split()[:4] for line in rows] == [
        ["L3-Base-Alt", "alt", "3.000", "–"],
        ["L3-Mono-Alt", "alt", "1.500", "–"],
        ["L3-Bi-Alt", "alt", "3.900", "–"],
    ]
    assert len({len(line) for line in [heads, *rows]}) == 1
    assert "\x1b" not in "".join(lines)


def test_the_comparison_in_a_terminal_is_a_table(study):
    text = printed(study, force_terminal=True)
    assert "\x1b[" in text
    assert "│" in text
    assert "L3-Mono-Alt" in text
    assert TOY_LABEL not in text


def test_the_comparison_says_how_many_translations_are_in_a_wrong_language(mixed):
    heads, base, mono, *_ = printed(mixed).splitlines()
    assert heads.endswith("wrong lang % x→en ↓ trained")
    assert (base.split()[-1], mono.split()[-1]) == ("0.0", "62.5")


def test_no_finished_run_is_said(tmp_path):
    assert "no finished run to compare" in printed(tmp_path)

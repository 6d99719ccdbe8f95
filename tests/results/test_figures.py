import re
import zlib
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pandas as pd
import pytest
from study_folder import BITS, SIB200, row, write_curve, write_losses, write_run

from cpt.results.analysis.choice.tradeoff import Pareto
from cpt.results.analysis.effects.effects_table import COLUMNS, effects
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import MANY, bands, losses
from cpt.results.figures.drawing import STYLES, Axis, Dot, Figure, Line, Panel, Words, axis, rows_axis, width_of
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.heat_map import heat
from cpt.results.figures.inline import inline, stylesheet
from cpt.results.figures.paired import paired
from cpt.results.figures.pareto import outline, pareto
from cpt.results.figures.plot_files import FORMATS, PAPER, colours, draw, painted, render, shown, styled
from cpt.results.figures.save import FORMATS_VARIABLE, STYLE, write_plots
from cpt.results.rows.banners import TOY_LABEL
from cpt.results.rows.measures import Measure, language_name

ACCURACY, BYTES = Measure(*SIB200), Measure(*BITS)
TRAINED, RELATED = ("zul_Latn", "mar_Deva", "khm_Khmr"), ("hin_Deva", "tgl_Latn", "yue_Hant")
POINTS = {"Mono": ("mono", False, 0.3), "Bi": ("bi", False, 0.5), "Mono+Code": ("mono", True, 0.25)}
SPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def study(tmp_path):
    """Three runs: bi is better than mono by 0.2 everywhere, code a little worse; English stays as it was."""
    languages = [*((code, "train") for code in TRAINED), *((code, "related") for code in RELATED)]
    base = [row("L3-Base-0", code, 0.2 + place / 100, role=role) for place, (code, role) in enumerate(languages)]
    write_run(tmp_path, "L3-Base-0", [*base, row("L3-Base-0", "eng_Latn", 0.6, role="english")])
    for number, (name, (data, code, value)) in enumerate(POINTS.items(), start=1):
        run_id = f"L3-{name}-Alt-{number}"
        rows = [
            row(run_id, language, value + place / 100 * number, role=role, data=data, code=code)
            for place, (language, role) in enumerate(languages)
        ]
        rows.append(row(run_id, "eng_Latn", 0.6, role="english", data=data, code=code))
        folder = write_run(tmp_path, run_id, rows)
        write_losses(folder, [(step, 4.0 - step / 100 - number / 10) for step in range(1, 201)])
        write_curve(folder, [{"train": 4.0}, {"train": 2.0}])
    return tmp_path


@pytest.fixture
def contents(study):
    found = StudyResults.read(study, "pilot", "toy", {})
    return replace(found, effects=effects(found.rows))


def panels(figure):
    return {panel.name: panel for panel in figure.panels}


def marks(panel, kind, style):
    return [mark for mark in panel.marks if isinstance(mark, kind) and style in mark.style.split()]


def drawn(text):
    """A file's picture, parsed."""
    return ElementTree.fromstring(text)


def every(contents):
    """A figure of each kind."""
    front = pareto(points(), "toy")
    maps = [heat(contents, found) for found in contents.heat_maps]
    axes = [forest(contents.effects, ACCURACY, "toy"), interactions(crossed(), ACCURACY, "toy")]
    return [*axes, paired(contents.pairs["data"], "data", ACCURACY, "toy"), front, *maps, losses(contents)]


def crossed():
    return effect_lines([{"effect": "data×code", "contrast": "bi − mono, with − without code", "estimate": -0.02}])


def effect_lines(found):
    known = dict(zip(("task", "direction", "protocol", "metric"), SIB200, strict=True))
    rest = {"role": "train", "languages": 3, "runs": 4, "items": 0, "seeds": 1, "verdict": "unclear", "why": ""}
    return pd.DataFrame([known | rest | line for line in found], columns=list(COLUMNS))


def points():
    """A base and three runs, of which one is worse than another in everything."""
    places = [("base", 0.0, 0.0, 0.0), ("mono", 0.1, 0.02, 1e12), ("bi", 0.2, 0.05, 2e12), ("worse", 0.1, 0.06, 3e12)]
    lines = [
        {
            **{"run_id": f"L3-{name}", "run": f"L3-{name}", "model": "l3", "data": name, "code": False},
            **{"langcat": "alt", "adaptation": gain, "adaptation_low": gain - 0.01, "adaptation_high": gain + 0.01},
            **{"forgetting": loss, "forgetting_low": loss, "forgetting_high": loss, "cost": cost, "cost_unit": "FLOPs"},
            "front": name != "worse",
        }
        for name, gain, loss, cost in places
    ]
    return Pareto(pd.DataFrame(lines), ACCURACY, ACCURACY, "FLOPs")


def test_places_follow_from_values():
    panel = Panel("", Axis(0, 10), Axis(0, 10), 100, 100, (), "")
    assert panel.position((2.5, 2.5)) == (25, 75)
    assert Panel("", Axis(0, 10), rows_axis(10), 100, 100, (), "").position((2.5, 2.5)) == (25, 25)
    whole = axis([1.0, 3.0], margin=0.05)
    assert (whole.low, whole.high) == pytest.approx((0.9, 3.1))
    assert axis([2.0, 2.0]).at(2.0) == 0.5


def test_every_style_has_colours_on_paper():
    with styled([PAPER]):
        for name in STYLES:
            assert all(not value.startswith("var(") for value in painted(name).values())
        assert painted("line better")["stroke"] == colours()["b5"]
        assert re.fullmatch("#[0-9a-f]{6}", colours()["paper"])


def test_a_page_has_a_rule_for_every_style(contents):
    rules = set(re.findall(r"\.fig \.([\w]+)\{", stylesheet()))
    page = "".join(inline(figure) for figure in every(contents))
    used = {
        name for classes in re.findall(r'<(?:path|circle|text)[^>]* class="([^"]*)"', page) for name in classes.split()
    }
    assert used
    assert used <= rules


def test_pairs_are_drawn_where_their_scores_are(contents):
    figure = paired(contents.pairs["data"], "data", ACCURACY, "toy")
    panel = panels(figure)["alt"]
    first = [mark for mark in marks(panel, Dot, "hollow") if mark.shape == "circle"]
    second = [mark for mark in marks(panel, Dot, "f0") if mark.shape == "diamond"]
    joined = marks(panel, Line, "better")
    assert len(first) == len(second) == len(joined) == len(TRAINED) + len(RELATED)
    for circle, diamond, line in zip(first, second, joined, strict=True):
        assert line.points == (circle.at, (diamond.at[0], circle.at[1]))
        assert diamond.at[0] > circle.at[0]
    assert "Marathi: mono 31.0 and bi 52.0, difference +21.0, of 1 pair" in [circle.title for circle in first]
    assert "trained: +21.0 (+18.5 to +23.5)" in [mark.text for mark in panel.marks if isinstance(mark, Words)]
    assert "English" in panels(figure)["after each category"].description


def test_effects_are_told_by_form_and_fill_and_place():
    better = {"estimate": 0.1, "ci_low": 0.05, "ci_high": 0.15, "verdict": "better"}
    worse = {"estimate": -0.1, "ci_low": -0.12, "ci_high": -0.08, "verdict": "worse"}
    found = effect_lines(
        [
            {"effect": "data", "contrast": "bi − mono", **better},
            {"effect": "code", "contrast": "with − without code", **worse},
            {"effect": "model", "contrast": "l3 − l2", "estimate": 0.0, "ci_low": -0.02, "ci_high": 0.02},
            {"effect": "langcat", "contrast": "sel − alt", "estimate": 0.02, "why": "2 languages in a group"},
            {"effect": "langcat", "contrast": "stag − alt", "why": "no run"},
        ]
    )
    drawn = forest(found, ACCURACY, "")
    assert "Without a line: how sure it is is not known." in drawn.note
    assert "Without a line" not in forest(found[found["ci_low"].notna()], ACCURACY, "").note
    (panel,) = drawn.panels
    up, down = (marks(panel, Dot, style) for style in ("better", "worse"))
    assert len(up) == len(down) == 1
    assert (up[0].shape, down[0].shape) == ("up", "down")
    assert [mark.shape for mark in marks(panel, Dot, "unclear")] == ["circle"] * 2
    with styled([PAPER]):
        assert painted(up[0].style)["fill"] == painted(up[0].style)["stroke"] == colours()["b5"]
        assert painted("dot unclear")["fill"] == colours()["paper"]
    (zero,) = marks(panel, Line, "zero")
    assert up[0].at[0] > zero.points[0][0] > down[0].at[0]
    (span,) = [mark for mark in marks(panel, Line, "better") if not mark.closed]
    tip, ends = up[0].at[0], [x for x, _ in span.points]
    assert tip == pytest.approx(sum(ends) / 2)
    assert "data: bi − mono: +10.0 (95 % +5.0 to +15.0), better, n = 3 languages" in panel.description
    assert (
        "category: sel − alt: +2.0 (no interval), unclear, n = 3 languages, 2 languages in a group" in panel.description
    )
    assert "category: stag − alt: no run" in panel.description


def test_an_interval_that_reaches_far_is_cut_with_an_arrow():
    near = [
        {"effect": "data", "contrast": f"bi − {n}", "estimate": 0.0, "ci_low": -0.1, "ci_high": 0.1} for n in range(4)
    ]
    far = {"effect": "data", "contrast": "far", "estimate": 0.0, "ci_low": -9.0, "ci_high": 9.0}
    (panel,) = forest(effect_lines([*near, far]), ACCURACY, "").panels
    assert max(x for mark in panel.marks if isinstance(mark, Line) for x, _ in mark.points) <= panel.x.high
    arrows = [mark for mark in marks(panel, Dot, "dot") if mark.shape in ("left", "right")]
    assert len(arrows) == 2
    assert "−900.0 to +900.0" in panel.description


def test_the_front_is_joined_and_named():
    (panel,) = pareto(points(), "toy").panels
    (front,) = marks(panel, Line, "dashed")
    assert [x for x, _ in front.points] == sorted((x for x, _ in front.points), reverse=True)
    assert len(front.points) == 3
    assert [mark.text for mark in marks(panel, Words, "strong")] == ["bi", "mono", "base"]
    assert "L3-bi: adaptation +20.0, forgetting +5.0, 2e+12 FLOPs, on the front" in panel.description
    assert "L3-worse: adaptation +10.0, forgetting +6.0, 3e+12 FLOPs" in panel.description


def test_a_group_without_a_known_run_is_not_drawn_but_said():
    found = points()
    alone = found.points[found.points["data"] == "base"].assign(langcat="stag")
    unknown = found.points[found.points["data"] == "mono"].assign(langcat="stag", forgetting=float("nan"))
    figure = pareto(replace(found, points=pd.concat([found.points, alone, unknown])))
    assert [panel.name for panel in figure.panels] == ["l3 alt"]
    assert figure.note.endswith("Not shown, for something is not known of their runs: l3 stag.")
    assert pareto(replace(found, points=alone)) is None
    assert pareto(replace(found, forgetting=None)) is None


def test_names_of_a_front_do_not_lie_on_one_another():
    found = points()
    lines = [
        found.points.iloc[[1]].assign(run_id=f"L3-{n}", run=f"L3-{n}", adaptation=0.1 + n / 1e4) for n in range(40)
    ]
    (panel,) = pareto(replace(found, points=pd.concat(lines))).panels
    named = [reach(panel, mark) for mark in marks(panel, Words, "strong")]
    assert 1 < len(named) < 40
    for ((start, end), y), ((begin, stop), other) in combinations(named, 2):
        assert end <= begin or stop <= start or abs(y - other) >= 12


def reach(panel, words):
    """From where to where words go, and at which height."""
    (x, y), width = panel.position(words.at), width_of(words.text)
    x, y = x + words.offset[0], y + words.offset[1]
    return (x - width, x) if words.anchor == "end" else (x, x + width), y


def test_an_outline_leaves_out_what_another_is_ahead_of():
    assert outline([(0, 10), (5, 8), (4, 5), (9, 1), (6, 7)]) == [(9, 1), (6, 7), (5, 8), (0, 10)]


def test_few_runs_are_lines_and_many_are_means_and_ranges(contents):
    (panel,) = losses(contents).panels
    lines = [mark for mark in marks(panel, Line, "line") if mark.title]
    assert [mark.title.split(":")[0] for mark in lines] == ["L3-Mono-Alt", "L3-Mono+Code-Alt", "L3-Bi-Alt"]
    assert [mark.point for mark in lines] == [
        contents.point(f"L3-{name}") for name in ("Mono-Alt-1", "Mono+Code-Alt-3", "Bi-Alt-2")
    ]
    assert not marks(panel, Line, "area")


def test_many_runs_of_a_kind_are_one_line(tmp_path):
    for number in range(MANY + 1):
        run_id = f"L3-Mono-Alt-{number:02}"
        folder = write_run(tmp_path, run_id, [row(run_id, "zul_Latn", 0.5, seed=number)])
        write_losses(folder, [(0, 4.0 + number), (100, 1.0 + number)])
    (panel,) = losses(StudyResults.read(tmp_path, "many", "paper", {})).panels
    assert len(marks(panel, Line, "area")) == 1
    assert len([mark for mark in marks(panel, Line, "line") if mark.title]) == 1
    assert "mono, mean of 13 runs: 10.000 to 7.000, in the end 1.000 to 13.000" in panel.description


def test_bands_are_over_the_curves_that_have_come_so_far():
    steps, low, mean, high = bands([[(0, 1.0), (100, 1.0)], [(0, 3.0), (50, 3.0)]], 100)
    assert (steps[0], steps[-1]) == (0, 100)
    assert (low[0], mean[0], high[0]) == (1, 2, 3)
    assert (low[-1], mean[-1], high[-1]) == (1, 1, 1)


def test_every_picture_says_in_words_what_it_shows(contents):
    for figure in every(contents):
        assert isinstance(figure, Figure)
        page = inline(figure)
        told = re.findall(r'role="img" aria-label="([^"]+)"', page)
        assert len(told) == len(figure.panels)
        assert all(words.endswith("(toy numbers)") and len(words) > 60 for words in told)
        assert "toy" in re.findall(r'<span class="tag">(\w+)</span>', page)
        root = drawn(render(figure, formats=["svg"])["svg"])
        assert root.get("role") == "img"
        assert root.find(f"{SPACE}title").text == figure.title
        assert all(panel.description in root.find(f"{SPACE}desc").text for panel in figure.panels)
        assert TOY_LABEL in " ".join(text.text for text in root.iter(f"{SPACE}text"))


def test_names_are_told_of_the_runs_a_picture_shows(contents):
    told = losses(contents).panels[0].description
    assert "L3-Bi-Alt: 3.785 to 1.805 at step 200" in told
    (changes,) = [heat(contents, found) for found in contents.heat_maps]
    assert "L3-Mono+Code-Alt: " in changes.panels[0].description


def test_everything_drawn_is_on_the_sheet(contents):
    for figure in every(contents):
        with styled([PAPER]):
            sheet = draw(figure)
            box, (width, height) = sheet.get_tightbbox(), sheet.get_size_inches()
        assert box.x0 >= 0, figure.name
        assert box.y0 >= 0, figure.name
        assert box.x1 <= width, figure.name
        assert box.y1 <= height, figure.name


def shown_in_pdf(file):
    """What a PDF's page draws."""
    streams = re.findall(rb"/FlateDecode[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream", file, re.S)
    (page,) = (text for text in map(zlib.decompress, streams) if b" Tf" in text)
    return page


def test_a_pdf_is_one_page_of_lines_and_text_in_an_embedded_font(contents):
    figure = losses(contents)
    file = render(figure)["pdf"]
    assert file.startswith(b"%PDF")
    assert file == render(figure)["pdf"]
    width, height = (float(part) for part in re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", file).groups())
    with styled([PAPER]):
        sheet = draw(figure)
    assert (width, height) == pytest.approx(tuple(72 * sheet.get_size_inches()), abs=0.01)
    page = shown_in_pdf(file)
    assert len(re.findall(rb"\bT[jJ]\b", page)) >= sum(isinstance(mark, Words) for mark in figure.panels[0].marks) + 3
    assert b"/Subtype /Image" not in file  # no picture in it is of pixels
    assert b"/Type3" not in file
    fonts = set(re.findall(rb"/FontName /\w+\+(\S+)", file))
    assert fonts == {b"DejaVuSans", b"DejaVuSans-Bold"}
    assert b"Helvetica" not in file


def test_a_plot_has_only_letters_that_its_fonts_have():
    with styled([PAPER]):
        assert (
            shown("En\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}X, −3 × 2")
            == "En\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}X, −3 × 2"
        )
        assert shown("Yorùbá ọ 中") == "Yorùbá ọ ?"
        assert language_name("zho_Hans") == shown(language_name("zho_Hans"))


def test_plots_are_written_once_and_old_ones_removed(contents, study, monkeypatch):
    monkeypatch.delenv(FORMATS_VARIABLE)
    written_now = write_plots(contents, study)
    names = {path.stem for path in written_now}
    assert {"loss", "curve-train", "paired-data-sib200-sound-accuracy", "change-sib200-sound-accuracy"} <= names
    assert {path.suffix for path in written_now} == {f".{name}" for name in FORMATS}
    assert all(path.exists() for path in written_now)
    before = {path: path.stat().st_mtime_ns for path in written_now}
    assert write_plots(contents, study) == written_now
    assert before == {path: path.stat().st_mtime_ns for path in written_now}
    (study / "plots" / "loss.pdf").unlink()
    write_plots(contents, study)
    assert (study / "plots" / "loss.pdf").read_bytes().startswith(b"%PDF")
    (study / "plots" / "mine.svg").touch()
    (study / STYLE).write_text("font.size: 9\n")
    write_plots(contents, study)
    assert (study / "plots" / "loss.svg").stat().st_mtime_ns != before[study / "plots" / "loss.svg"]
    write_plots(replace(contents, folders=[]), study)  # nothing of a training is known any more
    assert not (study / "plots" / "loss.pdf").exists()
    assert (study / "plots" / "mine.svg").exists()

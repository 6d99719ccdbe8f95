"""Tables leave the software with their numbers, their types, and what must be seen before any number."""

import re

import pandas as pd
import pyarrow.parquet
import pytest
from study_folder import BITS, row, write_run

from cpt.cli import main
from cpt.evals.rows import X_EN
from cpt.results.output.export import export
from cpt.results.output.views import MEANS, ROWS, banners, frame, shown
from cpt.results.rows.banners import PUBLISHED_LABEL, TOY_LABEL
from cpt.results.rows.table import in_order, in_study, read_comparison, read_table

BASE, MONO, BI = "L3-Base-00000000", "L3-Mono-Alt-11111111", "L3-Bi_1&2-Alt-22222222"
TO_ENGLISH = ("flores200", X_EN, "sound", "spbleu")


@pytest.fixture
def study(tmp_path):
    """Three runs, one of a name that every format has to escape."""
    folder = tmp_path / "runs" / "pilot"
    bi = {"data": "bi", "code": True}
    write_run(folder, BI, [row(BI, "zul_Latn", 0.75, **bi), row(BI, "yue_Hant", 0.5, n=99, **bi)])
    translations = [row(MONO, "zul_Latn", 12.5, TO_ENGLISH, signature="tok:flores200", ci_low=float("nan"))]
    write_run(folder, MONO, [row(MONO, "zul_Latn", 1 / 3), row(MONO, "yue_Hant", 0.25), *translations])
    write_run(folder, BASE, [row(BASE, "zul_Latn", 0.4), row(BASE, "zul_Latn", 3.25, BITS)])
    (folder / ".lock").touch()
    return folder


def said(study, *arguments):
    """Carry out the command; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["--runs", str(study.parent), "table", *map(str, arguments)])
    return ended.value.code


def test_rows_come_back_from_csv_and_parquet_as_they_were(study, tmp_path):
    table = read_table(study)
    export(table, ROWS, tmp_path / "rows.csv")
    export(table, ROWS, tmp_path / "rows.parquet")
    for back in (read_comparison(tmp_path / "rows.csv"), pd.read_parquet(tmp_path / "rows.parquet")):
        assert back.equals(table)
        assert list(back.dtypes) == list(table.dtypes)
    metadata = pyarrow.parquet.read_metadata(tmp_path / "rows.parquet").metadata
    told = {key: metadata[f"cpt.{key}".encode()].decode() for key in ("schema", "scale", "label", "of")}
    assert told == {"schema": "2", "scale": "toy", "label": TOY_LABEL, "of": "rows"}


def test_means_are_a_line_a_run_with_the_numbers_of_the_summary(study, tmp_path):
    export(read_table(study), MEANS, tmp_path / "means.parquet")
    means = pd.read_parquet(tmp_path / "means.parquet").set_index("run_id")
    assert list(means.index) == [BASE, MONO, BI]
    assert means.loc[MONO, "sib200_train"] == pytest.approx((1 / 3 + 0.25) / 2)
    assert list(means["bpb_train"].isna()) == [False, True, True]
    assert (means.loc[BASE, "study"], means.loc[BASE, "scale"]) == ("pilot", "toy")
    assert str(means["seed"].dtype) == "Int64"


def test_languages_are_columns_with_interval_and_n(study, tmp_path):
    assert said(study, "--languages", "--task", "sib200", "--to", tmp_path / "sib200.csv") == 0
    [base, mono, bi] = pd.read_csv(tmp_path / "sib200.csv", dtype="str", keep_default_na=False).to_dict("records")
    assert (base["zul_Latn"], base["yue_Hant"], base["yue_Hant_n"]) == ("0.4", "", "")
    assert (mono["zul_Latn"], mono["zul_Latn_ci_low"]) == (str(1 / 3), str(1 / 3 - 0.05))
    assert (bi["yue_Hant_n"], bi["zul_Latn_n"], bi["code"], bi["seed"]) == ("99", "204", "true", "17")
    assert (bi["task"], bi["protocol"], bi["metric"], bi["direction"]) == ("sib200", "sound", "accuracy", "")


def test_languages_of_several_measures_are_an_error_with_the_choices(study, tmp_path, capsys):
    assert said(study, "--languages") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "these rows have 3" in lines[0]
    assert sorted(line.strip() for line in lines[1:]) == [
        "--task bpb --protocol sound --metric bits_per_byte",
        "--task flores200 --direction x-en --protocol sound --metric spbleu",
        "--task sib200 --protocol sound --metric accuracy",
    ]
    assert said(study, "--task", "sib2000") == 2
    assert "they have bpb, flores200, sib200" in capsys.readouterr().err


def test_an_unknown_ending_names_the_four_before_anything_is_read(study, tmp_path, capsys):
    assert said(study, "no such study", "--to", tmp_path / "rows.xlsx") == 2
    assert said(study, "--to", tmp_path / "rows.xlsx") == 2
    assert "'.xlsx'; its suffix must be one of .csv, .parquet, .tex, .md" in capsys.readouterr().err
    assert not list(tmp_path.glob("rows*"))


def test_a_place_that_cannot_be_written_to_is_named(study, tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert said(study, "--to", tmp_path / "taken" / "rows.csv") == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'taken'}: ")
    assert said(study, "--to", "/dev/null/rows.csv") == 2
    assert capsys.readouterr().err.startswith("/dev/null: ")


def test_the_published_numbers_are_no_study_that_was_launched(study, capsys):
    assert said(study, "published") == 2
    assert "use --published" in capsys.readouterr().err


def test_a_study_named_twice_is_one(study, tmp_path):
    assert said(study, study.name, study.name, "--to", tmp_path / "rows.csv") == 0
    assert read_comparison(tmp_path / "rows.csv").equals(read_table(study))


def latex_tables(text):
    """A small reader of LaTeX tables: environments that close, and the cells of every line."""
    text = re.sub(r"(?m)^%.*\n", "", text)
    open_now = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    # Between dollars stand signs alone; what is left of special signs are the columns' own.
    bare = re.sub(r"\$(\\[a-z]+|[-<>])\$", "", bare)
    assert not re.search(r"[%$#^|→↑↓−–—]", bare)
    assert "_" not in re.sub(r"\\label\{[^}]*\}", "", bare)
    for body in re.findall(r"\\begin\{(?:tabular|longtable)\}(.*?)\\end\{(?:tabular|longtable)\}", text, re.DOTALL):
        columns = re.match(r"\{([lr]+)\}", body)[1]
        rows = [line for line in body.splitlines() if " & " in line]
        cells = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in rows]
        assert {len(line) for line in cells} == {len(columns)}
        yield [[cell.strip() for cell in line] for line in cells]


@pytest.mark.parametrize("kind", [ROWS, MEANS])
def test_latex_is_whole_escaped_and_says_what_is_toy(study, tmp_path, kind):
    export(read_table(study), kind, tmp_path / "a_b.tex")
    text = (tmp_path / "a_b.tex").read_text(encoding="utf-8")
    [table] = latex_tables(text)
    assert len(table) == 1 + (7 if kind == ROWS else 3)
    assert r"L3-Bi\_1\&2-Alt" in {line[0] for line in table}
    assert TOY_LABEL.replace("—", "---") in text
    assert text.startswith("% In the preamble:\n% \\usepackage{booktabs}\n\n\\begin{table}")
    assert r"\label{tab:a-b}" in text
    assert [text.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]


def test_numbers_in_latex_have_their_interval_and_n(study, tmp_path):
    assert said(study, "--languages", "--task", "sib200", "--to", tmp_path / "x.tex") == 0
    text = (tmp_path / "x.tex").read_text(encoding="utf-8")
    [[head, *lines]] = latex_tables(text)
    assert head == ["run", "Yue Chinese", "Zulu"]
    assert lines[0] == ["L3-Base", "--", r"\shortstack[r]{40.0\\{\tiny 35.0 to 45.0}}"]
    assert "99 to 204 items in a score" in text
    assert "Computed as" not in text
    assert r"SIB-200 accuracy (\%) by language, category alt" in text


def test_a_score_without_interval_has_none_and_says_how_it_was_computed(study, tmp_path):
    assert said(study, "--languages", "--metric", "spbleu", "--to", tmp_path / "x.md") == 0
    told, _, _, _, line = (tmp_path / "x.md").read_text(encoding="utf-8").splitlines()
    assert "FLORES-200 spBLEU X\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}En by language, category alt." in told
    assert "Computed as tok:flores200." in told
    assert "intervals" not in told
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["L3-Mono-Alt", "12.5"]


def test_a_long_table_is_broken_over_pages(tmp_path):
    rows = pd.DataFrame([row(MONO, f"[l{number}", 0.5).record() for number in range(41)])
    export(in_study(in_order(rows), "pilot", "paper"), ROWS, tmp_path / "x.tex")
    text = (tmp_path / "x.tex").read_text(encoding="utf-8")
    [table] = latex_tables(text)
    # the head is there twice: on the first page and on every other
    assert len(table) == 2 + 41
    assert "\\usepackage{longtable}" in text
    assert "Scale: paper." in text
    assert {line[0] for line in table[2:]} >= {"{[}l0", "{[}l40"}


def test_markdown_is_a_table_whose_bars_are_its_own(tmp_path):
    rows = pd.DataFrame([row("L3|x*-1", "zul_Latn", 0.5).record(), row("L3-y-2", "zul_Latn", 1 / 3).record()])
    export(in_study(in_order(rows), "pilot", "toy"), ROWS, tmp_path / "x.md")
    told, empty, head, rule, *lines = (tmp_path / "x.md").read_text(encoding="utf-8").splitlines()
    assert TOY_LABEL in told
    assert "metric accuracy (%), n 204" in told
    assert not empty
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["run", "value"]
    assert set(rule) <= set("|-:")
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert cells == [["L3-y", "33.3 (28.3 to 38.3)"], ["L3\\|x\\*", "50.0 (45.0 to 55.0)"]]


def test_published_rows_stand_beside_ours_and_are_told_apart(study, tmp_path):
    assert said(study, "pilot", "--published", "--to", tmp_path / "both.csv") == 0
    both = read_comparison(tmp_path / "both.csv")
    assert both.groupby("scale").size().to_dict() == {"published": 1785, "toy": 7}
    assert both.groupby("study").size().to_dict() == {"pilot": 7, "published": 1785}
    assert (both["odd"] != "").sum() == 65
    assert banners(both) == [f"pilot: {TOY_LABEL}", f"published: {PUBLISHED_LABEL}"]
    means = frame(both, MEANS)
    assert list(means.groupby("study").size()) == [3, 45]
    # from English, untouched Llama 3.1 is out of line, and so is L2-Bi-Alt: in rows marked, in no mean
    [words] = shown(both, MEANS)
    assert "65 published values known to be out of line are left out" in words.notes
    odd = both[(both["run"] == "L2-Bi-Alt") & (both["task"] == "flores200")]
    assert set(odd["odd"] != "") == {True}
    values = means.set_index(["study", "run", "langcat"])["spbleu_x_en_train"]
    assert pd.isna(values["published", "L2-Bi-Alt", "alt"])
    assert values["pilot", "L3-Mono-Alt", "alt"] == 12.5


def test_the_terminal_shows_means_and_languages_under_their_label(study, capsys):
    assert said(study, "--published") == 0
    out = capsys.readouterr().out
    assert out.startswith(PUBLISHED_LABEL)
    assert "pilot" not in out
    assert said(study) == 0
    assert capsys.readouterr().out.startswith(TOY_LABEL)
    assert said(study, "--languages", "--task", "sib200") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == TOY_LABEL
    assert [line.split() for line in lines[3:6]] == [
        ["L3-Base", "–", "40.0"],
        ["L3-Mono-Alt", "25.0", "33.3"],
        ["L3-Bi_1&2-Alt", "50.0", "75.0"],
    ]


def test_a_study_without_rows_and_one_named_as_the_published_are_errors(study, capsys):
    for name in ("empty", "published"):
        write_run(study.parent / name, MONO, None if name == "empty" else [row(MONO, "zul_Latn", 0.5)])
        (study.parent / name / ".lock").touch()
    assert said(study, "pilot", "empty") == 2
    assert "empty: no finished run" in capsys.readouterr().err
    assert said(study, "published", "--published") == 2
    assert "rename it" in capsys.readouterr().err

import json

import pandas as pd
import pytest
from study_folder import BITS, row, write_rows, write_run

from cpt.errors import UserError
from cpt.results.rows.run_folders import labels, run_folders, scale_of
from cpt.results.rows.schema import TABLE_NAMES, names
from cpt.results.rows.table import read_comparison, read_table, read_tables, write_comparison

BASE, MONO, BI = "L3-Base-Alt-00000000", "L3-Mono-Alt-11111111", "L3-Bi-Alt-22222222"


@pytest.fixture
def study(tmp_path):
    write_run(tmp_path, BI, [row(BI, "zul_Latn", 0.61, data="bi", code=True)])
    write_run(tmp_path, MONO, [row(MONO, "yue_Hant", 0.5, role="related"), row(MONO, "zul_Latn", 0.7)])
    write_run(tmp_path, BASE, [row(BASE, "zul_Latn", 0.4), row(BASE, "zul_Latn", 3.25, BITS)])
    return tmp_path


def test_rows_of_all_finished_folders_in_one_order(study):
    table = read_table(study)
    assert list(table.columns) == list(TABLE_NAMES)
    found = list(table[["run_id", "metric", "language", "value"]].itertuples(index=False, name=None))
    assert found == [
        (BASE, "bits_per_byte", "zul_Latn", 3.25),
        (BASE, "accuracy", "zul_Latn", 0.4),
        (MONO, "accuracy", "zul_Latn", 0.7),
        (MONO, "accuracy", "yue_Hant", 0.5),
        (BI, "accuracy", "zul_Latn", 0.61),
    ]


def test_an_unfinished_folder_gives_no_rows_but_is_listed(study):
    run_id = "L3-Mono+Code-Alt-33333333"
    folder = write_run(study, run_id, state="running", step=61)
    write_rows(folder, [row(run_id, "zul_Latn", 0.9)])
    assert run_id not in set(read_table(study)["run_id"])
    listed = {item.run_id: item.standing for item in run_folders(study)}
    assert listed == {BASE: "finished", MONO: "finished", BI: "finished", run_id: "running"}
    (folder / "evaluate.done").touch()
    assert run_id in set(read_table(study)["run_id"])


def test_a_finished_state_without_the_marker_is_not_finished(tmp_path):
    write_run(tmp_path, MONO, state="finished")
    assert [item.standing for item in run_folders(tmp_path)] == ["not evaluated"]


def test_a_torn_last_line_is_left_out(study):
    path = study / MONO / "results.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert list(read_table(study).query("run_id == @MONO")["language"]) == ["yue_Hant"]


def test_a_damaged_status_hides_no_scores(study):
    before = read_table(study)
    (study / MONO / "status.json").write_text('{"state": "fin', encoding="utf-8")
    assert read_table(study).equals(before)


def test_a_row_of_other_columns_is_an_error_that_names_file_and_line(study):
    record = row(MONO, "zul_Latn", 0.7).record()
    del record["protocol"]
    path = study / MONO / "results.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{MONO}/results.jsonl, line 1.*protocol"):
        read_table(study)


def as_first_written(folder):
    """Turn a run's rows into those of version 1."""
    path = folder / "results.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({name: record[name] for name in names(1)}) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "one torn, so read line by line"])
def test_rows_of_all_versions_are_read_together(study, torn):
    told = [row(BI, "zul_Latn", 0.61, data="bi", code=True, signature="nrefs:1"), row(BI, "yue_Hant", 0.5)]
    write_rows(study / BI, told)
    if torn:
        path = study / BI / "results.jsonl"
        path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    before = read_table(study)
    assert list(before["signature"]).count("nrefs:1") == 1
    as_first_written(study / MONO)
    as_first_written(study / BASE)
    after = read_table(study)
    assert after.equals(before)
    assert list(after.dtypes) == list(before.dtypes)
    assert set(after["schema"]) == {2}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": 3, "power": 1.0}, "line 2: rows of schema 3, newer than this software knows.*update the software"),
        ({"schema": 3}, "line 2: rows of schema 3, newer"),
        ({"schema": "2"}, "line 2: schema='2' is no version"),
        ({"power": 1.0}, r"line 2: other columns than schema 2 has \(power\); evaluate"),
        ({"value": "high"}, "line 2: value='high', expected number; evaluate"),
        ({"code": 1}, "line 2: code=1, expected yes or no"),
        ({"n": True}, "line 2: n=True, expected integer"),
        ({"n": None}, "line 2: n=None, expected integer"),
        ({"task": None}, "line 2: task=None, expected text"),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_with_its_place(study, changed, said):
    path = study / MONO / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | changed)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"{MONO}/results.jsonl, {said}"):
        read_table(study)


def test_a_row_without_its_seed_is_not_a_base_models(study):
    record = row(MONO, "zul_Latn", 0.7).record()
    del record["seed"]
    (study / MONO / "results.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{MONO}/results.jsonl, line 1.*\(seed\)"):
        read_table(study)


def test_a_reader_adds_study_scale_and_resource_level(study):
    rows = [row(BASE, code, 0.4) for code in ("eng_Latn", "bel_Cyrl", "zul_Latn", "code")]
    write_rows(study / BASE, rows)
    (study / MONO / "config.yaml").write_text("study: x\nscale: paper\n", encoding="utf-8")
    table = read_table(study).query("run_id == @BASE")
    assert set(table[["study", "scale"]].itertuples(index=False, name=None)) == {(study.name, "paper")}
    levels = dict(zip(table["language"], table["resource"], strict=True))
    assert levels == {"eng_Latn": "high", "bel_Cyrl": "mid", "zul_Latn": "low", "code": ""}


def test_a_scale_is_the_frozen_runs_and_toy_where_any_is(study):
    assert scale_of(study) == "toy"
    for run_id, scale in ((BASE, "paper"), (BI, "'paper'  # as it was")):
        text = f"study: x\nscale: {scale}\nmodel:\n  scale: toy\n"
        (study / run_id / "config.yaml").write_text(text, encoding="utf-8")
    assert scale_of(study) == "paper"
    (study / MONO / "config.yaml").write_text("scale: toy\n", encoding="utf-8")
    assert scale_of(study) == "toy"


@pytest.mark.parametrize("text", ["study: x\n", "scale: [\n", "scale: 1\n", ""])
def test_a_configuration_that_names_no_scale_is_an_error(study, text):
    (study / MONO / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{MONO}/config.yaml.*no scale"):
        scale_of(study)


def test_several_studies_are_one_table(tmp_path):
    for name, value in (("second", 0.7), ("first", 0.6)):
        write_run(tmp_path / name, MONO, [row(MONO, "zul_Latn", value)])
    table = read_tables([tmp_path / "second", tmp_path / "first"])
    found = list(table[["study", "run_id", "value"]].itertuples(index=False, name=None))
    assert found == [("second", MONO, 0.7), ("first", MONO, 0.6)]
    assert list(table.dtypes) == list(read_table(tmp_path / "first").dtypes)
    assert list(read_tables([]).columns) == list(TABLE_NAMES)
    with pytest.raises(UserError, match="called first"):
        read_tables([tmp_path / "first", tmp_path / "elsewhere" / "first"])


def test_comparison_is_written_plainly_and_read_back_the_same(study):
    path = write_comparison(study, read_table(study))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(TABLE_NAMES)
    first = "L3-Base-Alt,L3-Base-Alt-00000000,l3,base,false,alt,,zul_Latn,train,bpb,,sound,bits_per_byte"
    assert lines[1] == f"{first},3.25,204,3.2,3.3,,2,{study.name},toy,low"
    assert lines[-1].startswith("L3-Bi-Alt,L3-Bi-Alt-22222222,l3,bi,true,alt,17,")
    back, table = read_comparison(path), read_table(study)
    assert back.equals(table)
    assert list(back.dtypes) == list(table.dtypes)


def test_a_comparison_of_the_first_form_is_read(study):
    path, table = write_comparison(study, read_table(study)), read_table(study)
    pd.read_csv(path, dtype="str", keep_default_na=False)[list(names(1))].to_csv(path, index=False)
    back = read_comparison(path)
    assert back[list(names(2))].equals(table[list(names(2))])
    assert set(back["study"]) == set(back["scale"]) == {""}
    assert list(back["resource"]) == list(table["resource"])


def test_a_comparison_of_a_newer_form_is_refused(study):
    path = write_comparison(study, read_table(study))
    pd.read_csv(path, dtype="str", keep_default_na=False).assign(schema="3").to_csv(path, index=False)
    with pytest.raises(UserError, match=r"schema 3, newer than this software knows.*update the software"):
        read_comparison(path)


def test_an_empty_study_has_an_empty_table(tmp_path):
    assert list(read_comparison(write_comparison(tmp_path, read_table(tmp_path))).columns) == list(TABLE_NAMES)
    assert read_table(tmp_path / "nowhere").empty


def test_a_comparison_of_other_columns_is_refused(study):
    path = write_comparison(study, read_table(study))
    path.write_text(path.read_text(encoding="utf-8").replace(",false,", ",perhaps,"), encoding="utf-8")
    with pytest.raises(UserError, match="code=perhaps"):
        read_comparison(path)


def test_runs_of_one_name_are_called_by_their_ids():
    assert labels([("A", "A-1"), ("A", "A-2"), ("B", "B-1")]) == {"A-1": "A-1", "A-2": "A-2", "B-1": "B"}

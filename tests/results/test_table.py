import json

import pytest
from study_folder import BITS, row, write_rows, write_run

from cpt.errors import UserError
from cpt.evals.rows import COLUMNS
from cpt.results.folders import labels, run_folders
from cpt.results.table import read_comparison, read_table, write_comparison

BASE, MONO, BI = "L3-Base-Alt-00000000", "L3-Mono-Alt-11111111", "L3-Bi-Alt-22222222"


@pytest.fixture
def study(tmp_path):
    write_run(tmp_path, BI, [row(BI, "zul_Latn", 0.61, data="bi", code=True)])
    write_run(tmp_path, MONO, [row(MONO, "yue_Hant", 0.5, role="related"), row(MONO, "zul_Latn", 0.7)])
    write_run(tmp_path, BASE, [row(BASE, "zul_Latn", 0.4), row(BASE, "zul_Latn", 3.25, BITS)])
    return tmp_path


def test_rows_of_all_finished_folders_in_one_order(study):
    table = read_table(study)
    assert list(table.columns) == list(COLUMNS)
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


def test_comparison_is_written_plainly_and_read_back_the_same(study):
    path = write_comparison(study)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(COLUMNS)
    first = "L3-Base-Alt,L3-Base-Alt-00000000,l3,base,false,alt,,zul_Latn,train,bpb,,sound,bits_per_byte"
    assert lines[1] == f"{first},3.25,204,3.2,3.3"
    assert lines[-1].startswith("L3-Bi-Alt,L3-Bi-Alt-22222222,l3,bi,true,alt,17,")
    back, table = read_comparison(path), read_table(study)
    assert back.equals(table)
    assert list(back.dtypes) == list(table.dtypes)


def test_an_empty_study_has_an_empty_table(tmp_path):
    assert list(read_comparison(write_comparison(tmp_path)).columns) == list(COLUMNS)
    assert read_table(tmp_path / "nowhere").empty


def test_a_comparison_of_other_columns_is_refused(study):
    path = write_comparison(study)
    path.write_text(path.read_text(encoding="utf-8").replace(",false,", ",perhaps,"), encoding="utf-8")
    with pytest.raises(UserError, match="code=perhaps"):
        read_comparison(path)


def test_runs_of_one_name_are_called_by_their_ids():
    assert labels([("A", "A-1"), ("A", "A-2"), ("B", "B-1")]) == {"A-1": "A-1", "A-2": "A-2", "B-1": "B"}

"""Whole studies, launched as a user launches them: finished, repeated, killed, failing."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from launching import LEAST, finish, fork, start
from waiting import wait_until

from cpt.cli import main as cpt
from cpt.files import locked, read_lines
from cpt.results.rows.schema import TABLE_NAMES

RUN_FILES = [
    *("config.yaml", "status.json", "ledger.json", "metrics.jsonl", "curve.jsonl", "results.jsonl", "log.txt"),
    *("prepare.done", "train.done", "evaluate.done"),
    *("model/model.safetensors", "model/tokenizer.json", "model/README.md"),
]
SMOKE = ["sweeps=smoke", "evals.benchmarks.flores200.items=3"]


@pytest.fixture(scope="module")
def study(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study of two runs trained at the toy scale's own size and asked to translate less; what its launch printed."""
    folder = tmp_path_factory.mktemp("study")
    output = finish(start(folder, cache, *SMOKE))
    return folder / "runs/toy", output


def table(study: Path) -> list[dict[str, str]]:
    with (study / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_leaves_what_the_readme_says(study: tuple[Path, str]) -> None:
    folder, output = study
    assert "3 of 3 ended" in output
    assert str(Path("runs/toy/report.html")) in output
    folders = [path for path in folder.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders if "-" not in path.name) == [".comparison", "plots"]
    for name in ("comparison.csv", "effects.csv", "forgetting.csv", "best.csv", "plan.csv", "data.csv"):
        assert (folder / name).stat().st_size > 0
    runs = [path for path in folders if "-" in path.name]
    assert sorted(path.name.rsplit("-", 1)[0] for path in runs) == ["L3-Base", "L3-Bi-Alt", "L3-Mono-Alt"]
    for run in runs:
        if "Base" not in run.name:
            assert [name for name in RUN_FILES if not (run / name).exists()] == []
    assert not list(folder.rglob("*.part")), "temporary files were left behind"
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "L3-Bi-Alt" in report
    assert "toy" in report.lower()


def test_the_comparison_holds_every_score_of_runs_and_base(study: tuple[Path, str]) -> None:
    rows = table(study[0])
    assert tuple(rows[0]) == TABLE_NAMES
    for data in ("mono", "bi", "base"):
        mine = [row for row in rows if row["data"] == data]
        assert {row["task"] for row in mine} == {"bpb", "bpb_flores", "sib200", "flores200"}
        assert {row["role"] for row in mine} == {"train", "related", "english", "code"}
        assert {row["direction"] for row in mine} == {"", "en-x", "x-en"}
        languages = {row["language"] for row in mine if row["task"] == "flores200"}
        assert len(languages) == 13
        assert all(float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"]) for row in mine)
        assert all(int(row["n"]) > 0 for row in mine)


def test_training_taught_the_trained_languages(study: tuple[Path, str]) -> None:
    bpb = {
        (row["data"], row["language"]): float(row["value"])
        for row in table(study[0])
        if row["task"] == "bpb" and row["role"] == "train"
    }
    assert len(bpb) == 15
    for (data, language), value in bpb.items():
        assert value < bpb["base", language] or data == "base"


def test_every_step_is_logged_and_the_ledger_agrees(study: tuple[Path, str]) -> None:
    for path in study[0].glob("*/ledger.json"):
        ledger, metrics = json.loads(path.read_text()), read_lines(path.with_name("metrics.jsonl"))
        assert [line["step"] for line in metrics] == list(range(1, ledger["steps"] + 1))
        assert ledger["steps"] >= 100
        assert metrics[-1]["tokens"] == ledger["tokens_seen"]
        assert metrics[-1]["loss"] < metrics[0]["loss"]
        assert sum(source["tokens_seen"] for source in ledger["sources"]) == pytest.approx(ledger["tokens_seen"], abs=9)


def test_the_second_launch_trains_nothing(study: tuple[Path, str], cache: Path) -> None:
    folder, _ = study
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/model/*")}
    output = finish(fork(folder.parents[1], cache, *SMOKE))
    assert "All 3 are finished already." in output
    assert "L3-Bi-Alt" in output
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/model/*")} == before


def test_status_and_report_from_disk(study: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = study
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(folder.parent), "status"])
    assert ended.value.code == 0
    assert "3 finished" in capsys.readouterr().out
    comparison = (folder / "comparison.csv").read_bytes()
    (folder / "comparison.csv").unlink()
    (folder / "report.html").unlink()
    with pytest.raises(SystemExit):
        cpt(["--runs", str(folder.parent), "report", "toy"])
    assert (folder / "comparison.csv").read_bytes() == comparison
    assert (folder / "report.html").exists()
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(folder.parent), "status", "toys"])
    assert ended.value.code == 2
    assert "did you mean 'toy'?" in capsys.readouterr().err


def test_damaged_rows_and_a_damaged_journal_are_made_again(study: tuple[Path, str], cache: Path) -> None:
    folder, _ = study
    [run] = folder.glob("L3-Bi-Alt-*")
    rows, journal = (run / "results.jsonl").read_bytes(), (run / "evals.jsonl").read_bytes()
    (run / "results.jsonl").write_bytes(rows[: len(rows) // 2])
    lines = journal.splitlines(keepends=True)
    (run / "evals.jsonl").write_bytes(b"".join([*lines[:3], lines[3][:20] + b"\n", *lines[4:]]))
    output = finish(fork(folder.parents[1], cache, *SMOKE))
    assert "2 finished already, skipped." in output
    assert (run / "results.jsonl").read_bytes() == rows
    assert (run / "evals.jsonl").read_bytes() == journal


def test_runs_of_a_study_are_measured_alike(study: tuple[Path, str], cache: Path, mistake: Callable[..., str]) -> None:
    before = (study[0] / "comparison.csv").read_bytes()
    output = mistake("data=mono", "evals=[bpb]", f"paths.cache={cache}", folder=study[0].parents[1])
    assert "L3-Bi-Alt-" in output
    assert "measured differently; name another study" in output
    assert (study[0] / "comparison.csv").read_bytes() == before


def test_two_base_models_of_one_name_do_not_share_a_study(
    study: tuple[Path, str], cache: Path, mistake: Callable[..., str]
) -> None:
    [model] = study[0].glob("L3-Mono-Alt-*/model")
    output = mistake(f"model.path={model}", *SMOKE[1:], f"paths.cache={cache}", folder=study[0].parents[1])
    assert "as model.name=l3; name another study" in output


def test_two_launches_of_one_study_at_once_are_refused(
    study: tuple[Path, str], cache: Path, mistake: Callable[..., str]
) -> None:
    with locked(study[0] / ".lock"):
        output = mistake(*SMOKE, f"paths.cache={cache}", folder=study[0].parents[1])
    assert output.endswith("wait for it or name another study")


def test_a_failing_run_says_why_and_leaves_its_traceback(study: tuple[Path, str], cache: Path, tmp_path: Path) -> None:
    output = finish(fork(tmp_path, cache, "train.lr=1e11", *LEAST, "evals=[bpb]"), code=1)
    assert "the loss of step" in output
    assert "Lower train.lr or look at these documents" in output
    [status] = (tmp_path / "runs").glob("*/L3-Mono-Alt-*/status.json")
    assert json.loads(status.read_text())["state"] == "failed"


ASKED = ["evals=[bpb,sib200]", "protocol=[paper,sound]", "evals.bootstrap=100", "tracking=none"]


@pytest.fixture(scope="module")
def evaluated(study: tuple[Path, str], cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of a study, evaluated once more and otherwise."""
    folder = tmp_path_factory.mktemp("evaluated")
    output = finish(start(folder, cache, f"checkpoint={study[0]}", *ASKED, script="evaluate.py"))
    assert "3 of 3 ended" in output
    return folder / "runs/evaluated"


def measured(rows: list[dict[str, str]], *names: str) -> dict[tuple[str, ...], str]:
    """Values of bits per byte by the columns named."""
    return {tuple(row[name] for name in names): row["value"] for row in rows if row["task"] == "bpb"}


def test_a_study_is_evaluated_again_without_training(study: tuple[Path, str], evaluated: Path) -> None:
    theirs, mine = table(study[0]), table(evaluated)
    columns = ("run", "data", "langcat", "language", "role")
    assert measured(mine, *columns) == measured(theirs, *columns)
    assert {row["protocol"] for row in mine if row["task"] == "sib200"} == {"paper", "sound"}
    assert not list(evaluated.glob("*/model"))
    assert "toy" in (evaluated / "report.html").read_text(encoding="utf-8").lower()


def test_a_model_of_no_study_is_evaluated_under_its_own_name(
    study: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    """In the languages its folder has of two categories; the one it lacks is said, or with evals.strict an error."""
    [trained] = study[0].glob("L3-Mono-Alt-*/model")
    shutil.copytree(trained, tmp_path / "mine")
    [benchmark] = cache.glob("toy/*/sib200")
    shutil.copytree(benchmark, tmp_path / "sib200")
    shutil.rmtree(tmp_path / "sib200/zul_Latn")
    asked = ["checkpoint=mine", "evals=[sib200]", "paths.sib200=sib200", "evals.bootstrap=100", "tracking=none"]
    told = finish(fork(tmp_path, cache, *asked, "evals.strict=true", script="evaluate.py"), code=2)
    assert told.strip() == "paths.sib200=sib200: it has no files for zul_Latn"
    finish(fork(tmp_path, cache, *asked, "langcat=stag", script="evaluate.py"))
    output = finish(fork(tmp_path, cache, *asked, "langcat=alt", script="evaluate.py"))
    assert "1 of 1 ended" in output
    assert "Not measured, as their files are missing: sib200 zul_Latn" in output
    assert "TOY" in output, "the model's card says what it is"
    rows = table(tmp_path / "runs/evaluated")
    assert {(row["run"], row["data"], row["langcat"]) for row in rows} == {
        ("mine", "base", "alt"),
        ("mine", "base", "stag"),
    }
    assert {row["n"] for row in rows} == {"21"}


def test_an_evaluation_killed_goes_on_to_the_same_scores(
    study: tuple[Path, str], evaluated: Path, cache: Path, tmp_path: Path
) -> None:
    [run], [whole] = study[0].glob("L3-Mono-Alt-*"), evaluated.glob("L3-Mono-Alt-*")
    for least in (3, 25):
        process = fork(tmp_path, cache, f"checkpoint={run}", *ASKED, script="evaluate.py")
        wait_until(lambda: len(list(tmp_path.glob("runs/*/*/items/*"))) >= least, process)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not list(tmp_path.glob("runs/*/*/evaluate.done")), "it was killed too late"
    finish(fork(tmp_path, cache, f"checkpoint={run}", *ASKED, script="evaluate.py"))
    [killed] = tmp_path.glob("runs/evaluated/L3-Mono-Alt-*")
    for name in ("evals.jsonl", "results.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()

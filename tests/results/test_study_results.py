"""Results of a study are computed once, come back from their files as they were, and open from Python in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from simulated_study import write_study

import cpt
from cpt.results.analysis import study_results
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.save import write_plots
from cpt.results.report.page import page, write_page
from cpt.results.rows.table import read_comparison, read_table


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("runs") / "pilot", 12, steps=20)
    for folder in study.iterdir():
        if folder.is_dir():
            (folder / "config.yaml").write_text("scale: paper\n", encoding="utf-8")
            (folder / "evaluate.done").write_text('{"key": "k", "skipped": []}', encoding="utf-8")
    return study


def computed(study: Path) -> StudyResults:
    return StudyResults.compute(study, lambda folder, rows, saved: saved)


def test_tables_come_back_as_they_were_saved(simulated: Path) -> None:
    results = computed(simulated)
    saved = results.save(simulated)
    assert {name: path.name for name, path in saved.items()} == {
        "rows": "comparison.csv",
        "effects": "effects.csv",
        "best": "best.csv",
    }
    back = StudyResults.read(simulated)
    assert not back.effects.empty
    pd.testing.assert_frame_equal(back.effects, results.effects)
    pd.testing.assert_frame_equal(back.best, results.best)
    assert read_comparison(saved["rows"]).equals(read_table(simulated))
    before = {path: path.stat().st_mtime_ns for path in saved.values() if path.name != "comparison.csv"}
    computed(simulated).save(simulated)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing changed, so nothing is written"


def test_saved_effects_and_best_mixes_are_not_computed_again(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed(simulated).save(simulated)
    monkeypatch.setattr("cpt.results.analysis.effects.effects_table.effects", pytest.fail)
    monkeypatch.setattr("cpt.results.analysis.choice.best_table.best_of", pytest.fail)
    results = computed(simulated)
    assert len(results.effects)
    assert len(results.best)


def counted(function: Callable[..., Any], calls: list[str], name: str) -> Callable[..., Any]:
    """The same function, which notes each of its calls."""

    def counting(*arguments: Any) -> Any:
        calls.append(name)
        return function(*arguments)

    return counting


def test_rows_are_read_once_and_nothing_is_computed_twice(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("read_table", "changes", "change_of_groups", "claims", "pairs", "pareto", "mixes", "heat_maps"):
        original = getattr(study_results, name)
        monkeypatch.setattr(study_results, name, counted(original, calls, name))
    results = computed(simulated)
    write_page(results, simulated)
    write_plots(results, simulated)
    assert page(results)
    assert sorted(calls) == sorted(
        ["read_table", "changes", "change_of_groups", "claims", "pairs", "pairs", "pareto", "mixes", "heat_maps"]
    ), "pairs are of two axes"


def test_a_study_opens_as_frames(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Simulated runs have no answers; tests/study/test_compare.py opens a study that has.
    monkeypatch.setattr("cpt.study.compare.forgetting_table.current_forgetting", lambda folder, rows, saved: saved)
    study = cpt.load_study(str(simulated))
    trained = study.rows.loc[study.rows["data"] != "base", "run_id"].nunique()
    assert (study.name, study.scale, trained) == ("pilot", "paper", 12)
    assert {"base", "data", "code"} <= set(study.effects["effect"])
    assert study.forgetting.empty
    assert set(study.best["model"]) == {"l2"}
    ledgers = study.ledgers.set_index("run_id")
    assert len(ledgers) == 12
    assert (ledgers["steps"] == 20).all()
    curves = study.curves
    assert list(curves.columns) == ["run_id", "curve", "step", "value"]
    assert set(curves["curve"]) == {"loss", "train", "related", "english"}
    assert curves.groupby(["run_id", "curve"]).size().loc[:, "loss"].eq(20).all()


def test_a_folder_that_is_not_there_is_an_error_and_an_empty_one_has_empty_frames(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of a study"):
        cpt.load_study(tmp_path / "nowhere")
    study = cpt.load_study(tmp_path)
    assert study.rows.empty
    assert study.effects.empty
    assert study.ledgers.empty
    assert study.curves.empty


def test_a_report_needs_no_model_library() -> None:
    script = (
        "import sys, cpt.study.compare.conclude; print(*{'torch', 'transformers', 'wandb', 'trackio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

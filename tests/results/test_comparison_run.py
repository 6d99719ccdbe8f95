"""The comparison as a run of W&B: tables, pages, and that a comparison that has not changed is not sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf
from rich.console import Console
from study_folder import row, write_rows, write_run
from wandb_reader import OfflineRun, read_ended
from wandb_server import KEY, no_account, serving

from cpt.config import StudyConfig
from cpt.results.analysis.change import forgetting
from cpt.results.analysis.effects.effects_table import EFFECTS, effects
from cpt.results.analysis.study_results import StudyResults
from cpt.results.rows.table import read_table
from cpt.results.tracking.comparison_run import FOLDER, comparison_artifacts, means
from cpt.results.tracking.wandb import Wandb
from cpt.study.compare.conclude import mirror_comparison

CHRF = ("flores200", "en-x", "sound", "chrf++")
BASE, MONO, BI = "L3-Base-00000000", "L3-Mono-Alt-11111111", "L3-Bi-Alt-22222222"


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with no_account(tmp_path_factory.mktemp("home"), monkeypatch):
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield


@pytest.fixture(scope="module")
def composed() -> list[StudyConfig]:
    """What has been composed once."""
    return []


@pytest.fixture
def study(tmp_path: Path, composed: list[StudyConfig], request: pytest.FixtureRequest) -> Path:
    """A base model and two runs over three languages, with a report and a drawing."""
    if not composed:
        composed += request.getfixturevalue("compose")("study=little", "tracking=offline")
    [config] = composed
    folder = tmp_path / "little"
    for run_id, values in ((BASE, (0.4, 0.5, 0.6)), (MONO, (0.5, 0.6, 0.7)), (BI, (0.4, 0.6, 0.5))):
        data = {BASE: "base", MONO: "mono", BI: "bi"}[run_id]
        rows = [
            row(run_id, language, value, data=data)
            for language, value in zip(("zul_Latn", "xho_Latn", "ssw_Latn"), values, strict=True)
        ]
        write_run(folder, run_id, rows)
        (folder / run_id / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))
    (folder / "report.html").write_text("<!doctype html><title>little</title>")
    (folder / "plots").mkdir()
    (folder / "plots" / "change.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return folder


def mirrored(study: Path) -> str:
    said = StringIO()
    mirror_comparison(StudyResults.read(study), study, Console(file=said, width=500))
    return said.getvalue()


def table_of(study: Path, run: OfflineRun, name: str) -> pd.DataFrame:
    """A table as W&B has it on disk."""
    [shown] = [line[name] for line in run.history[-1:]]
    [file] = (study / FOLDER / "wandb").glob(f"offline-run-*/files/{shown['path']}")
    found = json.loads(file.read_text())
    return pd.DataFrame(found["data"], columns=found["columns"])


def test_tables_and_pages_are_there(study: Path) -> None:
    assert mirrored(study) == ""
    run = read_ended(study / FOLDER)
    assert (run.id, run.name, run.group, run.job_type) == (
        "comparison-little",
        "little: comparison (toy)",
        "little",
        "comparison",
    )
    assert run.tags == ["comparison", "toy"]
    assert run.host == ""
    assert run.config["axes"] == {
        "model": ["l3"],
        "data": ["bi", "mono"],
        "code": [False],
        "langcat": ["alt"],
        "seed": [17],
    }
    assert "torch" in run.config["versions"]
    assert run.steps == [0]
    assert {"rows", "means", "change", "report", "change_drawing"} <= run.history[0].keys()
    assert len(table_of(study, run, "rows")) == 9
    found = table_of(study, run, "means").set_index("run_id")
    assert found.loc[[BASE, MONO, BI], "value"].tolist() == pytest.approx([0.5, 0.6, 0.5])
    assert found["seed"].isna()[BASE]
    change = table_of(study, run, "change").set_index("run_id")
    assert change.loc[MONO, "change"] == pytest.approx(20)
    assert change.loc[MONO, "n"] == 3
    written = b"".join(file.read_bytes() for file in study.rglob("*") if file.is_file())
    assert KEY.encode() not in written


def test_concluded_again_it_is_sent_only_when_it_has_changed(study: Path) -> None:
    mirrored(study)
    read_ended(study / FOLDER)
    mirrored(study)
    assert read_ended(study / FOLDER, seconds=0).steps == [0]
    (study / "report.html").write_text("<!doctype html><title>the same numbers in other words</title>")
    mirrored(study)
    assert read_ended(study / FOLDER, seconds=0).steps == [0]
    write_rows(study / BI, [row(BI, "zul_Latn", 0.9, data="bi")])
    mirrored(study)
    run = read_ended(study / FOLDER, parts=2)
    assert (run.id, run.steps) == ("comparison-little", [0, 1])


def test_online_it_arrives_with_the_studys_view(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in study.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("mode: offline", "mode: online"))
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert mirrored(study) == ""
        run = server.runs["comparison-little"]
        assert {"rows", "means", "change", "report", "change_drawing"} <= run.history[0].keys()
        assert (run.facts["jobType"], run.facts["groupName"], run.exits) == ("comparison", "little", [0])
        [view] = server.views.values()
        assert (view["entityName"], view["projectName"]) == ("someone", "cpt")
        assert {BASE, MONO, BI} <= json.loads(view["spec"])["section"]["customRunColors"].keys()
        asked = len(server.requests)
        mirrored(study)
        assert len(server.requests) == asked
        write_rows(study / BI, [row(BI, "zul_Latn", 0.9, data="bi"), row(BI, "zul_Latn", 30.0, CHRF, data="bi")])
        mirrored(study)
        assert run.steps == [0, 1]
        [again] = server.views.values()
        assert (again["name"], again["id"]) == (view["name"], view["id"])
        assert "chrf++" in again["spec"]
        assert server.unknown == []
        Wandb("online").abandon()


def test_effects_and_forgetting_come_along(study: Path) -> None:
    EFFECTS.write(study, effects(read_table(study)))
    line: dict[str, Any] = dict.fromkeys(forgetting.COLUMNS, "") | dict.fromkeys(forgetting.VALUES, 0.25)
    table = forgetting.forgetting_table([line | {"run_id": MONO, "seed": 1, "code": False, "n": 7}])
    forgetting.FORGETTING.write(study, table)
    artifacts = comparison_artifacts(StudyResults.read(study), study)
    assert artifacts is not None
    assert list(artifacts.tables) == ["rows", "means", "change", "effects", "forgetting"]
    mirrored(study)
    run = read_ended(study / FOLDER)
    found = table_of(study, run, "effects").set_index("contrast")
    assert found.loc["bi − mono", "estimate"] == pytest.approx(-0.1)
    assert found["ci_low"].map(lambda value: value is None or isinstance(value, float)).all(), "a number, or none"
    assert table_of(study, run, "forgetting")["difference"].tolist() == [0.25]


def test_nothing_scored_or_nothing_asked_for_writes_nothing(study: Path) -> None:
    for path in study.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("mode: offline", "mode: none"))
    assert mirrored(study) == ""
    assert not (study / FOLDER).exists()
    assert comparison_artifacts(StudyResults.read(study.parent / "empty"), study.parent / "empty") is None


def test_a_failure_is_said_and_stops_nothing(study: Path) -> None:
    (study / FOLDER).write_text("a file where the folder should be")
    said = mirrored(study)
    assert said.startswith("The comparison was not mirrored (")
    assert "`cpt sync little` sends it" in said


def test_means_are_over_the_languages_of_a_role(study: Path) -> None:
    write_rows(
        study / MONO,
        [row(MONO, "zul_Latn", 0.5), row(MONO, "xho_Latn", 0.7), row(MONO, "eng_Latn", 0.9, role="english")],
    )
    found = means(read_table(study))
    mono = found[found["run_id"] == MONO].set_index("role")
    assert mono.loc["train", ["value", "languages"]].tolist() == pytest.approx([0.6, 2])
    assert mono.loc["english", ["value", "languages"]].tolist() == pytest.approx([0.9, 1])

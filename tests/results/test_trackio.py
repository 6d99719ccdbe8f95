"""The mirror in trackio, with trackio's own database: what arrives of runs that were killed, resumed, many at once."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from study_folder import row, write_rows, write_run
from test_tracking import identity, train
from waiting import PATIENCE, wait_until

from cpt.results.analysis.study_results import StudyResults
from cpt.results.tracking.base import Identity
from cpt.results.tracking.comparison_run import comparison_artifacts
from cpt.results.tracking.mirror import open_tracker
from cpt.results.tracking.trackio import FOLDER, Trackio, library, project_of
from cpt.results.tracking.upload import send, send_comparison

ROOT = Path(__file__).parents[2]
RUN = "L3-Bi+Code-Stag-1a2b3c4d"
CONFIG = {
    "model": {"label": "L3"},
    "data_mix": {"label": "Bi"},
    "lang_category": {"label": "Stag"},
    "code": True,
    "seed": 7,
    "train": {"lr": 2e-5},
}
TELL = """
import json, os, sys, time
from pathlib import Path
ASKS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
sys.addaudithook(lambda event, asked: print(event, asked, flush=True) if event in ASKS else None)
from cpt.results.tracking.mirror import open_tracker
from cpt.results.tracking.base import Identity
from cpt.results.tracking.trackio import library

folders, identity, steps, rest = json.loads(sys.argv[1])
library(Path(folders[0]).parents[1] / ".trackio")  # imported once, for all
children = []
for folder in folders:
    children.append(os.fork())
    if children[-1] == 0:
        break
else:
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
folder = Path(folder)
told = Identity(**identity | {"run_id": folder.name})
with open_tracker("trackio", folder, told) as mirror, (folder / "metrics.jsonl").open("a", buffering=1) as log:
    for step in range(1, steps + 1):
        log.write(json.dumps({"step": step, "loss": 4 / step}) + "\\n")
        mirror.after_step(None)
    print("told", os.getpid(), flush=True)
    time.sleep(rest)
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKIO_DIR", "")  # what a test sets of it ends with the test


def described(run_id: str = RUN, **changes: Any) -> Identity:
    return identity(run_id=run_id, name=run_id.rpartition("-")[0], config=CONFIG, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "toy36" / RUN
    path.mkdir(parents=True)
    return path


def asked(runs: Path, query: str, *values: object, project: str = "toy36") -> list[Any]:
    with closing(sqlite3.connect(f"file:{runs / FOLDER / project}.db?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


def losses(runs: Path, run_id: str = RUN) -> list[tuple[int, float]]:
    query = "SELECT step, metrics ->> 'loss' FROM metrics WHERE run_id = ? AND metrics ->> 'loss' > 0 ORDER BY step"
    return asked(runs, query, run_id)


def truth(last: int) -> list[tuple[int, float]]:
    return [(step, 4 / step) for step in range(1, last + 1)]


def telling(*folders: Path, steps: int, rest: float = 0, **environment: str) -> subprocess.Popen[str]:
    """A process for each run that tells its steps, says its own number, and then has something else to do."""
    told = json.dumps([[str(folder) for folder in folders], vars(described()), steps, rest])
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(
        [sys.executable, "-c", TELL, told], env=environment, text=True, stdout=pipe, stderr=subprocess.STDOUT
    )


def test_what_a_run_tells_arrives_and_nothing_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = folder.parents[1]
    with open_tracker("trackio", folder, described()) as mirror:
        train(folder, mirror, 0, 40)
        write_rows(folder, [row(RUN, "zul_Latn", 0.5), row(RUN, "deu_Latn", 0.25)])
        mirror.scored()
    assert losses(runs) == truth(40)
    assert asked(runs, "SELECT DISTINCT run_name, run_id FROM metrics") == [("L3-Bi+Code-Stag", RUN)]
    [(summary,)] = asked(runs, "SELECT metrics FROM metrics WHERE log_id LIKE '%/summary/%'")
    assert json.loads(summary)["mean/sib200/sound/train/accuracy"] == 0.375
    [(text,)] = asked(runs, "SELECT config FROM configs")
    config = json.loads(text)
    words = {"model": "L3", "data": "Bi", "code": "with code", "data and code": "Bi, with code", "category": "Stag"}
    assert config.items() >= (words | {"seed": 7, "kind": "trained", "note": "TOY", "settings": CONFIG}).items()
    assert config["scores"] == {"sib200/sound/zul_Latn/accuracy": 0.5, "sib200/sound/deu_Latn/accuracy": 0.25}
    assert capfd.readouterr() == ("", "")


def test_scores_told_again_take_the_place_of_the_old(folder: Path) -> None:
    runs = folder.parents[1]
    for value in (0.5, 0.75, 0.5):
        with open_tracker("trackio", folder, described()) as mirror:
            write_rows(folder, [row(RUN, "zul_Latn", value)])
            mirror.scored()
        [(mean, scores)] = asked(
            runs,
            "SELECT metrics ->> '$.\"mean/sib200/sound/train/accuracy\"', config ->> 'scores' "
            "FROM metrics JOIN configs USING (run_id)",
        )
        assert (mean, json.loads(scores)) == (value, {"sib200/sound/zul_Latn/accuracy": value})
    with open_tracker("trackio", folder, described()) as mirror:
        train(folder, mirror, 0, 3)
    assert b"scores" in asked(runs, "SELECT config FROM configs")[0][0], "training went on and they were lost"


def test_a_run_killed_and_resumed_reads_as_one(folder: Path) -> None:
    """Killed after step 30 with a checkpoint of step 20: what is told twice is there once, and nothing is missing."""
    process = telling(folder, steps=30, rest=PATIENCE)
    assert process.stdout is not None
    said, pid = process.stdout.readline().split()
    assert said == "told"
    wait_until(lambda: losses_so_far(folder.parents[1])[-1:] == [(30, 4 / 30)], process)
    os.kill(int(pid), signal.SIGKILL)
    process.communicate()
    with open_tracker("trackio", folder, described()) as mirror:
        train(folder, mirror, 20, 50)
    assert losses(folder.parents[1]) == truth(50)


def losses_so_far(runs: Path) -> list[tuple[int, float]]:
    try:
        return losses(runs)
    except sqlite3.OperationalError:
        return []  # there is no table yet


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    study = tmp_path / "runs" / "toy36"
    names = [f"L3-Mono-Alt-{number:08d}" for number in range(6)]
    for name in names:
        (study / name).mkdir(parents=True)
    said, _ = telling(*(study / name for name in names), steps=50).communicate(timeout=PATIENCE)
    assert said.count("told") == len(names), said  # in lines that may run into each other
    for name in names:
        assert losses(study.parent, name) == truth(50)


def test_nothing_leaves_the_machine_whatever_the_environment_says(folder: Path) -> None:
    """Settings by which trackio sends its data to a server, a Space, a bucket; a process would say whom it asks for."""
    elsewhere = "http://127.0.0.1:9/"
    settings: dict[str, Any] = {
        "TRACKIO_SERVER_URL": f"{elsewhere}?write_token=x",
        "TRACKIO_SPACE_ID": "somebody/space",
        "TRACKIO_BUCKET_ID": "somebody/bucket",
        "TRACKIO_DATASET_ID": "somebody/data",
        "TRACKIO_WEBHOOK_URL": elsewhere,
        "SPACE_REPO_NAME": "space",
        "HF_ENDPOINT": elsewhere,
        "HF_TOKEN": "hf_0123456789",
        "HF_HUB_OFFLINE": "0",
        "http_proxy": elsewhere,
        "https_proxy": elsewhere,
    }
    said, _ = telling(folder, steps=5, **settings).communicate(timeout=PATIENCE)
    assert [line.split()[0] for line in said.splitlines()] == ["told"], said
    assert losses(folder.parents[1]) == truth(5)


def test_on_a_network_s_file_system_each_process_has_files_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As trackio does there; its dashboard takes them into the database, each step once, however often told."""
    monkeypatch.setenv("TRACKIO_STORAGE_MODE", "jsonl")
    runs = folder.parents[1]
    for begin, end in ((0, 30), (20, 50)):
        with open_tracker("trackio", folder, described()) as mirror:
            train(folder, mirror, begin, end)
        (folder / "mirrored.json").unlink()  # as where the first was killed
    assert not (runs / FOLDER / "toy36.db").exists()
    assert len(list((runs / FOLDER).rglob("*.jsonl"))) <= 4, "a file for each step"
    library(runs / FOLDER).import_inbox_dir()
    assert losses(runs) == truth(50)


def test_a_mirror_that_cannot_be_written_leaves_the_run_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder.parents[1] / FOLDER).write_text("a file where the folder should be")
    with open_tracker("trackio", folder, described()) as mirror:
        train(folder, mirror, 0, 3)
        mirror.scored()
    ours = [entry for entry in caplog.records if entry.name.startswith("cpt.")]
    assert [entry.levelno for entry in ours] == [logging.WARNING], caplog.text
    assert "trackio cannot be opened" in ours[0].getMessage()


def test_a_mirror_that_is_removed_is_filled_again_from_disk(folder: Path) -> None:
    place = Trackio(folder.parents[1] / FOLDER)
    with open_tracker("trackio", folder, described()) as mirror:
        train(folder, mirror, 0, 20)
    assert not send(folder, described(), place, failed=False)
    for path in place.folder.iterdir():
        path.unlink()
    place.folder.rmdir()
    assert send(folder, described(), place, failed=False).steps == 21  # the curve begins at step 0
    assert losses(folder.parents[1]) == truth(20)


def test_the_comparison_is_a_run_beside_the_others(folder: Path) -> None:
    study = folder.parent
    base = row("L3-Base-9f8e7d6c", "zul_Latn", 0.25)
    write_run(study, "L3-Base-9f8e7d6c", [base])
    write_run(study, "L3-Mono-Alt-5e6f7a8b", [row("L3-Mono-Alt-5e6f7a8b", "zul_Latn", 0.5)])
    (study / "report.html").write_text("<!doctype html><title>report</title>")
    place, told = Trackio(study.parent / FOLDER), described("comparison-toy36", job_type="comparison")
    for value, new in ((0.5, True), (0.5, False), (0.75, True)):
        write_rows(study / "L3-Mono-Alt-5e6f7a8b", [row("L3-Mono-Alt-5e6f7a8b", "zul_Latn", value)])
        artifacts = comparison_artifacts(StudyResults.read(study), study)
        assert artifacts is not None
        assert send_comparison(study, artifacts, told, place) == new
        [(text,)] = asked(study.parent, "SELECT metrics FROM metrics")
        shown = json.loads(text)
        assert {name: shown[name]["_type"] for name in shown} == {
            "rows": "trackio.table",
            "means": "trackio.table",
            "change": "trackio.table",
            "report": "trackio.html",
        }
        means = {line["run"]: line["value"] for line in shown["means"]["_value"]}
        assert means == {"L3-Base": 0.25, "L3-Mono-Alt": value}
        page = place.folder / "media" / shown["report"]["file_path"]
        assert page.read_text() == "<!doctype html><title>report</title>"
        assert list(place.folder.rglob("*.html")) == [page], "pages that nothing shows any more are kept"


def test_the_run_of_a_study_is_not_found_in_another_s_project(tmp_path: Path) -> None:
    library(tmp_path / FOLDER)
    assert project_of("toy36") == "toy36"
    # As trackio names files, all of these would share one, or be refused.
    odd = ["a.b", "ab", "a+b", "registry-x", "toy_system", "toy_configs"]
    names = [project_of(study) for study in odd]
    assert len(set(names)) == len(odd)
    assert [name for name, study in zip(names, odd, strict=True) if name == study] == ["ab"]


def test_without_the_library_a_launch_says_how_to_install_it(
    mistake: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)  # Python's own way to say that there is none
    told = mistake("tracking=trackio")
    assert told == (
        "tracking.mode=trackio: trackio is not installed here; `pip install -e '.[trackio]' -c constraints.txt` adds it"
    )

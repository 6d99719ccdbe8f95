"""trackio's dashboard of a study of 36 runs as headless Chromium shows it: every run, and no request elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import chromium, complaints, requests
from conftest import AXES, ROOT
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait
from study_folder import row, write_curve, write_losses, write_run
from waiting import PATIENCE

from cpt.cli import main
from cpt.config import StudyConfig
from cpt.results.analysis.study_results import StudyResults
from cpt.results.tracking.comparison_run import comparison_artifacts
from cpt.results.tracking.trackio import FOLDER, Trackio
from cpt.results.tracking.upload import send, send_comparison
from cpt.study.compare.mirror_identity import comparison_of, identity_of
from cpt.study.state.run import Run


@pytest.fixture
def names(tmp_path: Path, compose: Callable[..., list[StudyConfig]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of a study that went without a mirror and was sent to trackio from disk."""
    for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKIO_DIR", "")
    study = tmp_path / "runs" / "toy36"
    place, runs = Trackio(study.parent / FOLDER), [Run(config) for config in compose("study=toy36", *AXES)]
    for number, run in enumerate(runs):
        config, run_id, loss = run.config, f"{run.name}-{number:08d}", 5 + number / 10
        axes: dict[str, Any] = {
            "model": config.model.name,
            "data": config.data_mix.name,
            "langcat": config.lang_category.name,
        }
        rows = [row(run_id, "zul_Latn", 0.5 + number / 100, code=config.code, **axes)]
        folder = write_run(study, run_id, rows)
        write_losses(folder, [(step, loss / step) for step in range(1, 9)])
        write_curve(folder, [{"train": loss}])
        assert send(folder, identity_of(run, run_id), place, failed=False).steps == 9
    (study / "report.html").write_text("<!doctype html><title>R</title><h1>The report of the study</h1>")
    (study / ".lock").touch()
    artifacts = comparison_artifacts(StudyResults.read(study), study)
    assert artifacts is not None
    assert send_comparison(study, artifacts, comparison_of(runs[0], {}, {}), place)
    return [run.name for run in runs]


@pytest.fixture
def address(tmp_path: Path, names: list[str]) -> Iterator[str]:
    """Where `cpt dashboard` serves it, until it is interrupted."""
    command = [sys.executable, "-m", "cpt", "--runs", str(tmp_path / "runs"), "dashboard", "toy36"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_SHARE": "true", "SPACE_ID": "somebody/space"}
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith(f"Dashboard of {tmp_path}/runs/.trackio: http://127.0.0.1:"), said + process.communicate()[0]
    yield said.split()[3]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")


def texts(driver: WebDriver, selector: str) -> list[str]:
    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]


def colours(driver: WebDriver) -> dict[str, str]:
    """The colour beside each run's name."""
    script = """return [...document.querySelectorAll(".checkbox-item")].map(
        run => [run.querySelector(".run-name").title, run.querySelector(".color-dot").style.background])"""
    return dict(driver.execute_script(script))


def drawn(driver: WebDriver, plot: str) -> set[str]:
    """The plain colours in a plot's drawing."""
    script = """
        const canvas = document.querySelector(`[data-metric="${arguments[0]}"] canvas`);
        if (!canvas) return [];
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const found = new Set();
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] == 255) found.add(`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`);
        return [...found]"""
    return set(driver.execute_script(script, plot))


def test_every_run_is_there_with_its_curve(address: str, names: list[str], tmp_path: Path) -> None:
    assert len(set(names)) == 36
    with chromium(tmp_path) as driver:
        wait = WebDriverWait(driver, PATIENCE)
        driver.get(address)
        wait.until(lambda _: len(texts(driver, ".run-name")) == 37)
        assert set(texts(driver, ".run-name")) == {*names, "toy36: comparison (toy)"}

        shown = colours(driver)
        groups = Counter((name.split("-")[1], shown[name]) for name in names)
        assert sorted(groups.values()) == [9, 9, 9, 9], "runs of the same data and code have the same colour"
        assert len({colour for _, colour in groups}) == 4
        wait.until(lambda _: drawn(driver, "loss") >= {colour for _, colour in groups})
        loss = driver.find_element(By.CSS_SELECTOR, '[data-metric="loss"]')
        loss.find_element(By.XPATH, ".//*[contains(text(), '+30 more')]").click()
        assert {label.text for label in loss.find_elements(By.CSS_SELECTOR, ".legend-label")} == set(names)
        plots = {plot.get_attribute("data-metric") for plot in driver.find_elements(By.CSS_SELECTOR, "[data-metric]")}
        assert {"loss", "bits_per_byte/train", "mean/sib200/sound/train/accuracy"} <= plots

        driver.get(address.replace("/?", "/media?"))
        wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, "iframe[title=report]"))
        assert "L3-Mono+Code-Alt" in driver.find_element(By.TAG_NAME, "table").text
        page = driver.find_element(By.CSS_SELECTOR, "iframe[title=report]")
        driver.execute_script("arguments[0].scrollIntoView()", page)
        driver.switch_to.frame(page)
        wait.until(lambda _: texts(driver, "h1") == ["The report of the study"])

        places = {urlsplit(url).netloc for url in requests(driver) if not url.startswith("data:")}
        assert places == {urlsplit(address).netloc}, "a request left the machine"
        assert complaints(driver) == []


def test_there_is_nothing_to_show_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    for study in ("one", "other"):
        (runs / study).mkdir(parents=True)
        (runs / study / ".lock").touch()

    def told(*study: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["--runs", str(runs), "dashboard", *study])
        assert ended.value.code == 2
        return capsys.readouterr().err.strip()

    assert told() == f"{runs}/.trackio: nothing there; launch with tracking=trackio, or `cpt sync --to trackio`"
    assert (
        told("one")
        == f"{runs}/.trackio: nothing of one there; launch with tracking=trackio, or `cpt sync one --to trackio`"
    )
    assert not (runs / FOLDER).exists()

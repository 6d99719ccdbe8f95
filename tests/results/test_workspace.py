"""The view of a study on W&B, built without a server: what it draws is what runs tell, in the report's colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from study_folder import BITS, row, write_curve, write_losses

from cpt.results.tracking.history import History, summary_of
from cpt.results.tracking.workspace import colour_of, workspace_of

CSS = (Path(__file__).parents[2] / "cpt" / "results" / "report" / "report.css").read_text()
CHRF = ("flores200", "en-x", "sound", "chrf++")
KINDS = {"base": ("base", False), "mono": ("mono", False), "mono+code": ("mono", True), "bi": ("bi", False)}
KINDS |= {"bi+code": ("bi", True)}


@pytest.fixture
def rows() -> pd.DataFrame:
    """Every kind of run of two models and three categories: 24 and two base models."""
    records = []
    for model in ("l3", "v7"):
        for category in ("alt", "sel", "stag"):
            for kind, (data, code) in KINDS.items():
                run_id = f"{model}-Base-0" if data == "base" else f"{model}-{kind}-{category}-0"
                for measure, metric in ((BITS, 1.0), (CHRF, 30.0), (("sib200", "", "sound", "accuracy"), 0.5)):
                    for role, language in (("train", "zul_Latn"), ("related", "xho_Latn"), ("english", "eng_Latn")):
                        axes = {"model": model, "data": data, "code": code, "langcat": category, "role": role}
                        records.append(row(run_id, language, metric, measure, **axes).record())
    return pd.DataFrame(records)


@pytest.fixture
def view(rows: pd.DataFrame) -> Any:
    return workspace_of("toy36", rows, "someone", "cpt")


def metrics_of(panel: Any) -> list[str]:
    found = [panel.x, panel.y] if type(panel).__name__ == "ScatterPlot" else getattr(panel, "y", None) or panel.metrics
    return [name for name in found if name]


def test_sections_are_by_axis(view: Any) -> None:
    assert [section.name for section in view.sections] == [
        "Loss, each run",
        "Bits per byte, each run",
        "Curves by model",
        "Curves by data",
        "Curves by code",
        "Curves by category",
        "Benchmark bpb",
        "Benchmark flores200",
        "Benchmark sib200",
    ]
    by = {section.name: {panel.groupby.name for panel in section.panels} for section in view.sections[2:6]}
    assert by == {
        "Curves by model": {"model.name"},
        "Curves by data": {"data_mix.name"},
        "Curves by code": {"code"},
        "Curves by category": {"lang_category.name"},
    }
    for section in view.sections:
        assert section.panels
        assert all(panel.title for panel in section.panels)
        titles = [panel.title for panel in section.panels]
        assert len(set(titles)) == len(titles)
    benchmarks = {panel.title for section in view.sections[6:] for panel in section.panels}
    assert "SIB-200 accuracy, trained (higher is better), by category" in benchmarks


def test_every_panel_draws_what_a_run_tells_over_its_steps(view: Any, tmp_path: Path, rows: pd.DataFrame) -> None:
    run = rows[rows["run_id"] == "l3-bi+code-alt-0"]
    write_losses(tmp_path, [(1, 2.0), (50, 1.0)])
    write_curve(tmp_path, [dict.fromkeys(("train", "related", "english", "code"), 1.0), {"train": 0.5}])
    (tmp_path / "results.jsonl").write_text(run.to_json(orient="records", lines=True))
    told = {name for _, values in History(tmp_path).new() for name in values} | set(summary_of(tmp_path))
    drawn = {name for section in view.sections for panel in section.panels for name in metrics_of(panel)}
    assert drawn <= told
    held_out = {f"bits_per_byte/{role}" for role in ("train", "related", "english", "code")}
    means = {name for name in told if name.startswith("mean/") and "/english/" not in name}
    assert drawn == {"loss"} | held_out | means
    assert "mean/sib200/sound/train/accuracy" in drawn
    lines = [panel for section in view.sections for panel in section.panels if type(panel).__name__ == "LinePlot"]
    assert {panel.x for panel in lines} == {"Step"}
    assert len(lines) == 25


def test_runs_have_the_reports_colours_by_data_and_code(view: Any, rows: pd.DataFrame) -> None:
    settings = view.runset_settings.run_settings
    assert len(settings) == 26
    colours = {kind: settings[f"l3-{kind}-alt-0".replace("+", "_")].color for kind in KINDS if kind != "base"}
    assert len(set(colours.values())) == 4
    assert settings["l3-Base-0"].color not in colours.values()
    for place, data in ((0, "mono"), (1, "bi")):
        light, dark = re.search(rf"--c{place}: light-dark\((#\w+), (#\w+)\)", CSS).groups()  # type: ignore[union-attr]
        assert (colours[data], colours[f"{data}+code"]) == (light, dark)
        assert {
            settings[f"{model}-{data}-{category}-0"].color for model in ("l3", "v7") for category in ("alt", "stag")
        } == {light}
    assert colour_of("base", False) == settings["v7-Base-0"].color


def test_only_the_studys_runs_are_listed(view: Any) -> None:
    assert view.runset_settings.filters == "Metric(\"Group\") == 'toy36' and Metric(\"JobType\") != 'comparison'"
    assert (view.entity, view.project, view.name) == ("someone", "cpt", "toy36: runs by axis")
    assert view.settings.x_axis == "Step"

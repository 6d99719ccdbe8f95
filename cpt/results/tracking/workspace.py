"""The view of a study on W&B: panels in sections by factor, runs coloured by data and code.

Metric names are those of `history`, colours those of the report. Only saving the view needs a server.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt.files import write_text
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.summary import headline_protocols
from cpt.results.rows.measures import MIXING, ROLE_LABELS, Measure
from cpt.results.rows.table import MEASURE
from cpt.results.tracking.base import run_name
from cpt.results.tracking.history import BITS, LOSS, mean_name

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

_STYLES = Path(__file__).parents[1] / "report" / "report.css"
_COLOUR_INDEX = {"mono": 0, "bi": 1, "base": 3}
"""Index of the report's colours (`--c0` to `--c3`) by data; any other data has 2."""
_HELD_OUT = ("train", "related", "english", "code")
_LOSS_TITLE = "training loss (of one model: others count other tokens)"
_AXES = {"model": "model.name", "data": "data_mix.name", "code": "code", "category": "lang_category.name"}
"""The factors, with their keys in a run's configuration."""


def workspace_of(study: str, rows: pd.DataFrame, entity: str, project: str) -> Workspace:
    """The view of a study's scored runs."""
    _, ws = _library()
    runs = rows[["run_id", "data", "code"]].drop_duplicates("run_id")
    colours = {
        run_name(run_id): colour_of(data, code) for run_id, data, code in runs.itertuples(index=False, name=None)
    }
    view: Workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=f"{study}: runs by axis",
        sections=[*_curves(), *_benchmarks(rows)],
        settings=ws.WorkspaceSettings(x_axis="Step", max_runs=max(10, len(colours))),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == study, ws.Metric("JobType") != "comparison"],
            order=[ws.Ordering(ws.Metric("Name"))],
            run_settings={run: ws.RunSettings(color=colour) for run, colour in colours.items()},
        ),
    )
    return view


def _library() -> tuple[Any, Any]:
    """The modules of panels and of workspaces; imported late because that takes a second."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as views

    return panels, views


def colour_of(data: str, code: bool) -> str:
    """The report's colour of a kind of data; with code, its lighter colour of the dark theme."""
    return _palettes()[1 if code else 0][_COLOUR_INDEX.get(data, 2)]


@cache
def _palettes() -> tuple[list[str], list[str]]:
    """The report's line colours of the light and of the dark theme."""
    pairs = re.findall(r"--c\d: light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", _STYLES.read_text(encoding="utf-8"))
    assert len(pairs) == 4, "the style sheet has four line colours, each for the light and the dark theme"
    return [light for light, _ in pairs], [dark for _, dark in pairs]


def _curves() -> list[Section]:
    """Training curves: all runs, and means over the runs of each level of a factor."""
    wr, ws = _library()
    held_out = {f"held-out text, {ROLE_LABELS[role]}": f"{BITS}/{role}" for role in _HELD_OUT}
    sections = [
        ws.Section(name=name, panels=[_line(title, metric) for title, metric in drawn.items()], is_open=True)
        for name, drawn in (("Loss, each run", {_LOSS_TITLE: LOSS}), ("Bits per byte, each run", held_out))
    ]
    course = {"x": f"{BITS}/english", "y": f"{BITS}/train", "regression": False}
    trade = wr.ScatterPlot(title="Adaptation against forgetting: last bits per byte, trained over English", **course)
    sections[1].panels.append(trade)
    for axis, key in _AXES.items():
        drawn = {_LOSS_TITLE: LOSS} | held_out
        panels = [_line(f"{title}, by {axis}", metric, wr.Config(key)) for title, metric in drawn.items()]
        sections.append(ws.Section(name=f"Curves by {axis}", panels=panels))
    return sections


def _line(title: str, metric: str, by: Any = None) -> Any:
    wr, _ = _library()
    grouped = {} if by is None else {"groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    return wr.LinePlot(title=title, x="Step", y=[metric], title_x="step", max_runs_to_show=100, **grouped)


def _benchmarks(rows: pd.DataFrame) -> list[Section]:
    """A section for each benchmark: means over trained and related languages, by run and by category."""
    wr, ws = _library()
    shown = rows[rows["role"].isin(GROUPS) & ~rows["metric"].isin(MIXING) & (rows["data"] != "base")]
    headline = headline_protocols(rows)
    sections: dict[str, list[Any]] = {}
    for *names, role in shown[[*MEASURE, "role"]].drop_duplicates().itertuples(index=False, name=None):
        measure = Measure(*names)
        if measure.protocol != headline[measure.task]:
            continue
        metric = mean_name(measure._asdict(), role)
        title = f"{measure.title}, {ROLE_LABELS[role]} ({measure.better})"
        by_category = wr.BarPlot(title=f"{title}, by category", metrics=[metric], groupby=wr.Config(_AXES["category"]))
        panels = [wr.BarPlot(title=title, metrics=[metric], max_runs_to_show=100), by_category]
        sections.setdefault(measure.task, []).extend(panels)
    return [ws.Section(name=f"Benchmark {task}", panels=panels) for task, panels in sections.items()]


def save(view: Workspace, known: Path) -> None:
    """Save a view; it replaces the one whose address is in the file `known`, if that one can still be read."""
    _, ws = _library()
    if known.exists():
        try:
            before = ws.Workspace.from_url(known.read_text(encoding="utf-8").strip())
        except Exception:  # of several types, if it was deleted or is in another project
            before = view
        before.sections, before.settings, before.runset_settings = view.sections, view.settings, view.runset_settings
        view = before
    saved: Any = view
    write_text(known, saved.save().url + "\n")

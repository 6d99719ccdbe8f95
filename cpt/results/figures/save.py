"""The plots of a study as files, in the folder `plots` beside the report; only plots that have changed are drawn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import read_json, replacing, write_json
from cpt.processes import WorkerPool, usable_cores
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import HELD_OUT, held_out, losses
from cpt.results.figures.drawing import Figure
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.heat_map import heat
from cpt.results.figures.paired import paired
from cpt.results.figures.pareto import pareto

FOLDER = "plots"
FORMATS = "svg,pdf,png"
FORMATS_VARIABLE = "CPT_PLOTS"
"""The environment variable that chooses the formats to draw; plots in other formats stay as they are."""
PARALLEL_FROM = 8
"""Plots from which drawing in several processes saves more than starting them costs."""
STYLE = "plots.mplstyle"
"""A style sheet of the user's, in the folder of the study or of all studies."""
RECORD = ".written.json"
"""Names and inputs of the plots that were written last: nothing else in the folder is ever removed."""
CODE = ("plot_files.py", "paper.mplstyle", "drawing.py")
"""Files that decide how a description is drawn."""


def write_plots(results: StudyResults, study: Path) -> list[Path]:
    """Draw the plots that have changed, and remove plots of figures that no longer exist; the paths of all."""
    folder, here = study / FOLDER, Path(__file__).parent
    styles = [here / "paper.mplstyle", *(path for path in (study.parent / STYLE, study / STYLE) if path.exists())]
    drawing = hashlib.sha256(b"".join(path.read_bytes() for path in (*(here / name for name in CODE), *styles)))
    formats = [name for name in os.environ.get(FORMATS_VARIABLE, FORMATS).split(",") if name]
    before = _record(folder / RECORD)
    inputs: dict[str, str | None] = {}
    changed: list[PlotJob] = []
    for figure in figures(results):
        digest = hashlib.sha256(f"{drawing.hexdigest()}{figure}".encode()).hexdigest()
        names = [f"{figure.name}.{extension}" for extension in formats]
        if not all(before.get(name) == digest and (folder / name).exists() for name in names):
            changed.append(PlotJob(figure, folder, tuple(styles), tuple(formats)))
        others = (f"{figure.name}.{extension}" for extension in FORMATS.split(",") if extension not in formats)
        inputs |= {name: before[name] for name in others if name in before} | dict.fromkeys(names, digest)
    with WorkerPool(usable_cores() if len(changed) >= PARALLEL_FROM else 0) as pool:
        for _ in pool.run(draw_plot, changed):
            pass
    for name in before.keys() - inputs.keys():
        (folder / name).unlink(missing_ok=True)
    if inputs:
        write_json(folder / RECORD, inputs)
    return [folder / name for name in inputs]


def _record(path: Path) -> dict[str, str | None]:
    """Inputs by file name; without a readable record nothing is known, and nothing is removed."""
    try:
        content: Any = read_json(path) if path.exists() else {}
    except UserError:
        return {}
    if isinstance(content, dict):
        return content
    return dict.fromkeys(map(str, content)) if isinstance(content, list) else {}  # a list in older records


@dataclass(frozen=True)
class PlotJob:
    """A plot to draw: its description, the folder, style sheets and formats."""

    figure: Figure
    folder: Path
    styles: tuple[Path, ...]
    formats: tuple[str, ...]


def draw_plot(job: PlotJob) -> None:
    """Replace the files of a plot whose bytes have changed."""
    from cpt.results.figures.plot_files import render  # importing matplotlib takes a second

    for extension, content in render(job.figure, job.styles, job.formats).items():
        path = job.folder / f"{job.figure.name}.{extension}"
        if not path.exists() or path.read_bytes() != content:
            with replacing(path) as file:
                file.write(content)


def figures(results: StudyResults) -> Iterator[Figure]:
    """All plots for which a study has numbers."""
    for measure in results.quality_measures:
        drawn = [draw(results.effects, measure, results.tag) for draw in (forest, interactions)]
        drawn += [paired(lines, axis, measure, results.tag) for axis, lines in results.pairs.items()]
        yield from filter(None, drawn)
    yield from (heat(results, one) for one in results.heat_maps)
    yield from filter(None, [pareto(results.pareto, results.tag) if results.pareto else None])
    yield from filter(None, [losses(results), *(held_out(results, role) for role in HELD_OUT)])

"""The plots of a study as files, in the folder `plots` beside the report; only plots that have changed are drawn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import read_json, replacing, write_json
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import HELD_OUT, held_out, losses
from cpt.results.figures.drawing import Figure
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.heat_map import heat
from cpt.results.figures.paired import paired
from cpt.results.figures.pareto import pareto

FOLDER = "plots"
FORMATS = "svg,pdf,png"
WANTED = "CPT_PLOTS"
"""The environment variable that says which formats to draw; all by default, none if it is empty."""
STYLE = "plots.mplstyle"
"""A style sheet of the user's, in the folder of the study or of all studies."""
RECORD = ".written.json"
"""Names and inputs of the plots that were written last: nothing else in the folder is ever removed."""
CODE = ("plot_files.py", "paper.mplstyle", "drawing.py")
"""Files that decide how a description is drawn."""


def write_plots(results: StudyResults, study: Path) -> list[Path]:
    """Draw the plots that have changed and remove those without data any more; the paths of all."""
    folder = study / FOLDER
    here = Path(__file__).parent
    styles = [here / "paper.mplstyle", *(path for path in (study.parent / STYLE, study / STYLE) if path.exists())]
    drawing = hashlib.sha256(b"".join(path.read_bytes() for path in (*(here / name for name in CODE), *styles)))
    before = _record(folder / RECORD)
    formats = [name for name in os.environ.get(WANTED, FORMATS).split(",") if name]
    inputs: dict[str, str] = {}
    for figure in figures(results) if formats else ():
        digest = hashlib.sha256(f"{drawing.hexdigest()}{figure}".encode()).hexdigest()
        names = [f"{figure.name}.{extension}" for extension in formats]
        if not all(before.get(name) == digest and (folder / name).exists() for name in names):
            _write(figure, folder, styles, formats)
        inputs |= dict.fromkeys(names, digest)
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


def _write(figure: Figure, folder: Path, styles: list[Path], formats: list[str]) -> None:
    """Replace the files whose bytes have changed."""
    from cpt.results.figures.plot_files import render  # takes a second, and usually no plot has changed

    for extension, content in render(figure, styles, formats).items():
        path = folder / f"{figure.name}.{extension}"
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

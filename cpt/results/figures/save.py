"""Every plot of a study as files for a paper: SVG and PDF, in the folder `plots` beside the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cpt.errors import UserError
from cpt.files import read_json, replacing, write_json, write_text
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.curves import HELD_OUT, held_out, losses
from cpt.results.figures.drawing import Figure
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.heat_map import heat
from cpt.results.figures.paired import paired
from cpt.results.figures.pareto import pareto
from cpt.results.figures.pdf import pdf
from cpt.results.figures.sheet import sheet, svg

FOLDER = "plots"
WRITTEN = ".written.json"
"""Names of the plots that were written last, so that nothing else that lies there is ever removed."""


def write_plots(contents: StudyResults, study: Path) -> list[Path]:
    """Write what has changed, and remove plots of what is no longer there; the paths of all, an SVG and a PDF each."""
    folder = study / FOLDER
    before = _before(folder / WRITTEN)
    written = [path for figure in figures(contents) for path in _write(figure, folder)]
    for name in {*before} - {path.name for path in written}:
        (folder / name).unlink(missing_ok=True)
    if written:
        write_json(folder / WRITTEN, [path.name for path in written])
    return written


def _before(path: Path) -> list[str]:
    """What was written last; nothing where that is not known, and then nothing is removed."""
    try:
        return [str(name) for name in read_json(path)] if path.exists() else []
    except (UserError, TypeError):
        return []


def _write(figure: Figure, folder: Path) -> list[Path]:
    """The PDF first: where the SVG is as it should be, so is the PDF."""
    page = sheet(figure)
    text = svg(page)
    drawn, printed = folder / f"{figure.name}.svg", folder / f"{figure.name}.pdf"
    known = drawn.exists() and printed.exists() and drawn.read_text(encoding="utf-8") == text
    if not known:
        with replacing(printed) as file:
            file.write(pdf(page))
        write_text(drawn, text)
    return [drawn, printed]


def figures(contents: StudyResults) -> Iterator[Figure]:
    """All plots that a study has numbers for."""
    for measure in contents.quality_measures:
        drawn = [draw(contents.effects, measure, contents.tag) for draw in (forest, interactions)]
        drawn += [paired(lines, axis, measure, contents.tag) for axis, lines in contents.pairs.items()]
        yield from filter(None, drawn)
    yield from (heat(contents, one) for one in contents.heat_maps)
    yield from filter(None, [pareto(contents.pareto, contents.tag) if contents.pareto else None])
    yield from filter(None, [losses(contents), *(held_out(contents, role) for role in HELD_OUT)])

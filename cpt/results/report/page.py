"""The report of a study: one file that needs no server, no network and no other file.

Python computes plain values for each section; the templates in `templates` hold all markup and all texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cpt.errors import some
from cpt.files import write_text
from cpt.results.analysis.conclusions import SAID, interval_of
from cpt.results.analysis.study_results import Axes, StudyResults
from cpt.results.figures.curves import losses
from cpt.results.figures.inline import inline, stylesheet
from cpt.results.report import change_sections, choice_sections, confusion_section, effect_sections, run_sections
from cpt.results.report.cells import span
from cpt.results.rows.measures import METRICS, ROLE_LABELS, TASKS, language_name, number
from cpt.results.rows.published import SOURCE

REPORT = "report.html"
AXES = {"model": "Model", "data": "Data", "code": "Code", "langcat": "Category"}
SECTIONS: dict[str, Callable[[StudyResults], Any]] = {
    "run": run_sections.overview,
    "answer": effect_sections.answer,
    "best": choice_sections.best_runs,
    "summary": run_sections.summary,
    "effects": effect_sections.effects,
    "groups": change_sections.groups,
    "resources": change_sections.resources,
    "claims": change_sections.category_claims,
    "languages": change_sections.languages,
    "scores": change_sections.scores,
    "paired": effect_sections.paired_runs,
    "forgetting": change_sections.forgetting,
    "mixing": confusion_section.confusion,
    "loss": losses,
    "curve": effect_sections.learning,
    "consumption": run_sections.plan_and_ledger,
    "unfinished": run_sections.unfinished,
    "odd": run_sections.odd_values,
    "left-out": lambda results: results.left_out or None,
    "plots": lambda results: bool(results.trained) or None,
    "reading": lambda results: True,
    "provenance": run_sections.provenance,
}
"""By anchor, the function that computes a section's values; a section without values is left out."""


@dataclass(frozen=True)
class FilterChoice:
    """An axis or a part of measures by which the reader filters the page, and its values with their labels."""

    name: str
    label: str
    values: list[tuple[str, str]]


def write_report(study: Path, name: str, scale: str, provenance: dict[str, str]) -> Path:
    """Write the `report.html` of a study, finished or not."""
    return write_page(StudyResults.read(study, name, scale, provenance), study)


def write_page(results: StudyResults, study: Path) -> Path:
    path = study / REPORT
    write_text(path, page(results))
    return path


def page(results: StudyResults) -> str:
    """The whole page as HTML."""
    sections = {anchor: compute(results) for anchor, compute in SECTIONS.items()}
    template = _environment().get_template("page.html.j2")
    return template.render(
        **_of_study(results),
        css=_file("report.css") + stylesheet(),
        theme_script=_file("theme.js"),
        script=_file("report.js"),
        progress=run_sections.progress(results),
        updated=max((folder.updated for folder in results.folders), default=""),
        failed=sum(folder.state == "failed" for folder in results.folders),
        axes=list(AXES),
        points=_points(results),
        choices=[choice for choice in _choices(results) if len(choice.values) > 1],
        sections=sections,
    )


def render_section(results: StudyResults, anchor: str) -> str | None:
    """One section of the page as HTML; None if there is nothing to show."""
    view = SECTIONS[anchor](results)
    if view is None:
        return None
    return _environment().get_template(f"sections/{anchor}.html.j2").render(**_of_study(results), view=view)


def _of_study(results: StudyResults) -> dict[str, Any]:
    return {
        "name": results.name,
        "scale": results.scale,
        "banner": results.banner,
        "tag": results.tag,
        "published": results.published,
        "source": SOURCE,
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cpt.results.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "language": language_name,
        "role": lambda role: ROLE_LABELS.get(role, role),
        "number": lambda value, digits=0: number(value, digits),
        "count_range": span,
        "verdict_title": SAID.__getitem__,
        "basis": effect_sections.basis,
        "interval": interval_of,
        "drawing": inline,
        "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        "css_string": lambda text: "".join(f"\\{ord(letter):x} " for letter in text),
        "some": some,
    }
    return environment


def _file(name: str) -> str:
    return files("cpt.results.report").joinpath(name).read_text(encoding="utf-8")


def _values(axes: Axes) -> tuple[str, ...]:
    return axes.model, axes.data, "with" if axes.code else "without", axes.langcat


def _points(results: StudyResults) -> list[list[Any]]:
    """For each point of the study its values, how many runs it has, and whether it is a base model."""
    runs = Counter(results.point(run_id) for run_id in results.trained)
    return [[*_values(axes), runs[i], int(axes.data == "base")] for i, axes in enumerate(results.points)]


def _choices(results: StudyResults) -> list[FilterChoice]:
    """Every axis of runs and every part of measures, with its values."""
    trained = [_values(results.axes[run_id]) for run_id in results.trained]
    measures = results.measures
    tasks = {measure.task: TASKS.get(measure.task, measure.task) for measure in measures}
    metrics = {measure.metric: METRICS[measure.metric].label for measure in measures if measure.metric in METRICS}
    protocols = (measure.protocol for measure in measures if measure.protocol)
    axes = (
        FilterChoice(name, label, _sorted(row[i] for row in trained)) for i, (name, label) in enumerate(AXES.items())
    )
    return [
        *axes,
        FilterChoice("task", "Benchmark", list(tasks.items())),
        FilterChoice("metric", "Metric", list(metrics.items())),
        FilterChoice("protocol", "Protocol", _sorted(protocols)),
    ]


def _sorted(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in sorted(set(values))]

"""What a reader chooses for the whole page: which runs and measures are shown, and light or dark.

The controls are of use only with the script, which shows them; without it everything is there, in the system's colours.
What the filter can hide says where it belongs: `data-a` the number of its point among `Contents.points`, `data-task`,
`data-metric` and `data-protocol` what it tells of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from cpt.results.figures.markup import Html, element, join
from cpt.results.report.contents import Axes, Contents
from cpt.results.rows.measures import METRICS, TASKS

AXES = {"model": "Model", "data": "Data", "code": "Code", "langcat": "Category"}
OF_MEASURES = {"task": "Benchmark", "metric": "Metric", "protocol": "Protocol"}
THEMES = {"": "System", "light": "Light", "dark": "Dark"}
Choice = tuple[str, str]
"""A value and what it is called."""


def bar(contents: Contents) -> Html:
    """The line at the top of the page: the filter, what it leaves, and the colours."""
    runs = Counter(contents.point(run_id) for run_id in contents.trained)
    points = [[*_values(axes), runs[place], int(axes.data == "base")] for place, axes in enumerate(contents.points)]
    groups = [_group(name, label, choices) for name, label, choices in _choices(contents) if len(choices) > 1]
    told = json.dumps(points, ensure_ascii=False, separators=(",", ":"))
    form = element("form", *groups, id="filter", data_points=told, data_axes=" ".join(AXES))
    reset = element("button", "Show all", type="reset", form="filter", hidden="")
    state = element("output", "", id="shown", form="filter", aria_live="polite")
    unused = None if groups else ""
    folded = element("details", element("summary", "Filter"), form, class_="filter", hidden=unused)
    options = (element("option", word, value=value) for value, word in THEMES.items())
    theme = element("label", "Colours ", element("select", *options, id="theme", autocomplete="off"))
    return element("div", folded, state, reset, theme, class_="controls", hidden="")


def _values(axes: Axes) -> tuple[str, ...]:
    return axes.model, axes.data, _code(axes), axes.langcat


def _code(axes: Axes) -> str:
    return "with" if axes.code else "without"


def _choices(contents: Contents) -> list[tuple[str, str, list[Choice]]]:
    """Every axis of runs and of measures, with its values."""
    trained = [_values(contents.axes[run_id]) for run_id in contents.trained]
    found = [(name, label, _plain(row[place] for row in trained)) for place, (name, label) in enumerate(AXES.items())]
    measures = contents.measures()
    tasks = [(measure.task, TASKS.get(measure.task, measure.task)) for measure in measures]
    metrics = [(measure.metric, METRICS[measure.metric].label) for measure in measures if measure.metric in METRICS]
    protocols = _plain(measure.protocol for measure in measures if measure.protocol)
    values = (list(dict.fromkeys(tasks)), list(dict.fromkeys(metrics)), protocols)
    return found + [(name, label, chosen) for (name, label), chosen in zip(OF_MEASURES.items(), values, strict=True)]


def _plain(values: Iterable[str]) -> list[Choice]:
    return [(value, value) for value in sorted(set(values))]


def _group(name: str, label: str, choices: list[Choice]) -> Html:
    boxes = (
        element("label", element("input", type="checkbox", name=name, value=value, autocomplete="off"), word)
        for value, word in choices
    )
    return element("fieldset", element("legend", label), join(boxes, " "))

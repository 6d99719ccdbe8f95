"""Curves over training as SVG: one small panel for each model and language category, a line for each run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpt.results.report.contents import Axes, Contents, run_order
from cpt.results.report.markup import Html, element, join, tagged

POINTS = 150
"""At most so many points a curve: a panel is some 300 pixels wide."""
WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 28
COLOURS = 4
"""Line colours in the style sheet, `c0` to `c3`."""
UNKNOWN = Axes("Not yet scored", "unknown", False, "")
"""Where a run is drawn that neither plan nor rows tell about."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    label: str
    axes: Axes
    points: Points


def thin(points: Sequence[tuple[int, float]], most: int = POINTS) -> Points:
    """At most `most` points: the mean of each stretch of equally many steps, at the stretch's last step."""
    size = math.ceil(len(points) / most) if points else 1
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [(stretch[-1][0], math.fsum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches]


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers between two bounds: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most)
    return [step * place for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def curves(contents: Contents, read: Callable[[Path], Sequence[tuple[int, float]]], title: str) -> Html | None:
    """All panels of what `read` finds in runs' folders, a row of them for each model; None when there is nothing."""
    lines = [
        Line(contents.labels[folder.run_id], contents.axes.get(folder.run_id, UNKNOWN), thin(found))
        for folder in contents.folders
        if (found := read(folder.path))
    ]
    if not lines:
        return None
    lines.sort(key=lambda line: (line.axes == UNKNOWN, run_order(line.axes), line.label))
    panels: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        panels[line.axes.model][line.axes.langcat].append(line)
    kinds = dict.fromkeys(line.axes.data for line in lines)
    colours = {data: f"c{place % COLOURS}" for place, data in enumerate(kinds)}
    rows = [_row(model, row, colours, title) for model, row in panels.items()]
    return element("figure", _legend(lines, colours, contents.tag), *rows, class_="curves")


def _legend(lines: list[Line], colours: dict[str, str], tag: str) -> Html:
    kinds = dict.fromkeys((line.axes.data, line.axes.code) for line in lines)
    keys = []
    for data, code in kinds:
        stroke = element("path", class_=_style(colours[data], code), d="M0 6H28")
        swatch = element("svg", stroke, viewBox="0 0 28 12", width=28, height=12, aria_hidden="true")
        keys.append(element("span", swatch, f" {data}{' + code' if code else ''}"))
    if tag:
        keys.append(tagged(tag))
    return element("p", join(keys, " "), class_="legend")


def _style(colour: str, code: bool) -> str:
    return f"line {colour} dashed" if code else f"line {colour}"


def _row(model: str, panels: dict[str, list[Line]], colours: dict[str, str], title: str) -> Html:
    """The panels of one model, on one scale: losses of different tokenizers cannot be compared."""
    losses = [loss for lines in panels.values() for line in lines for _, loss in line.points]
    bounds = (min(losses), max(losses))
    drawn = [_panel(f"{model} {langcat}".strip(), lines, bounds, colours, title) for langcat, lines in panels.items()]
    return element("div", *drawn, class_="panels")


def _panel(name: str, lines: list[Line], bounds: tuple[float, float], colours: dict[str, str], title: str) -> Html:
    last = max(line.points[-1][0] for line in lines) or 1
    low, high = bounds
    margin = (high - low) * 0.04 or 0.5
    low, high = low - margin, high + margin

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def down(loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)

    parts = []
    for loss in ticks(low, high):
        y = f"{down(loss):.1f}"
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{loss:.4g}", x=LEFT - 5, y=f"{down(loss) + 3.5:.1f}", text_anchor="end"))
    for step in ticks(0, last):
        anchor = "start" if step == 0 else "end" if across(step) > WIDTH - 30 else "middle"
        parts.append(element("text", f"{step:,.0f}", x=f"{across(step):.1f}", y=HEIGHT - 12, text_anchor=anchor))
    parts.append(element("text", "step", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 1, text_anchor="middle"))
    for line in lines:
        path = "M" + "L".join(f"{across(step):.1f} {down(loss):.1f}" for step, loss in line.points)
        style = _style(colours[line.axes.data], line.axes.code)
        parts.append(element("path", element("title", _told(line)), d=path, class_=style))
    said = f"{title} by step, {name}. " + "; ".join(_told(line) for line in lines)
    drawing = element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=said)
    return element("div", element("h3", name), drawing)


def _told(line: Line) -> str:
    return f"{line.label}: {line.points[0][1]:.3f} to {line.points[-1][1]:.3f} at step {line.points[-1][0]:,.0f}"

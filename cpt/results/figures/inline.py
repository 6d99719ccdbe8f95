"""A figure as part of a page: a drawing for each panel, which take the width there is, and a legend above them."""

from __future__ import annotations

from typing import Any

from cpt.results.figures.drawing import PAINT, Circle, Figure, Key, Line, Mark, Panel, Words, painted
from cpt.results.figures.markup import Html, element, join, tagged
from cpt.results.rows.measures import Measure

NARROWED = 0.85
"""To which share of its width a panel is made narrower."""


def inline(figure: Figure) -> Html:
    keys = [element("span", _swatch(key), f" {key.words}") for key in figure.keys]
    if figure.tag:
        keys.append(tagged(figure.tag))
    parts = [element("p", figure.note, class_="legend")] if figure.note else []
    if keys:
        parts.append(element("p", join(keys, " "), class_="legend keys"))
    rows = [element("div", *(_panel(panel, figure.tag) for panel in row), class_="panels") for row in figure.rows]
    about = of_measure(figure.measure) if figure.measure else {}
    return element("figure", *parts, *rows, class_="drawn", **about)


def of_measure(measure: Measure) -> dict[str, str]:
    """The attributes by which a page filters a table or figure of a measure."""
    return {"data_task": measure.task, "data_metric": measure.metric, "data_protocol": measure.protocol}


def _swatch(key: Key) -> Html:
    marks = (markup(mark) for mark in key.marks)
    return element("svg", *marks, viewBox="0 0 28 12", width=28, height=12, class_="fig", aria_hidden="true")


def _panel(panel: Panel, tag: str) -> Html:
    said = f"{panel.said} ({tag} numbers)" if tag else panel.said
    size = f"0 0 {panel.width:.0f} {panel.height:.0f}"
    marks = (markup(mark) for mark in panel.marks)
    drawing = element("svg", *marks, viewBox=size, class_="fig", role="img", aria_label=said)
    name = [element("p", panel.name, class_="name")] if panel.name else []
    # Letters stay readable: a panel that has no room beside another goes below it.
    room = f"flex:1 1 {panel.width * NARROWED:.0f}px;max-width:{panel.width:.0f}px"
    return element("div", *name, drawing, style=room)


def markup(mark: Mark, paint: bool = False) -> Html:
    """A mark as SVG: its styles as classes, or painted in the colours of day."""
    if isinstance(mark, Words):
        style = f"words {mark.style}".rstrip()
        anchor = None if mark.anchor == "start" else mark.anchor
        return element(
            "text", mark.text, x=_place(mark.at[0]), y=_place(mark.at[1]), text_anchor=anchor, **_look(style, paint)
        )
    title = [element("title", mark.title)] if mark.title else []
    look: dict[str, Any] = {**_look(mark.style, paint), "data_a": None if paint else mark.point}
    if isinstance(mark, Circle):
        return element("circle", *title, cx=_place(mark.at[0]), cy=_place(mark.at[1]), r=_place(mark.radius), **look)
    return element("path", *title, d=_path(mark), **look)


def _path(line: Line) -> str:
    drawn = "M" + "L".join(f"{_place(x)} {_place(y)}" for x, y in line.points)
    return f"{drawn}Z" if line.closed else drawn


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _look(style: str, paint: bool) -> dict[str, str]:
    return painted(style) if paint else {"class": style}


def stylesheet() -> str:
    """The rules that a page needs for figures, in the variables of its own style sheet."""
    rules = (
        f".fig .{name}{{{';'.join(f'{key}:{value}' for key, value in look.items())}}}" for name, look in PAINT.items()
    )
    return "\n".join(rules)

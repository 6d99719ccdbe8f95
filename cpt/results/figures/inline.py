"""A figure as part of the page: an SVG drawing for each panel, which fills the width available, under a legend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpt.results.figures.drawing import SIZE, STYLES, Dot, Figure, Key, Line, Mark, Panel, Point, Words, width_of
from cpt.results.figures.markup import Html, element, join, tagged
from cpt.results.rows.measures import Measure

NARROWED = 0.85
"""The share of its width to which a panel shrinks before it goes below another: letters stay readable."""
MARGIN = 4.0


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


def stylesheet() -> str:
    """The rules that a page needs for figures, in the variables of its own style sheet."""
    rules = (f".fig .{name}{{{';'.join(map(':'.join, rule.items()))}}}" for name, rule in STYLES.items())
    return "\n".join(rules)


def _swatch(key: Key) -> Html:
    shapes = (_shape(mark, mark.points if isinstance(mark, Line) else _outline(mark, mark.at)) for mark in key.marks)
    return element("svg", *shapes, viewBox="0 0 28 12", width=28, height=12, class_="fig", aria_hidden="true")


def _panel(panel: Panel, tag: str) -> Html:
    description = f"{panel.description} ({tag} numbers)" if tag else panel.description
    words = [mark for mark in (*_axes(panel), *panel.marks) if isinstance(mark, Words)]
    left, top, right, bottom = _extent(panel, words)
    width = right - left
    drawing = element(
        "svg",
        *(_drawn(panel, mark) for mark in (*_axes(panel), *panel.marks)),
        viewBox=f"{left:.0f} {top:.0f} {width:.0f} {bottom - top:.0f}",
        class_="fig",
        role="img",
        aria_label=description,
    )
    name = [element("p", panel.name, class_="name")] if panel.name else []
    return element("div", *name, drawing, style=f"flex:1 1 {width * NARROWED:.0f}px;max-width:{width:.0f}px")


def _axes(panel: Panel) -> Iterator[Mark]:
    """Grid lines with their labels, and the names of the axes; an axis without a name first."""
    x, y = panel.x, panel.y
    for axis in sorted((x, y), key=lambda axis: bool(axis.label)):
        for value, label in axis.ticks:
            if axis is x:
                yield Line(((value, y.low), (value, y.high)), "grid")
                yield Words(label, (value, y.low), anchor="middle", offset=(0, 15))
            else:
                yield Line(((x.low, value), (x.high, value)), "grid")
                yield Words(label, (x.low, value), anchor="end", offset=(-5, 3.5))
    if x.label:
        yield Words(x.label, ((x.low + x.high) / 2, y.low), anchor="middle", offset=(0, 30 if x.ticks else 14))
    if y.label:
        yield Words(y.label, (x.low, y.high), offset=(-40, -8))


def _extent(panel: Panel, words: Iterable[Words]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all that is drawn."""
    left, top, right, bottom = 0.0, 0.0, panel.width, panel.height
    for mark in words:
        x, y = _position(panel, mark)
        width = width_of(mark.text)
        start = x - width * {"start": 0, "middle": 0.5, "end": 1}[mark.anchor]
        left, right = min(left, start), max(right, start + width)
        top, bottom = min(top, y - SIZE), max(bottom, y + SIZE / 4)
    return left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN


def _position(panel: Panel, words: Words) -> Point:
    x, y = panel.position(words.at)
    return x + words.offset[0], y + words.offset[1]


def _drawn(panel: Panel, mark: Mark) -> Html:
    if isinstance(mark, Words):
        x, y = (_number(value) for value in _position(panel, mark))
        anchor = None if mark.anchor == "start" else mark.anchor
        return element("text", mark.text, x=x, y=y, text_anchor=anchor, class_=f"words {mark.style}".rstrip())
    if isinstance(mark, Dot):
        return _shape(mark, _outline(mark, panel.position(mark.at)))
    return _shape(mark, [panel.position(point) for point in mark.points])


def _shape(mark: Line | Dot, points: Iterable[Point]) -> Html:
    """A line through the points, or an outline; a single point is the centre of a circle."""
    title = [element("title", mark.title)] if mark.title else []
    first, *others = ((_number(x), _number(y)) for x, y in points)
    if isinstance(mark, Dot) and not others:
        radius = _number(mark.radius)
        return element("circle", *title, cx=first[0], cy=first[1], r=radius, class_=mark.style, data_a=mark.point)
    path = "M" + "L".join(f"{x} {y}" for x, y in (first, *others))
    closed = isinstance(mark, Dot) or mark.closed
    return element("path", *title, d=f"{path}Z" if closed else path, class_=mark.style, data_a=mark.point)


def _outline(dot: Dot, centre: Point) -> list[Point]:
    """The corners of a dot's shape; of a circle its centre."""
    r, s = dot.radius * 1.25, dot.radius
    corners: dict[str, tuple[Point, ...]] = {
        "circle": ((0, 0),),
        "diamond": ((0, -r), (r, 0), (0, r), (-r, 0)),
        "square": ((-s, -s), (s, -s), (s, s), (-s, s)),
        "up": ((0, -r), (r, r * 0.8), (-r, r * 0.8)),
        "down": ((0, r), (r, -r * 0.8), (-r, -r * 0.8)),
        "left": ((-r, 0), (r * 0.8, -r), (r * 0.8, r)),
        "right": ((r, 0), (-r * 0.8, -r), (-r * 0.8, r)),
    }
    return [(centre[0] + x, centre[1] + y) for x, y in corners[dot.shape]]


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

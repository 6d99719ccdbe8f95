"""A figure on one sheet, as a file has it: title, what it is, legend and all panels, in the colours of day on white.

Whether its numbers are toy or published ones stands in the picture itself: it is looked at away from its study.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cpt.results.figures.drawing import LETTER, SIZE, Circle, Figure, Key, Mark, Panel, Words, box, width_of
from cpt.results.figures.inline import markup
from cpt.results.figures.markup import Html, element, join

MARGIN, GAP = 14.0, 22.0
LEADING = 14.0
NARROWEST = 420.0
"""For a title and a note to have some room beside a single small panel."""
FONTS = "Verdana, 'Bitstream Vera Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Sheet:
    title: str
    said: str
    """All that it shows, in words."""
    width: float
    height: float
    marks: tuple[Mark, ...]


def sheet(figure: Figure) -> Sheet:
    inner = max(NARROWEST, *(sum(panel.width + GAP for panel in row) - GAP for row in figure.rows))
    marks: list[Mark] = []
    y = MARGIN
    for line in _wrapped(figure.title, inner, 14):
        y += 16
        marks.append(Words(line, (MARGIN, y), "strong title"))
    y += 4
    if figure.banner:
        lines = _wrapped(figure.banner, inner - 12)
        marks.append(box(MARGIN, y + 2, inner, len(lines) * LEADING + 8, "frame"))
        marks += [Words(line, (MARGIN + 6, y + (n + 1) * LEADING + 2), "strong") for n, line in enumerate(lines)]
        y += len(lines) * LEADING + 14
    for line in _wrapped(figure.note, inner):
        y += LEADING
        marks.append(Words(line, (MARGIN, y)))
    keys, y = _legend(figure.keys, inner, y + 8)
    y += 6
    marks += keys
    for row in figure.rows:
        y += GAP
        x = MARGIN
        for panel in row:
            marks += _placed(panel, x, y)
            x += panel.width + GAP
        y += max(panel.height for panel in row)
    said = " ".join(filter(None, [figure.banner, figure.note, *(panel.said for panel in figure.panels)]))
    return Sheet(figure.title, said, inner + 2 * MARGIN, y + MARGIN, tuple(marks))


def _wrapped(text: str, width: float, size: float = SIZE) -> list[str]:
    return textwrap.wrap(text, int(width / (size * LETTER)))


def _legend(keys: Iterable[Key], width: float, y: float) -> tuple[list[Mark], float]:
    """Swatches with their words, in as many lines as they need, and where they end."""
    marks: list[Mark] = []
    x, begun = 0.0, False
    for key in keys:
        needed = 34 + width_of(key.words) + 14
        if not begun or x + needed > width:
            x, y, begun = 0.0, y + LEADING + 2, True
        marks += [moved(mark, MARGIN + x, y - 10) for mark in key.marks]
        marks.append(Words(key.words, (MARGIN + x + 34, y), "label"))
        x += needed
    return marks, y


def _placed(panel: Panel, x: float, y: float) -> list[Mark]:
    name = [Words(panel.name, (x, y - 6), "strong")] if panel.name else []
    return [*name, *(moved(mark, x, y) for mark in panel.marks)]


def moved(mark: Mark, x: float, y: float) -> Mark:
    if isinstance(mark, Words):
        return replace(mark, at=(mark.at[0] + x, mark.at[1] + y))
    if isinstance(mark, Circle):
        return replace(mark, at=(mark.at[0] + x, mark.at[1] + y))
    return replace(mark, points=tuple((a + x, b + y) for a, b in mark.points))


def svg(page: Sheet) -> str:
    """The sheet as a file of its own."""
    size = {"width": f"{page.width:.0f}", "height": f"{page.height:.0f}"}
    ground = element("rect", **size, fill="#ffffff")
    drawing = element(
        "svg",
        element("title", page.title, id="title"),
        element("desc", page.said, id="said"),
        ground,
        join((markup(mark, paint=True) for mark in page.marks), "\n"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {page.width:.0f} {page.height:.0f}",
        role="img",
        aria_labelledby="title said",
        font_family=FONTS,
        **size,
    )
    return Html(f'<?xml version="1.0" encoding="UTF-8"?>\n{drawing}\n')

"""Tables and boxes of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cpt.results.figures.markup import Content, Html, element, escaped, join

MANY = 200
"""Lines of a table that a browser lays out at once without a wait."""


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, what it sorts by, and what is said when one asks for more."""

    content: Content
    sort: float | None = None
    title: str | None = None
    style: str | None = None
    """Its class."""
    point: int | None = None
    """Of a cell that names its line: the point of the study the line tells of, by which it is filtered."""


def text(content: Content) -> Cell:
    return Cell(content)


def rows(body: Iterable[Sequence[Cell]]) -> Html:
    """Table rows; the first cell of each names the row."""
    return join((_row(line) for line in body), "\n")


def _row(line: Sequence[Cell]) -> Html:
    """Written out and not by `element`: a study of a thousand runs has some hundred thousand cells."""
    name, *others = line
    point = "" if name.point is None else f' data-a="{name.point}"'
    style = ' class="base"' if name.style and "base" in name.style.split() else ""
    cells = "".join([f"<td{_attributes(cell)}>{escaped(cell.content)}</td>" for cell in others])
    return Html(f'<tr{point}{style}><th scope="row"{_attributes(name)}>{escaped(name.content)}</th>{cells}</tr>')


def _attributes(cell: Cell) -> str:
    style = f' class="{html.escape(cell.style)}"' if cell.style else ""
    title = f' title="{html.escape(cell.title)}"' if cell.title else ""
    sort = "" if cell.sort is None or not math.isfinite(cell.sort) else f' data-sort="{cell.sort:.6g}"'
    return f"{style}{title}{sort}"


def table(caption: Content, heads: Sequence[Content], body: Sequence[Sequence[Cell]], style: str = "") -> Html:
    """A table with a caption, in a box that scrolls on its own where the page is too narrow.

    Columns in which no cell has a number to sort by are words, and set to the left.
    """
    worded = [not any(line[place].sort is not None for line in body) for place in range(len(heads))]
    named = (
        element("th", head, scope="col", class_="t" if words else None)
        for head, words in zip(heads, worded, strict=True)
    )
    lines = [[_left(cell) if words else cell for cell, words in zip(line, worded, strict=True)] for line in body]
    header = element("thead", element("tr", *named))
    filled = element("table", element("caption", caption), header, element("tbody", rows(lines)), class_=style or None)
    return scrolling(filled, html.unescape(_plain(caption)), len(lines))


def _left(cell: Cell) -> Cell:
    return replace(cell, style=f"{cell.style} t" if cell.style else "t")


def scrolling(content: Html, label: str, lines: int = 0) -> Html:
    """A box that scrolls by itself, reachable by keyboard; of many lines it is made when it comes into view."""
    box = element("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)
    return element("div", later(box), class_="later") if lines > MANY else box


def later(content: Html) -> Html:
    """What is needed later: a browser that runs scripts reads it as plain text, and the script makes elements of it.

    One that runs none reads elements at once. One cannot be within another, so what was to come later comes along.
    """
    return element("noscript", Html(content.replace("<noscript>", "").replace("</noscript>", "")))


def _plain(content: Content) -> str:
    """The words of some content without its markup."""
    if not isinstance(content, Html):
        return content
    words, inside = [], False
    for character in content:
        if character in "<>":
            inside = character == "<"
        elif not inside:
            words.append(character)
    return "".join(words)

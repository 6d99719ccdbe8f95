"""HTML written so that nothing can be forgotten: whatever is not already markup is escaped, names of runs included."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


class Html(str):
    """Text that is markup already; any other string is escaped when it is put into an element."""

    __slots__ = ()


Content = str | Html
VOID = frozenset({"meta", "line", "path", "rect", "col"})


def escaped(content: Content) -> str:
    return content if isinstance(content, Html) else html.escape(content, quote=True)


def join(parts: Iterable[Content], between: str = "") -> Html:
    return Html(between.join(escaped(part) for part in parts))


def element(tag: str, *content: Content, **attributes: str | int | float | None) -> Html:
    """An element; attributes that are None are left out, and `_` in a name is `-` (`class_` is `class`)."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID and not content:
        return Html(f"<{tag}{named}/>")
    return Html(f"<{tag}{named}>{join(content)}</{tag}>")


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, what it sorts by, and what is said when one asks for more."""

    content: Content
    sort: float | None = None
    title: str | None = None
    style: str | None = None
    """Its class."""


def text(content: Content) -> Cell:
    return Cell(content)


def rows(body: Iterable[Sequence[Cell]]) -> Html:
    """Table rows; the first cell of each names the row."""
    return join(
        (element("tr", *(_cell("td" if place else "th", cell) for place, cell in enumerate(line))) for line in body),
        "\n",
    )


def _cell(tag: str, cell: Cell) -> Html:
    scope = "row" if tag == "th" else None
    sort = None if cell.sort is None or not math.isfinite(cell.sort) else f"{cell.sort:.6g}"
    return element(tag, cell.content, scope=scope, class_=cell.style, title=cell.title, data_sort=sort)


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
    return scrolling(filled, html.unescape(_plain(caption)))


def _left(cell: Cell) -> Cell:
    return replace(cell, style=f"{cell.style} t" if cell.style else "t")


def tagged(word: str) -> Html:
    """The mark of numbers that are not results of ours on real models, empty where there is none to set."""
    return element("span", word, class_="tag") if word else Html()


def scrolling(content: Html, label: str) -> Html:
    """A box that scrolls by itself, reachable by keyboard."""
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)


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

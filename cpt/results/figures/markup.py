"""HTML and SVG elements: whatever is not already markup is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable


class Html(str):
    """Text that is markup already; any other string is escaped when it is put into an element."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tells a template that this needs no escaping."""
        return self


Content = str | Html
VOID = frozenset({"meta", "line", "path", "rect", "col", "input"})


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


def tagged(word: str) -> Html:
    """The mark of numbers that are not results of ours on real models, empty where there is none to set."""
    return element("span", word, class_="tag") if word else Html()

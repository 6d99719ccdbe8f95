"""A sheet as PDF: lines stay lines and text stays text, in a font that is embedded, as publishers ask.

Drawn mark by mark with reportlab: reading the SVG back to draw it takes ten times as long. The font is the one that
comes with reportlab, which has letters of western languages only: an arrow becomes a word, another letter its next kin.
"""

from __future__ import annotations

import io
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

from cpt.results.figures.drawing import Circle, Mark, Words, painted
from cpt.results.figures.sheet import Sheet

POINT = 0.75
"""Of a pixel."""
REGULAR, BOLD = "Vera", "VeraBd"
WRITTEN = {"\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}": " to ", "→": "to", "↑": "up", "↓": "down"}


def pdf(sheet: Sheet) -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    _fonts()
    file = io.BytesIO()
    # Invariant: without the time and a random id, so that the same figure is the same file.
    size = (sheet.width * POINT, sheet.height * POINT)
    canvas = Canvas(file, pagesize=size, invariant=1, pageCompression=1, initialFontName=REGULAR)
    canvas.setTitle(sheet.title)
    canvas.setSubject(sheet.said)
    canvas.setCreator("cpt")
    canvas.translate(0, sheet.height * POINT)
    canvas.scale(POINT, -POINT)
    for mark in sheet.marks:
        _draw(canvas, mark)
    canvas.save()
    return file.getvalue()


@cache
def _fonts() -> frozenset[int]:
    """Make the font known; the characters it has."""
    import reportlab
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    return frozenset(pdfmetrics.getFont(REGULAR).face.charToGlyph)


def written(text: str) -> str:
    """Text in the characters of the font."""
    for character, word in WRITTEN.items():
        text = text.replace(character, word)
    return "".join(_known(character) for character in text)


def _known(character: str) -> str:
    if ord(character) in _fonts():
        return character
    plain = [part for part in unicodedata.normalize("NFKD", character) if ord(part) in _fonts()]
    return "".join(plain) or "?"


@cache
def _colour(name: str) -> Any:
    """The library's colour, for which it tries a dozen notations at each mark."""
    from reportlab.lib.colors import toColor

    return toColor(name)


def _draw(canvas: Any, mark: Mark) -> None:
    if isinstance(mark, Words):
        _write(canvas, mark)
        return
    look = painted(mark.style)
    fill, stroke = look.get("fill", "none"), look.get("stroke", "none")
    if fill != "none":
        canvas.setFillColor(_colour(fill), alpha=float(look.get("fill-opacity", 1)))
    if stroke != "none":
        canvas.setStrokeColor(_colour(stroke))
        canvas.setLineWidth(float(look.get("stroke-width", 1)))
        canvas.setDash([float(part) for part in look.get("stroke-dasharray", "").split()])
        canvas.setLineJoin(1 if look.get("stroke-linejoin") == "round" else 0)
    kind = {"fill": int(fill != "none"), "stroke": int(stroke != "none")}
    if isinstance(mark, Circle):
        canvas.circle(*mark.at, mark.radius, **kind)
        return
    path = canvas.beginPath()
    path.moveTo(*mark.points[0])
    for point in mark.points[1:]:
        path.lineTo(*point)
    if mark.closed:
        path.close()
    canvas.drawPath(path, **kind)


def _write(canvas: Any, words: Words) -> None:
    look = painted(f"words {words.style}")
    canvas.setFillColor(_colour(look["fill"]), alpha=1)
    canvas.setFont(BOLD if "font-weight" in look else REGULAR, float(look["font-size"].removesuffix("px")))
    write = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}
    canvas.saveState()
    canvas.translate(*words.at)
    canvas.scale(1, -1)  # the sheet's y runs downward, and letters must not
    write[words.anchor](0, 0, written(words.text))
    canvas.restoreState()

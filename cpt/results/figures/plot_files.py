"""A figure as SVG, PDF and PNG files for a paper, drawn by matplotlib with a style sheet that users can replace.

Text stays text, in a font that PDFs embed; one figure always becomes the same bytes. Whether its numbers are toy or
published ones stands in the plot itself, because plots are looked at away from their study.
"""

from __future__ import annotations

import html
import io
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as Sheet
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import offset_copy

from cpt.results.figures.drawing import LETTER, Dot, Figure, Key, Line, Panel, Words, look

PAPER = Path(__file__).with_name("paper.mplstyle")
FORMATS = ("svg", "pdf", "png")
PIXELS, POINTS = 96, 0.75
"""Pixels of a description in an inch; points in a pixel."""
MARGIN, GAP, NARROWEST = 0.15, 0.2, 4.6
"""In inches; the narrowest leaves room for a title and a note."""
MARKERS = {"circle": "o", "diamond": "D", "square": "s", "up": "^", "down": "v", "left": "<", "right": ">"}
FALLBACK = "DejaVu Sans"
"""The font that comes with matplotlib: letters of all languages in Latin, Greek and Cyrillic script."""


def render(figure: Figure, styles: Sequence[Path] = (PAPER,), formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The files of a figure by format."""
    with styled(styles):
        sheet = draw(figure)
        return {extension: _save(sheet, figure, extension) for extension in formats}


@contextmanager
def styled(styles: Sequence[Path]) -> Iterator[None]:
    """Matplotlib's own defaults under the style sheets, later ones over earlier ones, whatever the user's settings."""
    rc = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    for style in styles:
        rc |= mpl.rc_params_from_file(style, use_default_template=False)
    with mpl.rc_context(rc):
        if FALLBACK not in mpl.rcParams["font.sans-serif"][:1]:  # a font that is listed twice is embedded twice
            mpl.rcParams["font.family"] = [*mpl.rcParams["font.family"], FALLBACK]
        colours.cache_clear()
        _has.cache_clear()
        yield


def _save(sheet: Sheet, figure: Figure, extension: str) -> bytes:
    file = io.BytesIO()
    description = " ".join(filter(None, [figure.banner, figure.note, *(panel.description for panel in figure.panels)]))
    undated: dict[str, Any] = {"Producer": None, "CreationDate": None}
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Title": figure.title, "Creator": "cpt", "Date": None},
        "pdf": {"Title": figure.title, "Subject": description, "Creator": "cpt"} | undated,
        "png": {"Software": None},
    }
    sheet.savefig(file, format=extension, metadata=metadata[extension])
    if extension != "svg":
        return file.getvalue()
    text = file.getvalue().decode().replace("<svg ", '<svg role="img" aria-labelledby="title description" ', 1)
    described = f'</title>\n <desc id="description">{html.escape(description)}</desc>'
    return text.replace("<title>", '<title id="title">', 1).replace("</title>", described, 1).encode()


def draw(figure: Figure) -> Sheet:
    """Title, banner, note and legend above all panels; the sheet is as large as these need."""
    sheet = Sheet()
    FigureCanvasAgg(sheet)
    axes = [[_panel(sheet, panel) for panel in row] for row in figure.rows]
    width, places, height = _arranged(sheet, axes, figure)
    sheet.set_size_inches(width, height)
    header = _header(sheet, figure)
    head = sum(above + extent for _, above, extent in header) + MARGIN
    sheet.set_size_inches(width, head + height)
    y = head + height - MARGIN
    for artist, above, extent in header:
        y -= above
        if isinstance(artist, Text):
            artist.set_y(y / (head + height))
        else:
            artist.set_bbox_to_anchor((MARGIN / width, y / (head + height)), sheet.transFigure)
        y -= extent
    for axis, (left, bottom, wide, high) in places.items():
        axis.set_position((left / width, (height + bottom) / (head + height), wide / width, high / (head + height)))
    return sheet


def _header(sheet: Sheet, figure: Figure) -> list[tuple[Any, float, float]]:
    """Title, banner, note and legend, each with the space above it and its height, in inches."""
    left, size = MARGIN / sheet.get_figwidth(), mpl.rcParams["font.size"]
    letters = int((sheet.get_figwidth() - 2 * MARGIN) * 72 / (size * LETTER))
    parts: list[tuple[Any, float]] = []
    for text, above, style in (
        (figure.title, 0.0, {"size": size * 1.25, "weight": "bold"}),
        (figure.banner, 0.13, {"weight": "bold", "color": colours()["c1"]}),
        (figure.note, 0.1, {"color": colours()["soft"]}),
    ):
        if text:
            lines = textwrap.fill(shown(text), letters if text == figure.note else int(letters * 0.85))
            parts.append((sheet.text(left, 0, lines, va="top", **style), above))
    if figure.keys:
        parts.append((_legend(sheet, figure.keys), 0.1))
    return [(artist, above, artist.get_window_extent().height / sheet.dpi) for artist, above in parts]


def _legend(sheet: Sheet, keys: Sequence[Key]) -> Any:
    """The legend, in as many columns as fit."""
    handles: list[Any] = [tuple(_handle(mark) for mark in key.marks) for key in keys]
    handlers = {tuple: HandlerTuple(ndivide=None if all(isinstance(m, Dot) for k in keys for m in k.marks) else 1)}
    for columns in range(len(keys), 0, -1):
        legend = sheet.legend(
            handles, [shown(key.words) for key in keys], ncols=columns, handler_map=handlers, loc="upper left",
            borderaxespad=0, borderpad=0,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width / sheet.dpi < sheet.get_figwidth() - 2 * MARGIN:
            return legend
        legend.remove()
    raise AssertionError("a legend has keys")


def _handle(mark: Line | Dot) -> Any:
    if isinstance(mark, Dot):
        return _dot(mark, (0, 0))
    if mark.closed:
        return Patch(**_filled(mark.style))
    return Line2D([], [], **_stroke(mark.style))


def _arranged(sheet: Sheet, axes: list[list[Axes]], figure: Figure) -> tuple[float, dict[Axes, Any], float]:
    """Width of the sheet, the place of each panel below its top, and the height of all, in inches, labels measured."""
    sides = {}
    for row, panels in zip(axes, figure.rows, strict=True):
        for axis, panel in zip(row, panels, strict=True):
            around, inner = axis.get_tightbbox(), axis.get_window_extent()
            assert around is not None
            room = (inner.x0 - around.x0, around.x1 - inner.x1, around.y1 - inner.y1, inner.y0 - around.y0)
            sides[axis] = panel.width / PIXELS, panel.height / PIXELS, *(max(0.0, part / sheet.dpi) for part in room)
    columns = [[row[n] for row in axes if n < len(row)] for n in range(max(map(len, axes)))]
    places: dict[Axes, Any] = {}
    x = MARGIN
    for column in columns:  # plot areas below one another begin at one line
        left, right = (max(sides[axis][side] for axis in column) for side in (2, 3))
        places |= dict.fromkeys(column, x + left)
        x += left + max(sides[axis][0] for axis in column) + right + GAP
    y = 0.0
    for row in axes:
        y -= max(sides[axis][4] for axis in row) + GAP
        for axis in row:
            wide, high = sides[axis][:2]
            places[axis] = (places[axis], y - high, wide, high)
        y -= max(sides[axis][1] + sides[axis][5] for axis in row)
    return max(NARROWEST, x - GAP + MARGIN), places, MARGIN - y


def _panel(sheet: Sheet, panel: Panel) -> Axes:
    width, height = panel.width / PIXELS, panel.height / PIXELS
    place = (0, 0, width / sheet.get_figwidth(), height / sheet.get_figheight())
    axes = sheet.add_axes(place, label=str(len(sheet.axes)))
    axes.set(xlim=(panel.x.low, panel.x.high), ylim=(panel.y.low, panel.y.high))
    axes.set_xlabel(shown(panel.x.label))
    axes.set_ylabel(shown(panel.y.label))
    axes.set_title(shown(panel.name))
    for axis, side, described in ((axes.xaxis, "bottom", panel.x), (axes.yaxis, "left", panel.y)):
        axis.set_ticks([value for value, _ in described.ticks], labels=[label for _, label in described.ticks])
        axis.grid(bool(described.ticks))
        axes.spines[side].set_visible(bool(described.ticks))
    areas: dict[str, list[Any]] = defaultdict(list)
    for mark in panel.marks:
        if isinstance(mark, Words):
            _write(axes, mark)
        elif isinstance(mark, Dot):
            axes.add_line(_dot(mark, mark.at))
        elif mark.closed:
            areas[mark.style].append(mark.points)
        else:
            axes.add_line(Line2D(*zip(*mark.points, strict=True), clip_on=False, **_stroke(mark.style)))
    for style, outlines in areas.items():
        axes.add_collection(PolyCollection(outlines, clip_on=False, zorder=1.5, **_filled(style)), autolim=False)
    return axes


def _write(axes: Axes, mark: Words) -> None:
    rules = painted(f"words {mark.style}")
    small = "small" in mark.style.split()
    right, down = mark.offset
    sheet = axes.get_figure()
    assert sheet is not None
    axes.text(
        *mark.at,
        shown(mark.text),
        transform=offset_copy(axes.transData, sheet, right * POINTS, -down * POINTS, units="points"),  # type: ignore[arg-type]
        ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
        va="baseline",
        color=rules["fill"],
        weight="bold" if "font-weight" in rules else "normal",
        size=mpl.rcParams["font.size"] * (0.75 if small else 1),
        zorder=4,
        in_layout=not small,  # text within a cell; measuring it would take long
    )


def _dot(mark: Dot, at: tuple[float, float]) -> Line2D:
    rules = painted(mark.style)
    size = mark.radius * 2 * POINTS * (0.85 if mark.shape in ("diamond", "square") else 1)
    return Line2D(
        [at[0]], [at[1]], linestyle="none", marker=MARKERS[mark.shape], markersize=size, clip_on=False, zorder=3,
        markerfacecolor=rules["fill"], markeredgecolor=rules["stroke"],
    )  # fmt: skip


def _stroke(style: str) -> dict[str, Any]:
    rules = painted(style)
    dashes = "dashed" if "stroke-dasharray" in rules else "solid"
    width = mpl.rcParams["lines.linewidth" if "line" in style.split() else "grid.linewidth"]
    return {"color": rules["stroke"], "linewidth": width, "linestyle": dashes}


def _filled(style: str) -> dict[str, Any]:
    rules = painted(style)
    alpha = float(rules.get("fill-opacity", 1))
    return {"facecolor": rules["fill"], "edgecolor": rules["stroke"], "linewidth": 0.8, "alpha": alpha}


def painted(style: str) -> dict[str, str]:
    """The properties of a mark with these styles, in the colours of the style sheet."""
    return {key: colours()[value[6:-1]] if value.startswith("var(") else value for key, value in look(style).items()}


@cache
def colours() -> dict[str, str]:
    """The variables of the page as the style sheet has them: of its colour cycle four tell apart, two judge."""
    rc = mpl.rcParams
    paper, ink, cycle = rc["axes.facecolor"], rc["text.color"], rc["axes.prop_cycle"].by_key()["color"]
    plain = {"paper": paper, "strong": paper, "ink": ink, "weak": ink, "soft": rc["xtick.color"]}
    named = plain | {"rule": rc["grid.color"], "band": _mixed(ink, paper, 0.05)}
    named |= {f"c{number}": cycle[number % len(cycle)] for number in range(4)}
    for side, place in (("b", 4), ("w", 5)):
        colour = cycle[place % len(cycle)]
        named |= {f"{side}{n}": _mixed(colour, paper, share) for n, share in enumerate((0.12, 0.28, 0.5, 0.75, 1), 1)}
    return {name: to_hex(colour) for name, colour in named.items()}


def _mixed(colour: str, ground: str, share: float) -> str:
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(to_rgb(colour), to_rgb(ground), strict=True))
    return to_hex((red, green, blue))


def shown(text: str) -> str:
    """Text in characters that the fonts have: a letter of another script becomes its nearest relative, or `?`."""
    return "".join(character if _has(character) else _nearest(character) for character in text).replace("$", r"\$")


def _nearest(character: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", character) if _has(part)) or "?"


@cache
def _has(character: str) -> bool:
    families = ([family] for family in mpl.rcParams["font.family"])
    return any(get_font(findfont(FontProperties(family))).get_char_index(ord(character)) for family in families)

"""Reading text from files: the layouts, chosen by name or by the ending of the file's name."""

from __future__ import annotations

from cpt.corpora.reading.layout import FileLayout
from cpt.corpora.reading.lines import JsonLines, Moses, PlainText, SeparatedColumns
from cpt.corpora.reading.opening import opened, split_ending
from cpt.corpora.reading.parquet import Parquet
from cpt.corpora.reading.tmx import Tmx
from cpt.errors import UserError

__all__ = ["LAYOUTS", "layout_of", "opened"]

LAYOUTS: dict[str, FileLayout] = {
    "jsonl": JsonLines(),
    "text": PlainText(),
    "tsv": SeparatedColumns(),
    "moses": Moses(),
    "parquet": Parquet(),
    "tmx": Tmx(),
}


def layout_of(path: str) -> str:
    """The name of the layout for a file's ending, compressed (.gz, .zst) or not."""
    plain, _ = split_ending(path)
    for name, layout in LAYOUTS.items():
        if plain.endswith(layout.endings):
            return name
    known = ", ".join(ending for layout in LAYOUTS.values() for ending in layout.endings)
    raise UserError(
        f"{path}: its ending is of no known layout; known are {known}, each also with .gz or .zst. "
        f"Rename the file or name its layout: {', '.join(LAYOUTS)}"
    )

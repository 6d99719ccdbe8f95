"""A table as a file for elsewhere: CSV and Parquet for programs, LaTeX and Markdown for papers and pages.

Programs get numbers as they were computed, with their types, and `study` and `scale` in every line; Parquet also has
the version of the rows' form and what must be seen first in its metadata. People get the numbers as they are always
shown, with intervals, under a caption that says toy or published where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cpt.errors import UserError
from cpt.files import replacing, write_text
from cpt.results.output.views import TextCell, TextTable, banners, frame, shown
from cpt.results.rows import schema
from cpt.results.rows.table import write_csv

PAGE = 40
"""Lines that fit on a page of a paper; a longer table is broken over several."""
_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": "$<$", ">": "$>$"},
    # Bare, one that begins a line would be taken for an option of the line break before it.
    **{"[": "{[}", "]": "{]}", "*": "{*}"},
    **{"→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "×": r"$\times$", "−": "$-$", "†": r"\dag{}"},
    **{"–": "--", "—": "---", "\N{NO-BREAK SPACE}": "~", "\n": " "},
}
_TO_TEX = str.maketrans(_TEX)
_TO_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<"} | {"\n": " "})


def checked(path: Path) -> Path:
    """A file whose name says one of the known formats: asked before anything is read."""
    if path.suffix not in WRITERS:
        found = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise UserError(f"--to {path} {found}; what is written is told by it: {', '.join(WRITERS)}")
    if path.is_dir():
        raise UserError(f"--to {path} is a folder; name a file")
    return path


def export(table: pd.DataFrame, kind: str, path: Path) -> None:
    """Write rows, means of runs, or one measure by language, in the format that the file's name ends in."""
    WRITERS[checked(path).suffix](table, kind, path)


def _csv(table: pd.DataFrame, kind: str, path: Path) -> None:
    write_csv(path, frame(table, kind))


def _parquet(table: pd.DataFrame, kind: str, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pandas(frame(table, kind), preserve_index=False)
    told = {"schema": str(schema.VERSION), "scale": ", ".join(dict.fromkeys(table["scale"])), "of": kind}
    told |= {"label": "; ".join(banners(table))}
    metadata = {f"cpt.{key}": word for key, word in told.items()}
    with replacing(path) as file:
        pq.write_table(made.replace_schema_metadata({**(made.schema.metadata or {}), **metadata}), file)


def _latex(table: pd.DataFrame, kind: str, path: Path) -> None:
    parts = shown(table, kind)
    labels = [f"tab:{_plain(path.stem)}" + f"-{number}" * (len(parts) > 1) for number in range(1, len(parts) + 1)]
    texts = [_latex_table(words, _sentences(words, table), label) for words, label in zip(parts, labels, strict=True)]
    needed = ["booktabs"] + ["longtable"] * any(len(words.lines) > PAGE for words in parts)
    needs = "".join(f"% \\usepackage{{{package}}}\n" for package in needed)
    write_text(path, "\n".join([f"% In the preamble:\n{needs}", *texts]))


def _plain(name: str) -> str:
    """As the name of a reference may be."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def _latex_table(words: TextTable, said: list[str], label: str) -> str:
    long = len(words.lines) > PAGE
    lines = [[_tex_cell(cell, r"\tiny ") for cell in line] for line in words.lines]
    heads = [_tex_cell(head) for head in words.heads]
    drawn = pd.DataFrame(lines, columns=heads, dtype="str").style.hide(axis="index")
    text: str = drawn.to_latex(
        hrules=True,
        environment="longtable" if long else None,
        position=None if long else "htbp",
        position_float=None if long else "centering",
        column_format="l" * words.names + "r" * (len(words.heads) - words.names),
        caption=_tex(" ".join(said)),
        label=label,
    )
    return text


def _tex(text: str) -> str:
    return text.translate(_TO_TEX)


def _tex_cell(cell: TextCell, size: str = "") -> str:
    """Of a number with an interval two lines: side by side, few columns would fill a page."""
    if not cell.below:
        return _tex(cell.text)
    return rf"\shortstack[r]{{{_tex(cell.text)}\\{{{size}{_tex(cell.below)}}}}}"


def _markdown(table: pd.DataFrame, kind: str, path: Path) -> None:
    texts = [_markdown_table(words, _sentences(words, table)) for words in shown(table, kind)]
    write_text(path, "\n".join(texts))


def _markdown_table(words: TextTable, said: list[str]) -> str:
    lines = [[_markdown_cell(cell) for cell in line] for line in words.lines]
    drawn = pd.DataFrame(lines, columns=[_markdown_cell(head) for head in words.heads], dtype="str").to_markdown(
        index=False,
        tablefmt="github",
        disable_numparse=True,
        colalign=["left"] * words.names + ["right"] * (len(words.heads) - words.names),
    )
    return f"{_to_markdown(' '.join(said))}\n\n{drawn}\n"


def _markdown_cell(cell: TextCell) -> str:
    return _to_markdown(f"{cell.text} ({cell.below})" if cell.below else cell.text)


def _to_markdown(text: str) -> str:
    return text.translate(_TO_MARKDOWN)


def _sentences(words: TextTable, table: pd.DataFrame) -> list[str]:
    """What stands above a table: what it is, what must be seen first, and what its numbers are of."""
    said = [words.title, *banners(table), *(f"{note[0].upper()}{note[1:]}" for note in words.notes)]
    said += ["95 % intervals over items"] if any(cell.below for line in words.lines for cell in line) else []
    return [f"{sentence}." for sentence in said]


WRITERS: dict[str, Callable[[pd.DataFrame, str, Path], None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".tex": _latex,
    ".md": _markdown,
}

"""Export a table: CSV and Parquet for programs, LaTeX and Markdown for papers and web pages.

CSV and Parquet have unrounded numbers with `study` and `scale` in every row; Parquet stores the schema version and the
banners as metadata. LaTeX and Markdown have formatted numbers with intervals, and the banners in the caption.
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
"""Lines on a page of a paper; longer tables use `longtable`."""
_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": "$<$", ">": "$>$"},
    # Unprotected at the start of a line, they would be read as an option of the line break before.
    **{"[": "{[}", "]": "{]}", "*": "{*}"},
    **{"→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "×": r"$\times$", "−": "$-$", "†": r"\dag{}"},
    **{"–": "--", "—": "---", "\N{NO-BREAK SPACE}": "~", "\n": " "},
}
_TO_TEX = str.maketrans(_TEX)
_TO_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<"} | {"\n": " "})


def checked(path: Path) -> Path:
    """The path if its suffix is a known format; called before anything is read."""
    if path.suffix not in WRITERS:
        ending = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise UserError(f"--to {path} {ending}; its suffix must be one of {', '.join(WRITERS)}")
    if path.is_dir():
        raise UserError(f"--to {path} is a folder; name a file")
    return path


def export(table: pd.DataFrame, kind: str, path: Path) -> None:
    """Write rows, means of runs, or one measure by language in the format of the file's suffix."""
    WRITERS[checked(path).suffix](table, kind, path)


def _csv(table: pd.DataFrame, kind: str, path: Path) -> None:
    write_csv(path, frame(table, kind))


def _parquet(table: pd.DataFrame, kind: str, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow_table = pa.Table.from_pandas(frame(table, kind), preserve_index=False)
    facts = {"schema": str(schema.VERSION), "scale": ", ".join(dict.fromkeys(table["scale"])), "of": kind}
    facts |= {"label": "; ".join(banners(table))}
    metadata = {f"cpt.{key}": word for key, word in facts.items()}
    with replacing(path) as file:
        pq.write_table(arrow_table.replace_schema_metadata({**(arrow_table.schema.metadata or {}), **metadata}), file)


def _latex(table: pd.DataFrame, kind: str, path: Path) -> None:
    parts = shown(table, kind)
    labels = [f"tab:{_plain(path.stem)}" + f"-{number}" * (len(parts) > 1) for number in range(1, len(parts) + 1)]
    texts = [_latex_table(part, _sentences(part, table), label) for part, label in zip(parts, labels, strict=True)]
    packages = ["booktabs"] + ["longtable"] * any(len(part.lines) > PAGE for part in parts)
    lines = "".join(f"% \\usepackage{{{package}}}\n" for package in packages)
    write_text(path, "\n".join([f"% In the preamble:\n{lines}", *texts]))


def _plain(name: str) -> str:
    """A name that is valid as a LaTeX label."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def _latex_table(table: TextTable, sentences: list[str], label: str) -> str:
    long = len(table.lines) > PAGE
    lines = [[_tex_cell(cell, r"\tiny ") for cell in line] for line in table.lines]
    heads = [_tex_cell(head) for head in table.heads]
    styled = pd.DataFrame(lines, columns=heads, dtype="str").style.hide(axis="index")
    text: str = styled.to_latex(
        hrules=True,
        environment="longtable" if long else None,
        position=None if long else "htbp",
        position_float=None if long else "centering",
        column_format="l" * table.names + "r" * (len(table.heads) - table.names),
        caption=_tex(" ".join(sentences)),
        label=label,
    )
    return text


def _tex(text: str) -> str:
    return text.translate(_TO_TEX)


def _tex_cell(cell: TextCell, size: str = "") -> str:
    """A number with its interval on a second line, so that more columns fit on a page."""
    if not cell.below:
        return _tex(cell.text)
    return rf"\shortstack[r]{{{_tex(cell.text)}\\{{{size}{_tex(cell.below)}}}}}"


def _markdown(table: pd.DataFrame, kind: str, path: Path) -> None:
    texts = [_markdown_table(part, _sentences(part, table)) for part in shown(table, kind)]
    write_text(path, "\n".join(texts))


def _markdown_table(table: TextTable, sentences: list[str]) -> str:
    lines = [[_markdown_cell(cell) for cell in line] for line in table.lines]
    text = pd.DataFrame(lines, columns=[_markdown_cell(head) for head in table.heads], dtype="str").to_markdown(
        index=False,
        tablefmt="github",
        disable_numparse=True,
        colalign=["left"] * table.names + ["right"] * (len(table.heads) - table.names),
    )
    return f"{_to_markdown(' '.join(sentences))}\n\n{text}\n"


def _markdown_cell(cell: TextCell) -> str:
    return _to_markdown(f"{cell.text} ({cell.below})" if cell.below else cell.text)


def _to_markdown(text: str) -> str:
    return text.translate(_TO_MARKDOWN)


def _sentences(shown_table: TextTable, table: pd.DataFrame) -> list[str]:
    """The caption of a table: title, banners and notes."""
    sentences = [shown_table.title, *banners(table), *(f"{note[0].upper()}{note[1:]}" for note in shown_table.notes)]
    sentences += ["95 % intervals over items"] if any(cell.below for line in shown_table.lines for cell in line) else []
    return [f"{sentence}." for sentence in sentences]


WRITERS: dict[str, Callable[[pd.DataFrame, str, Path], None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".tex": _latex,
    ".md": _markdown,
}

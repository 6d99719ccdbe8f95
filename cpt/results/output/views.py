"""Views of a table for display and export: its rows, the means of its runs, or one measure by language.

Each view has two forms: a frame with unrounded numbers for programs, and text tables with formatted numbers, intervals,
n and notes for people. Published values known to be odd are marked in the rows and left out of means and tables by
language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.errors import UserError
from cpt.evals.rows import HIGHER_IS_BETTER
from cpt.results.analysis.summary import MeanColumn, columns, headline_protocols, missing_in, summary
from cpt.results.rows import schema
from cpt.results.rows.banners import BANNERS
from cpt.results.rows.measures import DIRECTIONS, METRICS, NONE, TASKS, Measure, language_name, language_order, words
from cpt.results.rows.run_folders import labels
from cpt.results.rows.table import MEASURE

ROWS, MEANS, LANGUAGES = "rows", "means", "languages"
OWNER = ["study", "scale", "run", "run_id", "model", "data", "code", "langcat", "seed"]
"""The columns that identify a run; a base model has scores in every category."""
INTERVAL, N = ("ci_low", "ci_high"), "n"
MISSING_LANGUAGES = "* lacks languages that other runs of its category have"


@dataclass(frozen=True)
class TextCell:
    """A formatted cell; `below` is the interval of a number, if known."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table of formatted cells: the first `names` columns are text, the rest numbers."""

    title: str
    heads: list[TextCell]
    names: int
    lines: list[list[TextCell]]
    notes: list[str]


def narrowed(table: pd.DataFrame, wanted: dict[str, str | None]) -> pd.DataFrame:
    """The rows with the requested values; a value that no row has is an error that lists the available ones."""
    for name, word in wanted.items():
        if word is None:
            continue
        known = sorted(set(table[name]))
        table = table[table[name] == word]
        if table.empty:
            choices = ", ".join(choice or "'' (none)" for choice in known)
            raise UserError(f"--{name} {word!r}: no row of those chosen has it; they have {choices}")
    return table.reset_index(drop=True)


def banners(table: pd.DataFrame) -> list[str]:
    """The banner of each scale; with the names of its studies if there are several scales."""
    studies = table[["study", "scale"]].drop_duplicates()
    scales = dict.fromkeys(studies["scale"])
    sentences = []
    for scale in scales:
        text = BANNERS.get(scale, f"Scale: {scale}")
        named = ", ".join(studies[studies["scale"] == scale]["study"])
        sentences.append(f"{named}: {text}" if len(scales) > 1 else text)
    return sentences


def frame(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The view as a frame, for programs."""
    if kind == ROWS:
        return table if _odd(table).any() else table.drop(columns=schema.ODD.name, errors="ignore")
    sound = _sound(table)
    return _means(sound)[0] if kind == MEANS else _by_language(sound)


def shown(table: pd.DataFrame, kind: str) -> list[TextTable]:
    """The view as text tables, for people; tables by language are one per category, as each has its own languages."""
    if kind == ROWS:
        return [_rows_as_text(table)]
    sound = _sound(table)
    left_out = len(table) - len(sound)
    notes = [f"{left_out} published values known to be out of line are left out"] if left_out else []
    if kind == MEANS:
        return [_means_as_text(sound, notes)]
    measure = _one_measure(sound)
    return [_languages_as_text(measure, str(name), rows, notes) for name, rows in sound.groupby("langcat")]


def _odd(table: pd.DataFrame) -> pd.Series[bool]:
    return table[schema.ODD.name] != "" if schema.ODD.name in table else pd.Series(False, index=table.index)


def _sound(table: pd.DataFrame) -> pd.DataFrame:
    return table[~_odd(table)].drop(columns=schema.ODD.name, errors="ignore").reset_index(drop=True)


def _run_names(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The label of each run, by study and run id."""
    return {
        (str(study), run_id): name
        for study, rows in table.groupby("study", sort=False)
        for run_id, name in labels(rows[["run", "run_id"]].itertuples(index=False, name=None)).items()
    }


def _rows_as_text(table: pd.DataFrame) -> TextTable:
    """Every row; values shared by all rows become a note."""
    run_names, lines = _run_names(table), []
    measures = {measure: Measure(*measure) for measure in table[list(MEASURE)].itertuples(index=False, name=None)}
    odd = _odd(table)
    for row, is_odd in zip(table.to_dict("records"), odd, strict=True):
        measure = measures[tuple(row[name] for name in MEASURE)]
        metric = f"{measure.shown.label} ({measure.shown.unit})" if measure.shown.unit else measure.shown.label
        run = run_names[row["study"], row["run_id"]]
        named = [row["study"], run, row["langcat"], language_name(row["language"])]
        task, direction = TASKS.get(row["task"], row["task"]), DIRECTIONS.get(row["direction"], row["direction"])
        named += [row["role"], task, direction, row["protocol"], metric]
        value = TextCell(measure.value(row["value"]) + ("†" if is_odd else ""), _interval(measure, row))
        lines.append([*map(TextCell, named), value, TextCell(f"{row['n']:,}")])
    heads = ["study", "run", "category", "language", "role", "task", "direction", "protocol", "metric", "value", "n"]
    varying = [index for index, head in enumerate(heads) if len({line[index] for line in lines}) > 1 or head == "value"]
    constant = [(head, lines[0][index].text) for index, head in enumerate(heads) if index not in varying]
    notes = [", ".join(f"{head} {word}" for head, word in constant if word)]
    notes += ["† known to be out of line, no target"] if odd.any() else []
    cells = [[line[index] for index in varying] for line in lines]
    names = sum(index < heads.index("value") for index in varying)
    shown_heads = [TextCell(heads[index]) for index in varying]
    return TextTable("Result rows", shown_heads, names, cells, list(filter(None, notes)))


def _interval(measure: Measure, row: dict[Any, Any]) -> str:
    low, high = (measure.value(row[side]) for side in INTERVAL)
    return "" if NONE in (low, high) else f"{low} to {high}"


def _means(table: pd.DataFrame) -> tuple[pd.DataFrame, list[MeanColumn]]:
    """A line per run, study by study, because protocols and base models are per study; and the columns of means."""
    parts, mean_columns = [], dict[MeanColumn, None]()
    for (study, scale), rows in table.groupby(["study", "scale"], sort=False):
        parts.append(summary(rows).assign(study=str(study), scale=str(scale)))
        mean_columns |= dict.fromkeys(columns(rows))
    names = [f"{column.name}{part}" for column in mean_columns for part in ("", "_low", "_high", "_languages")]
    return pd.concat(parts, ignore_index=True)[[*OWNER, *names, "partial"]], list(mean_columns)


def _means_as_text(table: pd.DataFrame, notes: list[str]) -> TextTable:
    means_table, means = _means(table)
    run_names, several = _run_names(table), table["study"].nunique() > 1
    lines = []
    for row in means_table.to_dict("records"):
        named = [row["study"]] * several + [run_names[row["study"], row["run_id"]], row["langcat"]]
        scores = []
        for column in means:
            measure = Measure(column.task, column.direction or "", "", column.metric)
            ends = {side: row[f"{column.name}{part}"] for side, part in zip(INTERVAL, ("_low", "_high"), strict=True)}
            value = measure.value(row[column.name]) + "*" * bool(missing_in(column, row["partial"]))
            scores.append(TextCell(value, _interval(measure, ends)))
        lines.append([*map(TextCell, named), *scores])
    heads = [*map(TextCell, ["study"] * several + ["run", "category"])]
    for study, rows in table.groupby("study", sort=False):
        protocols = [f"{task} {protocol}" for task, protocol in headline_protocols(rows).items() if protocol]
        notes += [f"{f'{study}, ' * several}protocols: {', '.join(protocols)}"] if protocols else []
    notes += [MISSING_LANGUAGES] if means_table["partial"].any() else []
    return TextTable("Means over languages", [*heads, *map(_head, means)], len(heads), lines, notes)


def _head(column: MeanColumn) -> TextCell:
    metric = METRICS[column.metric]
    way = {True: " ↑", False: " ↓"}[HIGHER_IS_BETTER[column.metric]]
    unit = f" ({metric.unit})" if metric.unit else ""
    return TextCell(" ".join(words(column.task, column.direction or "", metric.label)) + unit + way, column.group)


def _one_measure(table: pd.DataFrame) -> Measure:
    measures = [Measure(*names) for names in table[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)]
    if len(measures) != 1:
        named = [[(name, word) for name, word in zip(MEASURE, one, strict=True) if word] for one in measures]
        choices = "\n  ".join(" ".join(f"--{name} {word}" for name, word in one) for one in named)
        raise UserError(f"--languages shows one measure, these rows have {len(measures)}; choose one of\n  {choices}")
    return measures[0]


def _by_language(table: pd.DataFrame) -> pd.DataFrame:
    """A line per run and category; for each language the value, its interval and n as columns."""
    _one_measure(table)
    key = ["study", "run_id", "langcat"]
    cells = table.set_index([*key, "language"])[["value", *INTERVAL, N]]
    wide = cells.unstack("language")
    named = {
        language if name == "value" else f"{language}_{name}": wide[name, language]
        for language in sorted(set(table["language"]), key=language_order)
        for name in ("value", *INTERVAL, N)
    }
    owners = table[OWNER].drop_duplicates()
    table_by_language = owners.merge(pd.DataFrame(named).reset_index(), on=key, how="left", validate="one_to_one")
    counts = {name: "Int64" for name in named if name.endswith(f"_{N}")}
    measured = table[list(MEASURE)].iloc[0].to_dict()
    for index, (name, word) in enumerate(measured.items()):
        table_by_language.insert(len(OWNER) + index, str(name), word)
    return table_by_language.astype(counts)


def _languages_as_text(measure: Measure, category: str, table: pd.DataFrame, notes: list[str]) -> TextTable:
    table_by_language = _by_language(table)
    run_names, several = _run_names(table), table["study"].nunique() > 1
    languages = sorted(set(table["language"]), key=language_order)
    lines = []
    for row in table_by_language.to_dict("records"):
        named = [row["study"]] * several + [run_names[row["study"], row["run_id"]]]
        cells = []
        for language in languages:
            ends = {side: row[f"{language}_{side}"] for side in INTERVAL}
            cells.append(TextCell(measure.value(row[language]), _interval(measure, ends)))
        lines.append([*map(TextCell, named), *cells])
    title = " ".join([*measure.words, f"({measure.shown.unit})" * bool(measure.shown.unit)]).strip()
    low, high = table[N].min(), table[N].max()
    notes = [f"protocol {measure.protocol}"] * bool(measure.protocol) + [
        measure.better or "no way is better",
        f"{low:,} items in every score" if low == high else f"{low:,} to {high:,} items in a score",
        *notes,
    ]
    ways = list(table["signature"].unique())
    notes += [f"computed as {ways[0]}"] if len(ways) == 1 and ways[0] else []
    heads = ["study"] * several + ["run"]
    heads_and_languages = [*map(TextCell, [*heads, *map(language_name, languages)])]
    return TextTable(f"{title} by language, category {category}", heads_and_languages, len(heads), lines, notes)

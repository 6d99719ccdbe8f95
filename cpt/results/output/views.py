"""What of a table is shown or exported: its rows, the means of its runs, or one measure by language.

Each of these comes in two forms. Programs get a frame: numbers as they were computed, with their types. People get
words: numbers in the units and digits they are always shown in, with interval and n, and notes of what they are of.
Values known to be out of line, of published runs, are rows like others, marked; in no mean and no table by language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt.errors import UserError
from cpt.evals.rows import HIGHER_IS_BETTER
from cpt.results.analysis.summary import MeanColumn, columns, headline_protocols, lacks, summary
from cpt.results.rows import schema
from cpt.results.rows.banners import BANNERS
from cpt.results.rows.measures import DIRECTIONS, METRICS, NONE, TASKS, Measure, language_name, language_order, words
from cpt.results.rows.run_folders import labels
from cpt.results.rows.table import MEASURE

ROWS, MEANS, LANGUAGES = "rows", "means", "languages"
OWNER = ["study", "scale", "run", "run_id", "model", "data", "code", "langcat", "seed"]
"""Whose a score is: a base model has scores in every category."""
INTERVAL, N = ("ci_low", "ci_high"), "n"
LACKING = "* lacks languages that other runs of its category have"


@dataclass(frozen=True)
class TextCell:
    """A word or a number for people, and what belongs below it: of a number its interval, where one is known."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table for people: as many columns as `names` are words, the rest numbers."""

    title: str
    heads: list[TextCell]
    names: int
    lines: list[list[TextCell]]
    notes: list[str]


def narrowed(table: pd.DataFrame, wanted: dict[str, str | None]) -> pd.DataFrame:
    """The rows with the wanted words in some columns; a word that none has is an error that names those there are."""
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
    """What must be seen before any number, a sentence a scale; of studies by name where there are several scales."""
    found = table[["study", "scale"]].drop_duplicates()
    scales = dict.fromkeys(found["scale"])
    told = []
    for scale in scales:
        text = BANNERS.get(scale, f"Scale: {scale}")
        named = ", ".join(found[found["scale"] == scale]["study"])
        told.append(f"{named}: {text}" if len(scales) > 1 else text)
    return told


def frame(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The form for programs."""
    if kind == ROWS:
        return table if _odd(table).any() else table.drop(columns=schema.ODD.name, errors="ignore")
    sound = _sound(table)
    return _means(sound)[0] if kind == MEANS else _by_language(sound)


def shown(table: pd.DataFrame, kind: str) -> list[TextTable]:
    """The form for people; by language in a table for each category, for each has languages of its own."""
    if kind == ROWS:
        return [_row_words(table)]
    sound = _sound(table)
    left_out = len(table) - len(sound)
    notes = [f"{left_out} published values known to be out of line are left out"] if left_out else []
    if kind == MEANS:
        return [_mean_words(sound, notes)]
    measure = _one_measure(sound)
    return [_language_words(measure, str(name), rows, notes) for name, rows in sound.groupby("langcat")]


def _odd(table: pd.DataFrame) -> pd.Series[bool]:
    return table[schema.ODD.name] != "" if schema.ODD.name in table else pd.Series(False, index=table.index)


def _sound(table: pd.DataFrame) -> pd.DataFrame:
    return table[~_odd(table)].drop(columns=schema.ODD.name, errors="ignore").reset_index(drop=True)


def _called(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What each run is called, by study and id."""
    return {
        (str(study), run_id): name
        for study, rows in table.groupby("study", sort=False)
        for run_id, name in labels(rows[["run", "run_id"]].itertuples(index=False, name=None)).items()
    }


def _row_words(table: pd.DataFrame) -> TextTable:
    """Every row; what all rows have in common is said once, above."""
    called, lines = _called(table), []
    measures = {measure: Measure(*measure) for measure in table[list(MEASURE)].itertuples(index=False, name=None)}
    odd = _odd(table)
    for row, is_odd in zip(table.to_dict("records"), odd, strict=True):
        measure = measures[tuple(row[name] for name in MEASURE)]
        metric = f"{measure.shown.label} ({measure.shown.unit})" if measure.shown.unit else measure.shown.label
        named = [row["study"], called[row["study"], row["run_id"]], row["langcat"], language_name(row["language"])]
        task, direction = TASKS.get(row["task"], row["task"]), DIRECTIONS.get(row["direction"], row["direction"])
        named += [row["role"], task, direction, row["protocol"], metric]
        value = TextCell(measure.value(row["value"]) + ("†" if is_odd else ""), _interval(measure, row))
        lines.append([*map(TextCell, named), value, TextCell(f"{row['n']:,}")])
    heads = ["study", "run", "category", "language", "role", "task", "direction", "protocol", "metric", "value", "n"]
    kept = [place for place, head in enumerate(heads) if len({line[place] for line in lines}) > 1 or head == "value"]
    said = [(head, lines[0][place].text) for place, head in enumerate(heads) if place not in kept]
    notes = [", ".join(f"{head} {word}" for head, word in said if word)]
    notes += ["† known to be out of line, no target"] if odd.any() else []
    cut = [[line[place] for place in kept] for line in lines]
    names = sum(place < heads.index("value") for place in kept)
    return TextTable("Result rows", [TextCell(heads[place]) for place in kept], names, cut, list(filter(None, notes)))


def _interval(measure: Measure, row: dict[Any, Any]) -> str:
    low, high = (measure.value(row[side]) for side in INTERVAL)
    return "" if NONE in (low, high) else f"{low} to {high}"


def _means(table: pd.DataFrame) -> tuple[pd.DataFrame, list[MeanColumn]]:
    """A line a run, study by study, for protocols and base models are a study's own; with the means there are."""
    parts, found = [], dict[MeanColumn, None]()
    for (study, scale), rows in table.groupby(["study", "scale"], sort=False):
        parts.append(summary(rows).assign(study=str(study), scale=str(scale)))
        found |= dict.fromkeys(columns(rows))
    names = [f"{column.name}{part}" for column in found for part in ("", "_low", "_high", "_languages")]
    return pd.concat(parts, ignore_index=True)[[*OWNER, *names, "partial"]], list(found)


def _mean_words(table: pd.DataFrame, notes: list[str]) -> TextTable:
    found, means = _means(table)
    called, several = _called(table), table["study"].nunique() > 1
    lines = []
    for row in found.to_dict("records"):
        named = [row["study"]] * several + [called[row["study"], row["run_id"]], row["langcat"]]
        scores = []
        for column in means:
            measure = Measure(column.task, column.direction or "", "", column.metric)
            ends = {side: row[f"{column.name}{part}"] for side, part in zip(INTERVAL, ("_low", "_high"), strict=True)}
            value = measure.value(row[column.name]) + "*" * bool(lacks(column, row["partial"]))
            scores.append(TextCell(value, _interval(measure, ends)))
        lines.append([*map(TextCell, named), *scores])
    heads = [*map(TextCell, ["study"] * several + ["run", "category"])]
    for study, rows in table.groupby("study", sort=False):
        protocols = [f"{task} {protocol}" for task, protocol in headline_protocols(rows).items() if protocol]
        notes += [f"{f'{study}, ' * several}protocols: {', '.join(protocols)}"] if protocols else []
    notes += [LACKING] if found["partial"].any() else []
    return TextTable("Means over languages", [*heads, *map(_head, means)], len(heads), lines, notes)


def _head(column: MeanColumn) -> TextCell:
    metric = METRICS[column.metric]
    way = {True: " ↑", False: " ↓"}[HIGHER_IS_BETTER[column.metric]]
    unit = f" ({metric.unit})" if metric.unit else ""
    return TextCell(" ".join(words(column.task, column.direction or "", metric.label)) + unit + way, column.group)


def _one_measure(table: pd.DataFrame) -> Measure:
    found = [Measure(*names) for names in table[list(MEASURE)].drop_duplicates().itertuples(index=False, name=None)]
    if len(found) != 1:
        named = [[(name, word) for name, word in zip(MEASURE, one, strict=True) if word] for one in found]
        choices = "\n  ".join(" ".join(f"--{name} {word}" for name, word in one) for one in named)
        raise UserError(f"--languages shows one measure, these rows have {len(found)}; choose one of\n  {choices}")
    return found[0]


def _by_language(table: pd.DataFrame) -> pd.DataFrame:
    """A line a run and category; of each language the value, and under names of their own interval and n."""
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
    found = owners.merge(pd.DataFrame(named).reset_index(), on=key, how="left", validate="one_to_one")
    counts = {name: "Int64" for name in named if name.endswith(f"_{N}")}
    measured = table[list(MEASURE)].iloc[0].to_dict()
    for place, (name, word) in enumerate(measured.items()):
        found.insert(len(OWNER) + place, str(name), word)
    return found.astype(counts)


def _language_words(measure: Measure, category: str, table: pd.DataFrame, notes: list[str]) -> TextTable:
    found = _by_language(table)
    called, several = _called(table), table["study"].nunique() > 1
    languages = sorted(set(table["language"]), key=language_order)
    lines = []
    for row in found.to_dict("records"):
        named = [row["study"]] * several + [called[row["study"], row["run_id"]]]
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

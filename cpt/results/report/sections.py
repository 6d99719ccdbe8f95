"""The report's tables other than the heat maps: what was run, what failed, means, ledger, plan."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt.evals.rows import HIGHER_IS_BETTER, ROLES
from cpt.results.analysis import summary as means
from cpt.results.analysis.change.against_base import GROUPS, change_of_groups
from cpt.results.analysis.change.heat_maps import level, scale_of
from cpt.results.figures.markup import Content, Html, element, join, tagged
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.rows.measures import (
    METRICS,
    NONE,
    ROLE_LABELS,
    Measure,
    language_name,
    language_order,
    number,
    signed,
    words,
)
from cpt.results.rows.run_folders import RunFolder
from cpt.results.rows.table import MEASURE

SORTABLE = "sortable"


def caption(contents: Contents, said: str) -> Html:
    """A caption, marked where the numbers are toy or published ones: a table may be looked at away from its page."""
    return join([said, tagged(contents.tag)], " ") if contents.tag else join([said])


def counts(contents: Contents) -> str:
    """How far the study is, in a sentence."""
    if contents.published:
        return f"{_runs_and_bases(contents, set(contents.axes))}, none of them ours"
    finished = {folder.run_id for folder in contents.folders if folder.finished}
    others = Counter(folder.standing for folder in contents.folders if not folder.finished)
    unstarted = len(contents.planned) - len(contents.folders)
    if unstarted:
        others["planned"] += unstarted
    said = f"{len(finished)} of {len(contents.planned)} finished"
    if finished & contents.bases:
        said += f" ({_runs_and_bases(contents, finished)})"
    return ", ".join([said, *(f"{count} {state}" for state, count in sorted(others.items()))])


def _runs_and_bases(contents: Contents, run_ids: set[str]) -> str:
    """How many of these are runs and how many base models; where nothing was trained, none is the base of any."""
    bases = len(run_ids & contents.bases)
    if not contents.trained:
        return f"{_counted(bases, 'model')} as {'it is' if bases == 1 else 'they are'}"
    return f"{_counted(len(run_ids) - bases, 'run')} and {_counted(bases, 'untouched base model')}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def overview(contents: Contents) -> Html:
    """The axes of the study; folded away, its languages and what was measured on them."""
    axes = [contents.axes[run_id] for run_id in contents.trained or contents.axes]
    values: dict[str, Counter[str]] = {"Model": Counter(item.model for item in axes)}
    if contents.trained:
        values |= {
            "Data": Counter(item.data for item in axes),
            "Code": Counter("with" if item.code else "without" for item in axes),
            "Category": Counter(item.langcat for item in axes),
            "Seed": Counter(contents.table.drop_duplicates("run_id")["seed"].dropna().astype(str)),
        }
    lines = []
    for axis, found in values.items():
        told = ", ".join(f"{value} ({count})" for value, count in sorted(found.items()))
        lines.append(element("div", element("dt", axis), element("dd", told or NONE)))
    folded = [element("details", element("summary", "Languages and measures"), *_told(contents))]
    return join([element("dl", *lines, class_="axes"), *(folded if len(contents.table) else [])])


def _told(contents: Contents) -> list[Html]:
    languages: list[Content] = []
    for langcat, roles in _languages(contents.table).items():
        for role, codes in roles.items():
            names = ", ".join(language_name(code) for code in codes)
            languages += [element("dt", f"{langcat}, {ROLE_LABELS.get(role, role)}"), element("dd", names)]
    return [*([element("dl", *languages)] if languages else []), _measured(contents)]


def _languages(rows: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """Evaluated languages by category and role, English and code left out: they are what they are called."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    kept = rows[rows["role"].isin(GROUPS)][["langcat", "role", "language"]].drop_duplicates()
    for langcat, role, language in sorted(kept.itertuples(index=False, name=None), key=_language_place):
        found[langcat][role].append(language)
    return found


def _language_place(line: tuple[Any, ...]) -> tuple[Any, ...]:
    langcat, role, language = line
    return langcat, ROLES.index(role), language_order(language)


def _measured(contents: Contents) -> Html:
    body = []
    for key, rows in contents.table.groupby(list(MEASURE), sort=True):
        measure = Measure(*(str(part) for part in key))
        low, high = int(rows["n"].min()), int(rows["n"].max())
        items = number(low, 0) if low == high else f"{number(low, 0)} to {number(high, 0)}"
        named = [text(word) for word in (measure.title, measure.protocol or NONE, measure.better or NONE)]
        languages, scores = amount(rows["language"].nunique(), 0), amount(len(rows), 0)
        body.append([*named, languages, Cell(items, sort=low), scores])
    heads = ("Measure", "Protocol", "Sense", "Languages", "Items a language", "Scores")
    return table(caption(contents, "What was measured"), heads, body)


def odd_values(contents: Contents) -> Html | None:
    """What is known to be out of line: the reasons, and for each run and measure how many values and between which."""
    if contents.set_aside.empty:
        return None
    body = []
    for key, rows in contents.set_aside.groupby(["run_id", *MEASURE], sort=False):
        run_id, *what = (str(part) for part in key)
        measure, values = Measure(*what), rows["value"]
        span = f"{measure.value(values.min())} to {measure.value(values.max())}"
        reasons = "; ".join(rows["odd"].unique())
        body.append([contents.named(run_id), text(measure.title), amount(len(rows), 0), text(span), text(reasons)])
    said = "Set aside: no table here has these values, no change is reckoned from them"
    return table(caption(contents, said), ("Run", "Measure", "Values", "From, to", "Why"), body)


def unfinished(contents: Contents) -> Html | None:
    """Runs that are not there or failed: failures first, each with its reason, and last those that have not begun."""
    shown = [folder for folder in contents.folders if folder.state == "failed" or not folder.finished]
    begun = [folder for folder in shown if folder.state != "planned"]
    waiting = sorted(contents.labels[folder.run_id] for folder in shown if folder.state == "planned")
    if not shown:
        return None
    parts = [_begun(contents, begun)] if begun else []
    if waiting:
        parts.append(element("p", f"Planned, not begun: {', '.join(waiting)}."))
    return join(parts)


def _begun(contents: Contents, folders: list[RunFolder]) -> Html:
    body = []
    for folder in sorted(folders, key=lambda folder: (folder.state != "failed", folder.run_id)):
        failed = folder.state == "failed"
        state = Cell("failed", style="failed") if failed else text(folder.standing)
        progress = Cell(f"{folder.step:,} of {folder.steps:,}" if folder.steps else NONE, sort=folder.step)
        told = [text(folder.stage), progress, text(folder.updated), text(_reason(folder))]
        body.append([contents.named(folder.run_id), state, *told])
    heads = ("Run", "State", "Stage", "Step", "Last heard of", "Reason")
    return table(caption(contents, "Begun, or failed"), heads, body)


def _reason(folder: RunFolder) -> Content:
    """The last line of an error says what happened; the lines before say where."""
    error = (folder.error or "").strip()
    if not error:
        return "no error was recorded" if folder.state == "failed" else NONE
    *before, last = error.splitlines()
    return join([last, element("details", element("summary", "all of it"), element("pre", error))]) if before else last


def summary_table(contents: Contents) -> Html:
    """The means by which runs are compared at a glance."""
    found, columns = means.summary(contents.table), means.columns(contents.table)
    seeds = found["seed"].nunique() > 1
    named = ["Model", "Data", "Code", "Category", *(["Seed"] if seeds else [])]
    heads: list[Content] = ["Run", *named]
    body = []
    for row in found.to_dict("records"):
        axes = [row["model"], row["data"], "with" if row["code"] else "without", row["langcat"]]
        if seeds:
            axes.append(NONE if pd.isna(row["seed"]) else str(row["seed"]))
        scores = [_mean(row, column) for column in columns]
        body.append([contents.named(row["run_id"], row["langcat"]), *map(text, axes), *scores])
    heads += [_head(column) for column in columns]
    protocols = [f"{task} {name}" for task, name in means.headline_protocols(contents.table).items() if name]
    said = "Means over languages, by run" + (f" (protocols: {', '.join(protocols)})" if protocols else "")
    return table(caption(contents, said), heads, body, SORTABLE)


def _head(column: means.Column) -> Html:
    shown = METRICS[column.metric]
    *before, last = words(column.task, column.direction or "", shown.label)
    arrow = "↑" if HIGHER_IS_BETTER[column.metric] else "↓"
    return lines_of_head([*before, "\N{NO-BREAK SPACE}".join(filter(None, [last, shown.unit, arrow]))], column.group)


def lines_of_head(parts: list[str], note: str) -> Html:
    """The head of a column, a line for each part: they break nowhere else."""
    return join([*(element("span", part) for part in parts), element("small", note)])


def _mean(row: dict[Any, Any], column: means.Column) -> Cell:
    measure = Measure(column.task, column.direction or "", "", column.metric)
    value, lacking = row[column.name], means.lacks(column, row["partial"])
    if pd.isna(value):
        return text(NONE)
    low, high = (measure.value(row[f"{column.name}_{end}"]) for end in ("low", "high"))
    span = "" if NONE in (low, high) else f"95 % {low} to {high} over the items of these "
    told = "; ".join(filter(None, [lacking, f"{span}{row[f'{column.name}_languages']} languages"]))
    return Cell(measure.value(value) + ("*" if lacking else ""), sort=value, title=told)


def group_table(contents: Contents) -> Html | None:
    """Change against base by the study's reckoning: a line for each run, a column for each measure and group."""
    found = change_of_groups(contents.table)
    if found.empty:
        return None
    cells: dict[str, dict[tuple[Measure, str], Any]] = defaultdict(dict)
    for row in found.itertuples(index=False):
        measure = Measure(str(row.task), str(row.direction), str(row.protocol), str(row.metric))
        cells[str(row.run_id)][measure, str(row.role)] = row
    present = {column for line in cells.values() for column in line}
    columns = [(measure, role) for measure in contents.measures() for role in GROUPS if (measure, role) in present]
    scales = found.groupby([*MEASURE, "role"])["change"].apply(scale_of).to_dict()
    body = [
        [
            contents.named(run_id),
            *(_group_cell(line.get(key), key[0], scales[*key[0], key[1]]) for key in columns),
        ]
        for run_id, line in cells.items()
    ]
    heads = ["Run", *(column_head(measure, ROLE_LABELS[role]) for measure, role in columns)]
    said = "Change of the mean over languages against base, in % of the base's mean"
    return table(caption(contents, said), heads, body, SORTABLE)


def column_head(measure: Measure, note: str) -> Html:
    return lines_of_head(measure.words, f"{note}, {measure.protocol}" if measure.protocol else note)


def _group_cell(row: Any | None, measure: Measure, scale: float) -> Cell:
    if row is None:
        return text("")
    told = f"mean {measure.value(row.mean)}, base {measure.value(row.base_mean)}, over {row.n} languages"
    lacking = f"; left out: {row.missing}" if row.missing else ""
    shown = signed(row.change, 1) + ("*" if row.missing else "")
    return Cell(shown, sort=row.change, title=told + lacking, style=level(measure.gain(row.change), scale) or None)


def amount(value: float | None, digits: int) -> Cell:
    """A number to sort by, or a dash."""
    return Cell(NONE) if value is None else Cell(number(value, digits), sort=value)


def notes(sentences: Sequence[str]) -> Html:
    return element("ul", *(element("li", sentence) for sentence in sentences))

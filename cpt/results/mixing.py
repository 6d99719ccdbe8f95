"""Language mixing: what share of translations is in another language or script, copied, empty or endlessly repeated.

The study's first finding, and its own section of the report: these shares have no place among scores of quality, and
as a change in % of a base that has none of them they would say nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from cpt.results.change import GROUPS
from cpt.results.contents import Contents
from cpt.results.markup import Cell, Content, Html, element, join, table, text
from cpt.results.measures import DIRECTIONS, METRICS, MIXING, NONE, ROLE_LABELS, TASKS, language_name, number
from cpt.results.sections import SORTABLE, caption, lines_of_head

WORDS = (
    "Means over languages of the share of outputs, in %; of sentences, of all sentences in them. Lower is better. "
    "Point at a share for the language that has most of it. A copied output is in the source's language, so it counts "
    "as wrong language too; an empty one counts as nothing else; what is too short to be judged counts in neither "
    "language nor script."
)
KEY = ["run_id", "langcat", "role"]


def mixing(table: pd.DataFrame) -> pd.DataFrame:
    """By task, protocol, direction, run, category and role: the mean of each share over `languages`, `n` outputs in
    all, and of its languages the `worst`, a row of the table."""
    shares = table[table["metric"].isin(MIXING) & table["role"].isin(GROUPS)]
    grouped = shares.groupby(["task", "protocol", "direction", *KEY, "metric"], sort=False)
    found = grouped.agg(mean=("value", "mean"), languages=("language", "nunique"), n=("n", "sum")).reset_index()
    found["worst"] = list(shares.loc[grouped["value"].idxmax()].itertuples(index=False)) if len(found) else []
    return found


def mixing_section(contents: Contents) -> Html | None:
    """A table for each direction and protocol: a line for each run, columns for each share and group of languages."""
    found = mixing(contents.table)
    if found.empty:
        return None
    bodies: list[Content] = [element("p", WORDS)]
    for key, rows in found.groupby(["task", "protocol", "direction"], sort=False):
        task, protocol, direction = map(str, key)
        named = [
            TASKS.get(task, task),
            DIRECTIONS.get(direction, direction),
            f"protocol {protocol}" if protocol else "",
        ]
        bodies.append(_table(contents, ", ".join(filter(None, named)), rows))
    return join(bodies)


def _table(contents: Contents, title: str, rows: pd.DataFrame) -> Html:
    present = set(rows[["metric", "role"]].itertuples(index=False, name=None))
    columns = [(metric, role) for metric in MIXING for role in GROUPS if (metric, role) in present]
    roles = [role for role in GROUPS if any(role == other for _, other in columns)]
    body = []
    for key, mine in rows.groupby(["run_id", "langcat"], sort=False):
        run_id, langcat = map(str, key)
        base = "base" if run_id in contents.bases else None
        cells = {(row.metric, row.role): row for row in mine.itertuples(index=False)}
        shares = [_share(cells.get(column)) for column in columns]
        amounts = [_over([row for (_, other), row in cells.items() if other == role]) for role in roles]
        body.append([Cell(contents.labels[run_id], title=run_id, style=base), text(langcat), *shares, *amounts])
    heads: list[Content] = ["Run", "Category"]
    heads += [lines_of_head(METRICS[metric].label.split(" "), ROLE_LABELS[role]) for metric, role in columns]
    heads += [lines_of_head(["languages", "outputs"], ROLE_LABELS[role]) for role in roles]
    return table(caption(contents, f"{title}: share of outputs, %"), heads, body, SORTABLE)


def _share(row: Any | None) -> Cell:
    if row is None:
        return text(NONE)
    shown, worst = METRICS[row.metric], row.worst
    most, low, high = (number(value * shown.factor, 1) for value in (worst.value, worst.ci_low, worst.ci_high))
    told = f"most: {language_name(worst.language)} {most} (95 % {low} to {high}), n = {number(worst.n, 0)}"
    return Cell(number(row.mean * shown.factor, shown.digits), sort=row.mean, title=told)


def _over(rows: list[Any]) -> Cell:
    """How many languages and outputs: of the share that has most, for wrong language may be unknown for some."""
    if not rows:
        return text(NONE)
    languages, n = max(row.languages for row in rows), max(row.n for row in rows)
    return Cell(f"{number(languages, 0)}, {number(n, 0)}", sort=n)

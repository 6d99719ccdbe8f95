"""Language mixing: what share of translations is in another language or script, copied, empty or endlessly repeated.

The study's first finding, and its own section of the report: these shares have no place among scores of quality, and
as a change in % of a base that has none of them they would say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.confusion_shares import confusion_shares
from cpt.results.analysis.language_confusion import against_quality
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, caption, lines_of_head
from cpt.results.rows.measures import (
    DIRECTIONS,
    METRICS,
    MIXING,
    NONE,
    ROLE_LABELS,
    TASKS,
    Measure,
    language_name,
    number,
)

WORDS = (
    "Means over languages of the share of outputs, in %; of sentences, of all sentences in them. Lower is better. "
    "Below each: over how many languages, and n, how many of their outputs could be judged. Point at a share for the "
    "language that has most of it. A copied output is in the source's language, so it counts as wrong language too; "
    "an empty one counts as nothing else; what is too short to be judged counts in neither language nor script. "
    "* lacks languages that another share has, or another run of the category: nothing in them could be judged, or "
    "they were not evaluated."
)
AGAINST = (
    "Whether runs that answer more often in another language score lower by it: within a language, among the runs from "
    "one base, by how much the score differs for ten percentage points more of such outputs, and how closely the two "
    "go together; 95 % intervals over languages drawn anew."
)
TENTH = 0.1
"""Of all outputs: what a slope is told for."""


def mixing_section(contents: Contents) -> Html | None:
    """A table for each direction and protocol: a line for each run, columns for each share and group of languages."""
    found = confusion_shares(contents.table)
    if found.empty:
        return None
    bodies: list[Content] = [element("p", WORDS), *_against(contents)]
    for key, rows in found.groupby(["task", "protocol", "direction"], sort=False):
        task, protocol, direction = map(str, key)
        named = [
            TASKS.get(task, task),
            DIRECTIONS.get(direction, direction),
            f"protocol {protocol}" if protocol else "",
        ]
        drawn = _table(contents, ", ".join(filter(None, named)), rows)
        bodies.append(element("div", drawn, data_task=task, data_protocol=protocol))
    return join(bodies)


def _against(contents: Contents) -> list[Html]:
    """What mixing goes along with: a line for each direction, protocol and group of languages."""
    body = []
    for row in against_quality(contents.table).to_dict("records"):
        measure = Measure(row["task"], row["direction"], row["protocol"], row["metric"])
        named = [text(measure.title), text(measure.protocol or NONE), text(ROLE_LABELS[row["role"]])]
        cells = []
        for name, factor in (("slope", TENTH), ("correlation", 1.0)):
            value, low, high = (factor * row[f"{name}{end}"] for end in ("", "_low", "_high"))
            span = element("small", f"{number(low, 2)} to {number(high, 2)}")
            cells.append(Cell(join([number(value, 2), span]), sort=value))
        over = f"{number(row['languages'], 0)} languages, {number(row['runs'], 0)} runs"
        body.append([*named, *cells, text(over)])
    if not body:
        return []
    heads = ("Measure", "Protocol", "Languages", "For 10 % more in another language", "Correlation", "Over")
    return [element("p", AGAINST), table(caption(contents, "Language mixing against quality"), heads, body)]


def _table(contents: Contents, title: str, rows: pd.DataFrame) -> Html:
    present = set(rows[["metric", "role"]].itertuples(index=False, name=None))
    columns = [(metric, role) for metric in MIXING for role in GROUPS if (metric, role) in present]
    lines: dict[tuple[str, str], dict[tuple[str, str], Any]] = defaultdict(dict)
    for row in rows.itertuples(index=False):
        lines[str(row.run_id), str(row.langcat)][str(row.metric), str(row.role)] = row
    body = [
        [contents.named(run_id, langcat), text(langcat), *(_share(cells.get(column)) for column in columns)]
        for (run_id, langcat), cells in lines.items()
    ]
    heads: list[Content] = ["Run", "Category"]
    heads += [lines_of_head(METRICS[metric].label.split(" "), ROLE_LABELS[role]) for metric, role in columns]
    return table(caption(contents, f"{title}: share of outputs, %"), heads, body, SORTABLE)


def _share(row: Any | None) -> Cell:
    if row is None:
        return text(NONE)
    shown, worst = METRICS[row.metric], row.worst
    most, low, high = (number(value * shown.factor, 1) for value in (worst.value, worst.ci_low, worst.ci_high))
    told = f"most: {language_name(worst.language)} {most} (95 % {low} to {high}), n = {number(worst.n, 0)}"
    if row.missing:
        told += f"; lacks {', '.join(map(language_name, row.missing))}"
    mean = number(row.mean * shown.factor, shown.digits) + ("*" if row.missing else "")
    over = element("small", f"{number(row.languages, 0)}, n = {number(row.n, 0)}")
    return Cell(join([mean, over], " "), sort=row.mean, title=told)

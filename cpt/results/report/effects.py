"""The report's section on effects: a drawing for each measure people look at first, and every effect in a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cpt.results.analysis.change.paired_test import UNCLEAR
from cpt.results.analysis.conclusions import headline, interval_of
from cpt.results.analysis.effects.correction import LEVEL
from cpt.results.figures.forest import forest, interactions
from cpt.results.figures.inline import inline
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.answer import STYLES, basis
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, caption, notes
from cpt.results.rows.measures import METRICS, NONE, ROLE_LABELS, Measure, number
from cpt.results.rows.table import MEASURE

WORDS = (
    "Every axis by itself, and every two together: how far the effect of one depends on the other. An effect is the "
    "mean over languages of the differences between runs that differ in that axis alone; for a category or a level of "
    "resources, the difference between languages in what training changed. Intervals are over languages drawn anew; "
    "where single items are kept, also over items, which languages share; where cells have several seeds, over those."
)


def effects_section(contents: Contents) -> Html | None:
    """Drawings of the measures people look at first, then every effect that holds; None where none can be told."""
    found = contents.effects[contents.effects["estimate"].notna()]
    if found.empty:
        return None
    sure = int((found["p_adjusted"] < LEVEL).sum())
    counted = f"{number(len(found), 0)} effects were estimated, {number(sure, 0)} hold after correction for all."
    parts: list[Content] = [element("p", WORDS), element("p", counted)]
    for measure in headline(contents.quality.table):
        alone, together = forest(found, measure, contents.tag), interactions(found, measure, contents.tag)
        if alone:
            parts += [element("h3", measure.title), inline(alone)]
        if together:
            parts.append(
                element("details", element("summary", f"{measure.title}: two axes together"), inline(together))
            )
    parts.append(element("details", element("summary", "Effects that hold after correction"), _table(contents, found)))
    if untold := _untold(contents.effects[contents.effects["estimate"].isna()]):
        parts.append(element("details", element("summary", "Effects that cannot be told"), notes(untold)))
    return join(parts)


def _untold(lines: pd.DataFrame) -> list[str]:
    """For each reason and measure, the comparisons; nothing is guessed from runs that are not there."""
    said = []
    for (task, direction, protocol, metric, why), rows in lines.groupby([*MEASURE, "why"], sort=False):
        measure = Measure(str(task), str(direction), str(protocol), str(metric))
        pairs = zip(rows["contrast"], rows["role"].map(lambda role: ROLE_LABELS.get(role, role)), strict=True)
        compared = "; ".join(f"{contrast} ({role})" for contrast, role in pairs)
        said.append(f"{measure.title}: {why}: {compared}")
    return said


def _table(contents: Contents, found: Any) -> Html:
    """Those that hold; all are in `effects.csv`."""
    sure = found[found["p_adjusted"] < LEVEL].sort_values("p", kind="stable")
    body = []
    for row in sure.itertuples(index=False):
        measure = Measure(str(row.task), str(row.direction), str(row.protocol), str(row.metric))
        shown = join([measure.difference(row.estimate), element("small", interval_of(row, measure))])
        unit = METRICS[measure.metric].change_unit if measure.metric in METRICS else ""
        named = [text(row.effect), text(row.contrast), text(measure.title), text(measure.protocol or NONE)]
        role, verdict = ROLE_LABELS.get(str(row.role), str(row.role)), str(row.verdict)
        body.append(
            [
                *named,
                text(role),
                Cell(shown, sort=row.estimate, title=f"{basis(row)} {unit}".strip(), style=STYLES.get(verdict)),
                text(verdict if verdict != UNCLEAR else NONE),
                Cell(f"{row.p_adjusted:.2g}", sort=row.p_adjusted),
                Cell(number(row.languages, 0), sort=row.languages),
            ]
        )
    heads = ("Axis", "Compared", "Measure", "Protocol", "Languages", "Effect", "Verdict", "Corrected p", "n")
    return table(caption(contents, "Effects that hold after correction; all are in effects.csv"), heads, body, SORTABLE)

"""The report's first section: the answer, before any table of scores."""

from __future__ import annotations

from typing import Any

from cpt.errors import some
from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.paired_test import BETTER, UNCLEAR, WORSE
from cpt.results.analysis.conclusions import SAID, Answer, Conclusion, Told, answers, interval_of
from cpt.results.analysis.effects.design import SEEDS, THIRD_ORDER
from cpt.results.analysis.effects.effects_table import more_than_axes
from cpt.results.analysis.findings import AGAINST, APART, BORNE_OUT, Finding, findings
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import TOY, Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.mixes import mixes_table
from cpt.results.report.sections import caption
from cpt.results.rows.measures import NONE, ROLE_LABELS, number
from cpt.results.rows.published import SOURCE

STYLES = {BETTER: "b2", WORSE: "w2"}
JUDGED = {BORNE_OUT: "b2", AGAINST: "w2", APART: "w2"}
WORDS = (
    "Mean effects over languages, of runs that differ in nothing else, in the unit of the measure; below each its 95 % "
    "interval. Coloured, and called better or worse, is what holds after correction for all effects of the study "
    "together, of which at most one in twenty is expected to be chance."
)
LUCK = {
    SEEDS: "How much luck a training has is taken from runs of several seeds, and is in the intervals.",
    THIRD_ORDER: "Every run, or nearly, was trained with one seed. How much luck a training has is taken from what "
    "model, data, code and every two of them leave unexplained, and is in the intervals.",
    "": "There are too few runs to tell how much luck a training has: what another seed would give is not in the "
    "intervals.",
}
MORE_THAN_AXES = (
    "Some runs share model, data, code, category and seed, and differ in something else; they are averaged, and what "
    "they differ by is counted as the luck of a training:"
)


def answer_section(contents: Contents) -> Html | None:
    """For every question a conclusion and the numbers it rests on; None where no effect can be told."""
    found, first = answers(contents.effects, contents.table), mixes_table(contents)
    if not found:
        return first
    parts: list[Content] = [first] if first else []
    parts += [element("p", WORDS, " ", LUCK[contents.effects["luck"].max()])]
    if shared := more_than_axes(contents.table):
        named = some([contents.labels[run_id] for run_id in shared])
        parts.append(element("p", f"{MORE_THAN_AXES} {named}."))
    for answer in found:
        parts += [element("h3", answer.question), *map(_conclusion, answer.conclusions), _numbers(contents, answer)]
    if contents.scale != TOY and (held := findings(contents.effects, contents.table)):
        parts += [element("h3", f"The published study's findings ({SOURCE})"), _findings(contents, held)]
    return join(parts)


def _conclusion(found: Conclusion) -> Html:
    told = [join([element("strong", SAID[verdict]), f": {words}."]) for verdict, words in found.verdicts.items()]
    return element("p", f"{found.choice}. ", join(told, " "))


def _numbers(contents: Contents, answer: Answer) -> Html:
    """What is compared is in every line only where it is not the same in all, as the conclusion has said it."""
    several = len(answer.conclusions) > 1
    roles = [ROLE_LABELS[role].capitalize() for role in GROUPS]
    body = [
        [
            text(each.measure.title),
            *([text(found.choice)] if several else []),
            *(_effect(each.rows.get(role), each) for role in GROUPS),
        ]
        for found in answer.conclusions
        for each in found.found
    ]
    drawn = table(caption(contents, answer.question), ("Measure", *(["Compared"] if several else []), *roles), body)
    return element("details", element("summary", "The numbers"), drawn, open="")


def _effect(row: Any | None, each: Told) -> Cell:
    if row is None:
        return text(NONE)
    shown = join([each.measure.difference(row.estimate), element("small", interval_of(row, each.measure))])
    return Cell(shown, sort=row.estimate, title=basis(row), style=STYLES.get(row.verdict))


def basis(row: Any) -> str:
    """What an effect rests on, in words."""
    parts = [f"{number(row.languages, 0)} languages", f"{number(row.runs, 0)} runs"]
    parts += [f"{number(row.items, 0)} items"] if row.items else []
    parts += [f"{row.seeds} seeds"] if row.seeds > 1 else []
    parts += [f"p = {row.p:.2g}, corrected {row.p_adjusted:.2g}"] if row.p == row.p else []
    return f"{row.verdict if row.verdict != UNCLEAR else 'not sure'}: {', '.join(parts)}" + (
        f"; {row.why}" if row.why else ""
    )


def _findings(contents: Contents, found: list[Finding]) -> Html:
    body = []
    for each in found:
        row = each.row
        shown = join([each.measure.difference(row.estimate), element("small", interval_of(row, each.measure))])
        named = [text(each.part.finding), text(each.part.claim), text(ROLE_LABELS[each.role]), text(row.contrast)]
        body.append(
            [*named, Cell(shown, sort=row.estimate, title=basis(row)), Cell(each.judged, style=JUDGED.get(each.judged))]
        )
    heads = ("Finding", "What it says", "Languages", "Compared", "Here", "Judged by its interval")
    return table(caption(contents, "What was found before, held against these runs"), heads, body)

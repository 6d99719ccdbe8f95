"""The report's first table: for these languages, from this base, this mix."""

from __future__ import annotations

import math

from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.candidates import Candidate
from cpt.results.analysis.choice.mixes import Mix, mixes
from cpt.results.analysis.choice.ranking import Standing
from cpt.results.analysis.conclusions import headline
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import caption, column_head
from cpt.results.rows.measures import Measure, language_name, resamples

WORDS = (
    "The best mix for the languages that a category trains on, from each base, by the mean over them: below it the "
    "gain over the untouched base with its 95 % interval, in what share of resamples of the items it is the best of "
    "its base and category, and how many others cannot be told from it. In bold where every other can. What it costs "
    "in English is in Which run to use."
)

ALONE = "nothing to compare with"
"""Said of an only candidate, which is best of all and no choice."""


def mixes_table(contents: Contents) -> Html | None:
    """A line for each category and base, a column for each measure people look at first."""
    study = contents.folders[0].path.parent if contents.folders else None
    measures = headline(contents.quality.table)
    found = mixes(contents.quality.table, measures, ItemScores(study) if study else None)
    if not found:
        return None
    lines: dict[tuple[str, str], dict[Measure, Mix]] = {}
    for mix in found:
        lines.setdefault((mix.langcat, mix.model), {})[mix.found.measure] = mix
    body = []
    for (langcat, model), of_measure in sorted(lines.items()):
        languages = ", ".join(language_name(code) for code in next(iter(of_measure.values())).languages)
        named = [Cell(langcat, title=languages), text(model)]
        body.append([*named, *(_cell(of_measure.get(measure), measure) for measure in measures)])
    heads: list[Content] = ["Languages", "Base", *(column_head(measure, measure.better) for measure in measures)]
    drawn = table(caption(contents, "For these languages, from this base, this mix"), heads, body)
    return join([element("p", WORDS), drawn])


def mix_words(candidate: Candidate) -> str:
    """A mix without its base and category, which the table names already."""
    if candidate.is_base:
        return "untouched base"
    return f"{candidate.data}{' + code' if candidate.code else ''}"


def _cell(mix: Mix | None, measure: Measure) -> Cell:
    if mix is None:
        return text("–")
    leader = mix.found.leader
    held, alone = sum(each.held for each in mix.found.standings) - 1, len(mix.found.standings) == 1
    name = mix_words(leader.candidate)
    told = [_gain(leader, measure), *([ALONE] if alone else _sureness(leader, held))]
    others = ", ".join(mix_words(each.candidate) for each in mix.found.standings[1:] if each.held)
    title = f"not to be told from it: {others}" if others else None
    shown = name if held or alone else element("strong", name)
    return Cell(join([shown, element("small", "; ".join(told))]), title=title, sort=leader.score.value)


def _gain(leader: Standing, measure: Measure) -> str:
    """The score itself, and named so, where there is no base to gain over, or the base leads."""
    if math.isnan(leader.gain.value):
        return f"score {measure.value(leader.score.value)}"
    gain = measure.difference(leader.gain.value)
    return gain if math.isnan(leader.gain.low) else f"{gain} ({measure.span(leader.gain.low, leader.gain.high)})"


def _sureness(leader: Standing, held: int) -> list[str]:
    """In how many resamples it leads, and how many others may be the best."""
    if math.isnan(leader.share):
        return ["how sure is not known"]
    return [resamples(leader.share), f"or {held} more"] if held else [resamples(leader.share)]

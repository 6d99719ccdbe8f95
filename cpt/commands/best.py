"""`cpt best`: which run to use, in a few sentences and a small table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer
from rich.console import Console
from rich.text import Text

from cpt.commands.arguments import StudyName, find_study, runs_of
from cpt.console import make_console
from cpt.errors import UserError, nearest, some
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.noise import INTERVALS, SAMPLES
from cpt.results.analysis.choice.query import requested_languages, requested_measure
from cpt.results.analysis.choice.ranking import Best, ScoreInterval, Standing, best
from cpt.results.output.published_study import published_rows, sound_rows
from cpt.results.output.terminal import print_plain, print_words
from cpt.results.rows.banners import BANNERS, PUBLISHED
from cpt.results.rows.measures import MINUS, NONE, ROLE_LABELS, language_name, number, resamples
from cpt.results.rows.run_folders import run_folders, scale_of
from cpt.results.rows.table import MEASURE, read_table

MIN_LINES = 10
"""Fewest lines of the table, if there are as many candidates."""
MAX_LINES = 20
MAX_NAMES = 8
"""Most runs or languages named in a sentence."""


def answer(study: Path, languages: str, model: str | None, named: dict[str, str | None], console: Console) -> int:
    """Print which run of a study to use."""
    table = read_table(study)
    if table.empty:
        raise UserError(f"{study}: no finished run yet; `cpt status {study.name}` shows the state of its runs")
    unfinished = sum(not folder.finished for folder in run_folders(study))
    print_best(_ranking(table, languages, model, named, ItemScores(study)), console, scale_of(study), unfinished)
    return 0


def answer_published(languages: str, model: str | None, named: dict[str, str | None], console: Console) -> int:
    """Print which of the study's published models to use; values known to be inconsistent are left out."""
    rows = published_rows()
    ranking = _ranking(sound_rows(rows), languages, model, named)
    print_best(ranking, console, PUBLISHED)
    relevant = (rows[list(MEASURE)] == list(ranking.measure)).all(axis=1) & rows["language"].isin(ranking.languages)
    for why, odd in rows[relevant & (rows["odd"] != "")].groupby("odd", sort=False):
        print_plain(console, f"Set aside, {some(odd['run'])}: {why}.")
    return 0


def _ranking(
    table: pd.DataFrame, words: str, model: str | None, named: dict[str, str | None], items: ItemScores | None = None
) -> Best:
    models = sorted(set(table["model"]))
    if model is not None:
        if model not in models:
            raise UserError(f"--model {model}: no run from it; known: {', '.join(models)}{nearest(model, models)}")
        table = table[table["model"] == model]
    languages = requested_languages(table, words)
    ranking = best(table, languages, requested_measure(table, languages, **named), items)
    assert ranking is not None, "some run has scores of the measure in all the languages"
    return ranking


def print_best(ranking: Best, console: Console, scale: str = "", unfinished: int = 0) -> None:
    """Print the ranking below the banner of the study's scale."""
    if banner := BANNERS.get(scale):
        console.print(Text(banner, style="bold"), soft_wrap=True)
    for sentence in sentences(ranking):
        print_plain(console, sentence)
    for sentence in left_out(ranking, unfinished):
        print_plain(console, sentence)
    if len(ranking.standings) > 1 and ranking.known:
        print_plain(
            console, "Intervals of differences are of each pair by itself; “may be best” is corrected for all of them."
        )
    shown = _shown(ranking)
    title = f"{ranking.measure.title}, {_languages(ranking)}"
    print_words(console, title, _HEADS, [_line(ranking, each) for each in shown])
    if rest := len(ranking.standings) - len(shown):
        print_plain(
            console, f"and {rest:,} more" + (", none of which can be the best" if _none_held(ranking, shown) else "")
        )


def sentences(ranking: Best) -> Iterator[str]:
    """Which run to use, how certain that is, and on what data the ranking is based."""
    yield advice(ranking)
    yield certainty(ranking)
    if ranking.seeds > 1:
        yield f"Mixes have up to {ranking.seeds} seeds; what another training would change is in all intervals."
    elif len([each for each in ranking.standings if not each.candidate.is_base]) > 1:
        yield "Each mix was trained once: another seed could order them otherwise."
    if text := by_category(ranking):
        yield text


def advice(ranking: Best) -> str:
    """The leader, its score and what it gains over its base."""
    leader, measure = ranking.leader, ranking.measure
    counts = leader.candidate.counts
    n = number(counts.min(), 0) + (f" to {number(counts.max(), 0)}" if counts.max() > counts.min() else "")
    each = " in each" if len(ranking.languages) > 1 else ""
    unit = f" {measure.shown.unit}".rstrip()
    span = f"95 % {_between(ranking, leader.score)}, " if ranking.known else ""
    name = leader.candidate.name
    use = f"Train nothing: use the untouched {name}" if leader.candidate.is_base else f"Use {name}"
    score = f"{measure.title} {measure.value(leader.score.value)}{unit} ({span}n = {n}{each})"
    return f"{use} for {_languages(ranking)}: {score}{_over_base(ranking, leader)}."


def _over_base(ranking: Best, leader: Standing) -> str:
    gain, measure = leader.gain, ranking.measure
    if leader.candidate.is_base:
        return ""
    if gain.value != gain.value:
        return "; its base was not scored there"
    size = measure.difference(gain.value).lstrip(f"+{MINUS}")
    way = "above" if gain.value >= 0 else "below"
    base = next(each.candidate.name for each in ranking.standings if _is_base_of(each, leader))
    span = f" (95 % {measure.span(gain.low, gain.high)})" if ranking.known else ""
    chance = ", which may be chance" if ranking.known and gain.holds_zero else ""
    return f", {size} {way} its base {base}{span}{chance}"


def _is_base_of(one: Standing, other: Standing) -> bool:
    return one.candidate.is_base and one.candidate.model == other.candidate.model


def certainty(ranking: Best) -> str:
    """In how many resamples it is the best, and which runs cannot be distinguished from it."""
    count = len(ranking.standings)
    if count == 1:
        return "There is nothing to compare it with."
    if not ranking.known:
        return "The uncertainty is not known: the scores have no intervals, and no item scores are stored."
    share = resamples(ranking.leader.share)
    basis = f"Best in {share} of {SAMPLES:,} resamples of the items, which are drawn alike for all candidates"
    if ranking.basis == INTERVALS:
        basis = f"Best in {share} of {SAMPLES:,} resamples, as wide as the scores' own intervals and independent"
    names = [each.candidate.name for each in ranking.held]
    among = f"corrected for {count:,} candidates"
    if not names:
        return f"{basis}. All others can be distinguished from it with 95 % confidence ({among})."
    return f"{basis}. Not distinguishable from it with 95 % confidence ({among}): {some(names, MAX_NAMES)}."


def by_category(ranking: Best) -> str:
    """The best run of each language category, if there are several: a language trained in one is unseen in another."""
    firsts: dict[str, Standing] = {}
    for each in ranking.standings:
        if not each.candidate.is_base:
            firsts.setdefault(each.candidate.langcat, each)
    if len(firsts) < 2:
        return ""
    parts = []
    for category, each in firsts.items():
        roles = "/".join(dict.fromkeys(ROLE_LABELS.get(role, role) for role in each.candidate.roles))
        parts.append(f"{category} ({roles}) {each.candidate.name} {ranking.measure.value(each.score.value)}")
    return f"The best of each category, and what these languages are to it: {'; '.join(parts)}."


def left_out(ranking: Best, unfinished: int) -> Iterator[str]:
    """Runs of the study that are not candidates, and why."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for run_id, missing in ranking.lacking.items():
        groups.setdefault(missing, []).append(run_id)
    for missing, run_ids in groups.items():
        names = some([language_name(code) for code in missing], MAX_NAMES)
        yield f"Left out, not scored in {names}: {some(run_ids)}."
    if unfinished:
        yield f"Left out, not finished: {unfinished:,} of the study's runs."


_HEADS = [
    "run",
    "category",
    "base",
    "score",
    "95 %",
    "to the best",
    "95 %",
    "to its base",
    "95 %",
    "best in",
    "may be best",
]


def _line(ranking: Best, standing: Standing) -> list[str]:
    measure, own = ranking.measure, standing.candidate
    behind, gain = standing.behind, standing.gain
    return [
        own.name,
        own.langcat or "untouched",
        own.model,
        measure.value(standing.score.value),
        _between(ranking, standing.score),
        *(measure.difference(behind.value), _change(ranking, behind)),
        *(measure.difference(gain.value), _change(ranking, gain)),
        resamples(standing.share),
        NONE if not ranking.known else "yes" if standing.held else "no",
    ]


def _shown(ranking: Best) -> list[Standing]:
    """The first candidates, all that may be the best up to the maximum, and every base model."""
    last = max(index for index, each in enumerate(ranking.standings) if each.held) + 1 if ranking.known else 0
    first = min(MAX_LINES, max(MIN_LINES, last))
    return [each for index, each in enumerate(ranking.standings) if index < first or each.candidate.is_base]


def _none_held(ranking: Best, shown: list[Standing]) -> bool:
    return ranking.known and not any(each.held for each in ranking.standings if each not in shown)


def _between(ranking: Best, span: ScoreInterval) -> str:
    low, high = ranking.measure.value(span.low), ranking.measure.value(span.high)
    return NONE if span.low != span.low else f"{low} to {high}"


def _change(ranking: Best, span: ScoreInterval) -> str:
    return NONE if span.low != span.low else ranking.measure.span(span.low, span.high)


def _languages(ranking: Best) -> str:
    return some([language_name(code) for code in ranking.languages], MAX_NAMES)


def command(
    ctx: typer.Context,
    languages: Annotated[str, typer.Option("--for", metavar="LANGUAGES", help="As zul_Latn,xho_Latn.")],
    study: StudyName = None,
    model: Annotated[str | None, typer.Option(help="Only runs from this base model, such as l3.")] = None,
    task: Annotated[str | None, typer.Option(help="A benchmark.")] = None,
    metric: Annotated[str | None, typer.Option(help="Such as chrf++ or accuracy.")] = None,
    direction: Annotated[Literal["en-x", "x-en"] | None, typer.Option(help="Of a translation.")] = None,
    protocol: Annotated[str | None, typer.Option(help="How a benchmark was scored.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Among the published numbers.")] = False,
) -> int:
    """Which run to use for some languages, and how sure that is.

    Ranked by the mean over the languages. Without an option, the measure is chosen: the sound protocol; the first
    benchmark of flores200, sib200, bpb_flores, bpb that has scores in all the languages; the metric chrf++, then
    spbleu; the direction en-x, then x-en.
    """
    named = {"task": task, "metric": metric, "direction": direction, "protocol": protocol}
    if not published:
        return answer(find_study(runs_of(ctx), study), languages, model, named, make_console())
    if study:
        raise UserError(f"best --published: a study of its own; leave the name '{study}' out")
    return answer_published(languages, model, named, make_console())

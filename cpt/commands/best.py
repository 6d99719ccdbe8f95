"""Which run to use, said in a few plain sentences and a small table."""

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

SHOWN = 10
"""Lines of the table at least, where there are as many candidates."""
MOST = 20
NAMED = 8
"""Runs or languages named in a sentence."""


def answer(study: Path, languages: str, model: str | None, named: dict[str, str | None], console: Console) -> int:
    """Print which run of a study to use."""
    table = read_table(study)
    if table.empty:
        raise UserError(f"{study}: no finished run yet; `cpt status {study.name}` says how it goes")
    unfinished = sum(not folder.finished for folder in run_folders(study))
    print_best(_asked(table, languages, model, named, ItemScores(study)), console, scale_of(study), unfinished)
    return 0


def answer_published(languages: str, model: str | None, named: dict[str, str | None], console: Console) -> int:
    """Print which of the study's published models to use; values known to be out of line are left out."""
    rows = published_rows()
    found = _asked(sound_rows(rows), languages, model, named)
    print_best(found, console, PUBLISHED)
    asked = (rows[list(MEASURE)] == list(found.measure)).all(axis=1) & rows["language"].isin(found.languages)
    for why, odd in rows[asked & (rows["odd"] != "")].groupby("odd", sort=False):
        print_plain(console, f"Set aside, {some(odd['run'])}: {why}.")
    return 0


def _asked(
    table: pd.DataFrame, words: str, model: str | None, named: dict[str, str | None], items: ItemScores | None = None
) -> Best:
    models = sorted(set(table["model"]))
    if model is not None:
        if model not in models:
            raise UserError(f"--model {model}: no run from it; there: {', '.join(models)}{nearest(model, models)}")
        table = table[table["model"] == model]
    languages = requested_languages(table, words)
    found = best(table, languages, requested_measure(table, languages, **named), items)
    assert found is not None, "the measure is one that somebody was scored in, in all the languages"
    return found


def print_best(found: Best, console: Console, scale: str = "", unfinished: int = 0) -> None:
    """Print the answer under what the study's scale says of it."""
    if banner := BANNERS.get(scale):
        console.print(Text(banner, style="bold"), soft_wrap=True)
    for sentence in sentences(found):
        print_plain(console, sentence)
    for sentence in left_out(found, unfinished):
        print_plain(console, sentence)
    if len(found.standings) > 1 and found.known:
        print_plain(
            console, "Intervals of differences are of each pair by itself; “may be best” is corrected for all of them."
        )
    shown = _shown(found)
    print_words(console, f"{found.measure.title}, {_places(found)}", _HEADS, [_line(found, each) for each in shown])
    if rest := len(found.standings) - len(shown):
        print_plain(
            console, f"and {rest:,} more" + (", none of which can be the best" if _none_held(found, shown) else "")
        )


def sentences(found: Best) -> Iterator[str]:
    """What to use, how sure that is, and what the answer rests on."""
    yield advice(found)
    yield sureness(found)
    if found.seeds > 1:
        yield f"Mixes have up to {found.seeds} seeds; what another training would change is in all intervals."
    elif len([each for each in found.standings if not each.candidate.is_base]) > 1:
        yield "Each mix was trained once: another seed could order them otherwise."
    if told := by_category(found):
        yield told


def advice(found: Best) -> str:
    """The leader, its score and what it gains over its base."""
    leader, measure = found.leader, found.measure
    counts = leader.candidate.counts
    n = number(counts.min(), 0) + (f" to {number(counts.max(), 0)}" if counts.max() > counts.min() else "")
    each = " in each" if len(found.languages) > 1 else ""
    unit = f" {measure.shown.unit}".rstrip()
    span = f"95 % {_between(found, leader.score)}, " if found.known else ""
    name = leader.candidate.name
    use = f"Train nothing: use the untouched {name}" if leader.candidate.is_base else f"Use {name}"
    said = (
        f"{use} for {_places(found)}: {measure.title} {measure.value(leader.score.value)}{unit} ({span}n = {n}{each})"
    )
    return f"{said}{_over_base(found, leader)}."


def _over_base(found: Best, leader: Standing) -> str:
    gain, measure = leader.gain, found.measure
    if leader.candidate.is_base:
        return ""
    if gain.value != gain.value:
        return "; its base was not scored there"
    size = measure.difference(gain.value).lstrip(f"+{MINUS}")
    way = "above" if gain.value >= 0 else "below"
    base = next(each.candidate.name for each in found.standings if _is_base_of(each, leader))
    span = f" (95 % {measure.span(gain.low, gain.high)})" if found.known else ""
    chance = ", which may be chance" if found.known and gain.holds_zero else ""
    return f", {size} {way} its base {base}{span}{chance}"


def _is_base_of(one: Standing, other: Standing) -> bool:
    return one.candidate.is_base and one.candidate.model == other.candidate.model


def sureness(found: Best) -> str:
    """In how many resamples it is the best, and who cannot be told from it."""
    count = len(found.standings)
    if count == 1:
        return "There is nothing to compare it with."
    if not found.known:
        return "How sure that is is not known: the scores have no intervals, and no single items are kept."
    share = resamples(found.leader.share)
    basis = f"Best in {share} of {SAMPLES:,} resamples of the items, which are drawn alike for all candidates"
    if found.basis == INTERVALS:
        basis = f"Best in {share} of {SAMPLES:,} resamples, as wide as the scores' own intervals and independent"
    names = [each.candidate.name for each in found.held]
    among = f"corrected for {count:,} candidates"
    if not names:
        return f"{basis}. All others can be told from it with 95 % confidence ({among})."
    return f"{basis}. Not to be told from it with 95 % confidence ({among}): {some(names, NAMED)}."


def by_category(found: Best) -> str:
    """The best of each category, where runs of several were scored: languages trained by one are unseen by another."""
    firsts: dict[str, Standing] = {}
    for each in found.standings:
        if not each.candidate.is_base:
            firsts.setdefault(each.candidate.langcat, each)
    if len(firsts) < 2:
        return ""
    told = []
    for category, each in firsts.items():
        roles = "/".join(dict.fromkeys(ROLE_LABELS.get(role, role) for role in each.candidate.roles))
        told.append(f"{category} ({roles}) {each.candidate.name} {found.measure.value(each.score.value)}")
    return f"The best of each category, and what these languages are to it: {'; '.join(told)}."


def left_out(found: Best, unfinished: int) -> Iterator[str]:
    """Runs of the study that are no candidates, and why."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for run_id, missing in found.lacking.items():
        groups.setdefault(missing, []).append(run_id)
    for missing, run_ids in groups.items():
        names = some([language_name(code) for code in missing], NAMED)
        yield f"Left out, not scored in {names}: {some(run_ids)}."
    if unfinished:
        yield f"Not finished, and so no candidates yet: {unfinished:,} of the study's runs."


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


def _line(found: Best, standing: Standing) -> list[str]:
    measure, own = found.measure, standing.candidate
    behind, gain = standing.behind, standing.gain
    return [
        own.name,
        own.langcat or "untouched",
        own.model,
        measure.value(standing.score.value),
        _between(found, standing.score),
        *(measure.difference(behind.value), _change(found, behind)),
        *(measure.difference(gain.value), _change(found, gain)),
        resamples(standing.share),
        NONE if not found.known else "yes" if standing.held else "no",
    ]


def _shown(found: Best) -> list[Standing]:
    """The first ones, all that may be the best as far as there is room, and every base."""
    last = max(place for place, each in enumerate(found.standings) if each.held) + 1 if found.known else 0
    first = min(MOST, max(SHOWN, last))
    return [each for place, each in enumerate(found.standings) if place < first or each.candidate.is_base]


def _none_held(found: Best, shown: list[Standing]) -> bool:
    return found.known and not any(each.held for each in found.standings if each not in shown)


def _between(found: Best, span: ScoreInterval) -> str:
    low, high = found.measure.value(span.low), found.measure.value(span.high)
    return NONE if span.low != span.low else f"{low} to {high}"


def _change(found: Best, span: ScoreInterval) -> str:
    return NONE if span.low != span.low else found.measure.span(span.low, span.high)


def _places(found: Best) -> str:
    return some([language_name(code) for code in found.languages], NAMED)


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

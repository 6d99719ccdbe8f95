"""The report's section for those who have to choose: the best mix for every language, and what each run is worth."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cpt.results.analysis.choice.best_table import best_lines, read_best, shown_measures
from cpt.results.analysis.choice.noise import UNKNOWN
from cpt.results.analysis.choice.tradeoff import FLOPS, Pareto
from cpt.results.figures.inline import inline
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.figures.pareto import pareto as drawing
from cpt.results.report.contents import Contents, run_order
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.mixes import ALONE
from cpt.results.report.sections import SORTABLE, caption, column_head, lines_of_head
from cpt.results.rows.measures import NONE, Measure, language_name, language_order, number, resamples
from cpt.results.rows.table import MEASURE

OF_LANGUAGES = (
    "For each language, whether runs were trained on it or only on its relatives, the best of all mixes from one base, "
    "of every category that was scored in it, the untouched base included; below it its score, the gain over the base "
    "with its 95 % interval, in what share of resamples it is the best, and how many others cannot be told from it "
    "with 95 % confidence, corrected for the number of candidates. In bold where every other can. cpt best --for "
    "answers for several languages together, and for all bases."
)
OF_RUNS = (
    "Adaptation is the mean gain over the base in the trained languages, forgetting the loss in English, and in code, "
    "over the same items; larger is more of either, with 95 % intervals. A run is on the front (●) when no other run "
    "of its base and category, nor the untouched base, is at least as good in all of adaptation, forgetting of English "
    "and cost, and better in one. Chance may put a run there, and does where an interval holds zero (○)."
)
ONE_SEED = " Every mix was trained with one seed: another could order them otherwise."


def best_section(contents: Contents) -> Html | None:
    """The best of each language, then adaptation against forgetting and cost; None where there is nothing to choose."""
    quality = contents.quality
    parts = [*_languages(quality), *_runs(quality)]
    return join(parts) if parts else None


def _languages(contents: Contents) -> list[Html]:
    study = contents.folders[0].path.parent if contents.folders else None
    found = best_lines(contents.table, study, None if study is None else read_best(study))
    if found.empty:
        return []
    measures = shown_measures(contents.table)
    said = OF_LANGUAGES + ("" if _several_seeds(contents) else ONE_SEED)
    folded = [
        element(
            "details",
            element("summary", f"From {model}"),
            _of_base(contents, rows, [each for each in measures if _of(rows, each).any()]),
            open=None if place else "",
        )
        for place, (model, rows) in enumerate(found.groupby("model"))
    ]
    return [element("p", said), *folded]


def _of_base(contents: Contents, rows: pd.DataFrame, measures: list[Measure]) -> Html:
    lines: dict[str, dict[Measure, Any]] = {}
    for row in rows.itertuples(index=False):
        measure = Measure(str(row.task), str(row.direction), str(row.protocol), str(row.metric))
        lines.setdefault(str(row.language), {})[measure] = row
    body = [
        [text(language_name(code)), *(_best(lines[code].get(each), each) for each in measures)]
        for code in sorted(lines, key=language_order)
    ]
    heads: list[Content] = ["Language", *(column_head(each, _note(rows, each)) for each in measures)]
    return table(caption(contents, f"The best mix from {rows['model'].iloc[0]}, by language"), heads, body, SORTABLE)


def _note(found: pd.DataFrame, measure: Measure) -> str:
    n = found.loc[_of(found, measure), "n"]
    counts = number(n.min(), 0) + (f" to {number(n.max(), 0)}" if n.max() > n.min() else "")
    return f"{measure.better}, n = {counts}"


def _of(found: pd.DataFrame, measure: Measure) -> pd.Series[bool]:
    return (found[list(MEASURE)] == list(measure)).all(axis=1)


def _several_seeds(contents: Contents) -> bool:
    runs = contents.table.loc[contents.table["data"] != "base", ["run", "run_id", "seed"]].drop_duplicates()
    return bool((runs.groupby("run")["seed"].nunique() > 1).any())


def _best(row: Any | None, measure: Measure) -> Cell:
    """The leader, sorted by how sure it is; where that is not known, by its score."""
    if row is None:
        return text(NONE)
    unit = f" {measure.shown.unit}".rstrip()
    told = [f"{measure.value(row.value)}{unit}"]
    if row.gain == row.gain:
        span = "" if row.gain_low != row.gain_low else f" ({measure.span(row.gain_low, row.gain_high)})"
        told.append(f"{measure.difference(row.gain)}{span}")
    others = len(row.held.split())
    chosen = row.candidates > 1
    if not chosen:
        told.append(ALONE)
        title = f"the only one scored, n = {number(row.n, 0)}"
    elif row.basis == UNKNOWN:
        title = f"best of {row.candidates}; how sure that is is not known"
    else:
        told.append(resamples(row.share))
        told += [f"or {others} more"] if others else []
        sure = row.held or "none"
        title = f"best of {row.candidates}, n = {number(row.n, 0)}; not to be told from it: {sure}"
    sole = chosen and row.basis != UNKNOWN and not others
    name = element("strong", row.run) if sole else row.run
    shown = join([name, element("small", "; ".join(told))])
    return Cell(shown, sort=row.value if row.basis == UNKNOWN else row.share, title=title)


def _runs(contents: Contents) -> list[Html]:
    found = contents.pareto
    if found is None:
        return []
    drawn = drawing(found, contents.tag)
    figures = [inline(drawn)] if drawn else []
    return [element("h3", "Adaptation, forgetting, cost"), element("p", OF_RUNS), *figures, _points(contents, found)]


def _points(contents: Contents, found: Pareto) -> Html:
    rows = [row for row in found.points.to_dict("records") if row["data"] != "base"]
    rows.sort(key=lambda row: run_order(contents.axes[row["run_id"]]))
    code = found.points["code_forgetting"].notna() & (found.points["data"] != "base")
    columns: list[tuple[str, Measure | None]] = [("adaptation", found.adaptation), ("forgetting", found.forgetting)]
    columns += [("code_forgetting", found.code)] if code.any() else []
    body = [
        [
            contents.named(row["run_id"]),
            text(row["langcat"]),
            *(_span(row, name, measure) for name, measure in columns),
            *([_cost(row)] if found.cost_unit else []),
            _front(row),
        ]
        for row in rows
    ]
    notes = ("gain, trained languages", "loss, English", "loss, code")
    heads: list[Content] = ["Run", "Category"]
    heads += [_head(measure, note) for (_, measure), note in zip(columns, notes, strict=False)]
    heads += [lines_of_head(["Cost"], found.cost_unit)] if found.cost_unit else []
    return table(caption(contents, "What each run gains, forgets and costs"), [*heads, "On the front"], body, SORTABLE)


def _head(measure: Measure | None, note: str) -> Content:
    return lines_of_head(["Forgetting"], "English was not scored") if measure is None else column_head(measure, note)


def _span(row: dict[Any, Any], name: str, measure: Measure | None) -> Cell:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if measure is None or pd.isna(value):
        return text(NONE)
    parts: list[Content] = [measure.difference(value)]
    if pd.notna(low):
        parts.append(element("small", measure.span(low, high)))
    over = f"mean over {row['languages']} languages, n = {number(row['items'], 0)} in each"
    return Cell(join(parts), sort=value, title=over if name == "adaptation" else None)


def _cost(row: dict[Any, Any]) -> Cell:
    value = row["cost"]
    if pd.isna(value):
        return text(NONE)
    shown = f"{value:.2e}" if row["cost_unit"] == FLOPS else number(value, 0 if value >= 100 else 2)
    return Cell(shown, sort=value)


def _front(row: dict[Any, Any]) -> Cell:
    """Said with words for who cannot see, or asks."""
    if pd.isna(row["adaptation"]) or pd.isna(row["forgetting"]):
        return Cell(NONE, title="not known: the base or English was not scored")
    if not row["front"]:
        return Cell("", sort=0)
    unsure = [name for name in ("adaptation", "forgetting") if not (row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0)]
    told = f"yes; not sure to be other than zero: {', '.join(unsure)}" if unsure else "yes"
    return Cell("○" if unsure else "●", sort=1, title=told)

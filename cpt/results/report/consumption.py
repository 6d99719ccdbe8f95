"""The report's section on what runs took: the plan against the ledger, and what each language's share of it was."""

from __future__ import annotations

import math
from typing import Any

from cpt.results.analysis.data_consumed import WITHIN, by_language, consumption
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, amount, caption, lines_of_head, notes
from cpt.results.rows.measures import NONE, language_name, language_order, number
from cpt.results.rows.run_folders import read_ledger

QUANTITIES = {
    "words": ("Words", "of one epoch, code apart"),
    "tokens": ("Tokens", "of one epoch"),
    "steps": ("Steps", "in all"),
    "device_minutes": ("Minutes", "of all devices"),
}
DIGITS = {"device_minutes": 2}
LEDGER = (
    ("epochs", "Epochs", 2),
    ("tokens_seen", "Tokens seen", 0),
    ("trainable_parameters", "Trainable parameters", 0),
)
PUBLISHED = ("published_steps", "steps_ratio", "steps_flag")
"""Of the plan, how many steps the study's own run took, planned over those, and whether that is far off."""
WORDS = (
    "What the ledger of each run has, below it what was planned, and how many times that it is. "
    f"Marked ! where it is {WITHIN['words']:g} times more or less than planned, of time {WITHIN['device_minutes']:g} "
    "times. Short of text, a run can take fewer words than planned; stopped, fewer steps."
)


def consumption_section(contents: Contents) -> Html | None:
    """A line for each run that was planned or has trained; folded away, its languages and what the plan assumed."""
    ledgers = {folder.run_id: read_ledger(folder.path) for folder in contents.folders}
    ledgers = {run_id: ledger for run_id, ledger in ledgers.items() if ledger}
    found: dict[str, dict[str, Any]] = {}
    for row in consumption(contents.plan, ledgers).itertuples(index=False):
        found.setdefault(str(row.run_id), {})[str(row.quantity)] = row
    found |= {run_id: {} for run_id in ledgers if run_id not in found}
    if not found:
        return None
    plan = {row["run_id"]: row for row in contents.plan if row.get("run_id")}
    told = [key for key in PUBLISHED if any(row.get(key) for row in contents.plan)]
    body = [
        [
            contents.named(run_id),
            *(_against(line.get(quantity), DIGITS.get(quantity, 0)) for quantity in QUANTITIES),
            *(_planned(key, plan.get(run_id, {}).get(key, "")) for key in told),
            *_ledger(ledgers.get(run_id, {})),
        ]
        for run_id, line in found.items()
    ]
    heads: list[Content] = ["Run", *(lines_of_head([name], note) for name, note in QUANTITIES.values())]
    heads += [key.replace("_", " ").capitalize() for key in told]
    heads += [*(head for _, head, _ in LEDGER), "FLOPs", "Seed"]
    whole = table(caption(contents, "Consumed and planned"), heads, body, SORTABLE)
    return join([element("p", WORDS), whole, _languages(contents, ledgers), _assumed(contents)])


def _against(row: Any | None, digits: int) -> Cell:
    if row is None:
        return text(NONE)
    consumed, planned = number(row.consumed, digits), number(row.planned, digits)
    ratio = f", × {number(row.ratio, 2)}" if math.isfinite(row.ratio) else ""
    shown = join([consumed + (" !" if row.off else ""), element("small", f"of {planned}{ratio}")])
    return Cell(shown, sort=row.consumed, style="failed" if row.off else None)


def _planned(key: str, value: str) -> Cell:
    if key.endswith("_flag") and value:
        return Cell(value, style="failed")
    try:
        found = float(value)
    except ValueError:
        return text(value or NONE)
    return Cell(number(found, 0 if found.is_integer() else 2), sort=found)


def _ledger(ledger: dict[str, Any]) -> list[Cell]:
    flops, seed = ledger.get("flops"), ledger.get("seed")
    work = Cell(NONE) if flops is None else Cell(f"{flops:.2e}", sort=flops)
    amounts = [amount(ledger.get(key), digits) for key, _, digits in LEDGER]
    return [*amounts, work, text(NONE if seed is None else str(seed))]


def _languages(contents: Contents, ledgers: dict[str, dict[str, Any]]) -> Html:
    """Tokens seen by run and language: of which there is a column for each that any run has seen."""
    seen = by_language(ledgers)
    if seen.empty:
        return Html()
    lines: dict[str, dict[str, Any]] = {}
    for row in seen.itertuples(index=False):
        lines.setdefault(str(row.run_id), {})[str(row.language)] = row
    columns = sorted(seen["language"].unique(), key=language_order)
    heads: list[Content] = ["Run", *(language_name(code) for code in columns)]
    body = [[contents.named(run_id), *(_seen(line.get(code)) for code in columns)] for run_id, line in lines.items()]
    said = caption(contents, "Tokens seen, all epochs together, by language")
    return element("details", element("summary", "By language"), table(said, heads, body, SORTABLE))


def _seen(row: Any | None) -> Cell:
    if row is None:
        return Cell("", sort=0)
    words = f"; {number(row.words_seen, 0)} words" if row.words_seen else ""
    return Cell(number(row.tokens_seen, 0), sort=row.tokens_seen, title=f"{number(row.tokens_unique, 0)} unique{words}")


def _assumed(contents: Contents) -> Html:
    assumed = dict.fromkeys(row["assumption"] for row in contents.plan if row.get("assumption"))
    if not assumed:
        return Html()
    return element("details", element("summary", "What the plan assumed"), notes(list(assumed)))

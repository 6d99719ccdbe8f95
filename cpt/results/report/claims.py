"""The report's section on transfer: from trained to related languages, and what each category claims of it."""

from __future__ import annotations

from typing import Any

from cpt.results.analysis.change.against_base import GROUPS
from cpt.results.analysis.change.heat_maps import level, scale_of
from cpt.results.analysis.claims import MARGIN, STATED, claims, tally
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report.contents import Contents
from cpt.results.report.markup import Cell, table, text
from cpt.results.report.sections import SORTABLE, caption, notes
from cpt.results.rows.measures import ROLE_LABELS, number, signed

WORDS = (
    "Change of SIB-200 accuracy against base, of the languages trained on and of their relatives, in % of the base's "
    "mean, with a 95 % interval: over languages drawn anew, and no narrower than their items allow. A group gains "
    f"where the whole interval is above zero, does not where it is below {MARGIN:g} %, and is unclear otherwise. A "
    "claim is met where all it says holds, not met where some of it does not."
)
LABELS = [ROLE_LABELS[role] for role in GROUPS]
STYLES = {"yes": "b2", "no": "w2"}


def claims_section(contents: Contents) -> Html | None:
    """The rule, how many runs meet each claim, and a line for each run; None where no run can be judged."""
    found = claims(contents.table)
    if found.empty:
        return None
    stated = [f"{claim}: {what}" for claim, what in STATED.items() if claim in set(found["claim"])]
    scales = {group: scale_of(found[f"{group}_change"]) for group in LABELS}
    body = [_line(contents, row, scales) for row in found.to_dict("records")]
    heads: list[Content] = ["Run", "Claim", *(group.capitalize() for group in LABELS)]
    heads += ["Claim met", "At face value"]
    said = f"Transfer and what the categories claim: SIB-200 accuracy, protocol {found['protocol'].iloc[0]}"
    drawn = table(caption(contents, said), heads, body, SORTABLE)
    return join([element("p", WORDS), notes(stated), notes(tally(found)), drawn])


def _line(contents: Contents, row: dict[Any, Any], scales: dict[str, float]) -> list[Cell]:
    met, bare = (Cell(row[name], style=STYLES.get(row[name]), title=row["why"]) for name in ("met", "at_face_value"))
    changes = [_change(row, group, scale) for group, scale in scales.items()]
    return [contents.named(row["run_id"]), text(row["claim"]), *changes, met, bare]


def _change(row: dict[Any, Any], group: str, scale: float) -> Cell:
    value, low, high = (row[f"{group}_{what}"] for what in ("change", "low", "high"))
    shown = join([signed(value, 1), element("small", f"{signed(low, 1)} to {signed(high, 1)}")])
    told = f"over {number(row[f'{group}_languages'], 0)} languages"
    return Cell(shown, sort=value, title=told, style=level(value, scale) or None)

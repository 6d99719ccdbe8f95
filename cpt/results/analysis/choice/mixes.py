"""For these languages, from this base: which mix, how much it gains, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.choice.ranking import Best, best
from cpt.results.rows.measures import Measure


@dataclass(frozen=True)
class Mix:
    """The best of all mixes of one category from one base, over the languages they were trained on."""

    model: str
    langcat: str
    languages: tuple[str, ...]
    found: Best


def mixes(table: pd.DataFrame, measures: Sequence[Measure], items: ItemScores | None = None) -> list[Mix]:
    """For every base and category, and each measure; nothing where no run was scored in all the languages."""
    found = []
    for (model, langcat), rows in table.groupby(["model", "langcat"]):
        languages = tuple(dict.fromkeys(rows.loc[rows["role"] == "train", "language"]))
        for measure in measures:
            if languages and (chosen := best(rows, languages, measure, items)):
                found.append(Mix(str(model), str(langcat), languages, chosen))
    return found

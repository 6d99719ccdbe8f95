"""The recipe of a run: which sources it takes, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

from cpt.config import StudyConfig
from cpt.corpora.library import Library
from cpt.corpora.source import Source
from cpt.models.base import BaseModel
from cpt.tokens.budget import Budget


@dataclass(frozen=True)
class Ingredient:
    source: Source
    budget: Budget
    words: dict[str, int]
    """The budget by language, as the study gives it; for code, its amount in the budget's unit."""
    counter: BaseModel | None = None
    """Whose tokenizer counts the budget, when its unit is tokens."""


def recipe(config: StudyConfig, library: Library) -> list[Ingredient]:
    """Monolingual or bilingual sources of the language category, and code where the run has it."""
    factor = config.mixing.budget_factor
    items = _bitext(config, library) if config.data_mix.name == "bi" else _monolingual(config, library)
    if config.code:
        code = config.mixing.code
        source = library.code()
        amount = max(round(code.amount * factor), 1)
        counter = BaseModel(code.tokenizer, "main", library.world) if code.unit == "tokens" else None
        budget = Budget(amount, code.unit, counter.tokenizer_fingerprint if counter else "")
        items.append(Ingredient(source, budget, {source.languages[0]: amount}, counter))
    return items


def _monolingual(config: StudyConfig, library: Library) -> list[Ingredient]:
    items = []
    for code, amount in config.lang_category.words.items():
        words = max(round(amount * config.mixing.budget_factor), 1)
        items.append(Ingredient(library.monolingual(code), Budget(words), {code: words}))
    return items


def _bitext(config: StudyConfig, library: Library) -> list[Ingredient]:
    items = []
    for pair, amounts in config.lang_category.pairs.items():
        source, target = pair.split("-")
        words = [max(round(amount * config.mixing.budget_factor), 1) for amount in amounts]
        bitext = library.bitext(source, target, config.data_mix.pairs_per_document)
        items.append(Ingredient(bitext, Budget(sum(words)), {source: words[0], target: words[1]}))
    return items

"""The recipe of a run: which sources it takes, and how much of each, given the size of the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from cpt.added_keys import hashed_settings
from cpt.config import MixingConfig, StudyConfig
from cpt.corpora.bitext import BitextFormat
from cpt.corpora.document import CODE
from cpt.corpora.library import Library
from cpt.corpora.source import Amount, Source
from cpt.errors import config_error
from cpt.models.base_model import BaseModel
from cpt.tokens import mixing
from cpt.tokens.budget import COLUMNS, Point, amounts_to, locate
from cpt.tokens.shards import Shard

REPLAY = "replay"
KINDS: dict[str, tuple[str, ...]] = {
    "explicit": ("short",),
    "proportional": ("total", "max_epochs"),
    "temperature": ("total", "temperature", "max_epochs"),
    "unimax": ("total", "max_epochs"),
}
"""Every kind of mixing with the settings it reads."""


@dataclass(frozen=True)
class Ingredient:
    source: Source
    role: str
    """`language`, or `code` or `replay`, which are added to the languages."""
    budget_by_language: dict[str, int]
    """In `unit`: words of natural languages, or the unit of `mixing.code` for code."""
    unit: str = "words"
    counter: BaseModel | None = None
    """The model whose tokenizer counts, if the unit is tokens."""

    @property
    def budget(self) -> int:
        return sum(self.budget_by_language.values())


def recipe(config: StudyConfig, library: Library) -> list[Ingredient]:
    """Monolingual or bilingual sources of the language category, code where the run has it, and replay."""
    items = _bitext(config, library) if config.data_mix.name == "bi" else _monolingual(config, library)
    code, factor = config.mixing.code, config.mixing.budget_factor
    if config.code:
        shared = code.share is not None
        counted = not shared and code.unit == "tokens"
        counter = BaseModel(code.tokenizer, "main", library.world) if counted else None
        amounts = {CODE: 0 if shared else max(round(code.amount * factor), 1)}
        unit = config.mixing.unit if shared else code.unit
        items.append(Ingredient(library.code(), CODE, amounts, unit, counter))
    if config.mixing.replay.share:
        source = library.general(config.mixing.replay.language)
        items.append(Ingredient(source, REPLAY, dict.fromkeys(source.languages, 0), config.mixing.unit))
    if config.mixing.unit != "tokens":
        return items
    counter = BaseModel(config.mixing.tokenizer, "main", library.world)
    return [item if item.counter else replace(item, counter=counter) for item in items]


def other_arm(config: StudyConfig, library: Library) -> list[Ingredient]:
    """The bilingual sources that a monolingual run is matched to; none where it is not."""
    if not config.corpora.matched or config.data_mix.name != "mono" or config.mixing.kind != "explicit":
        return []
    items = _bitext(config, library)
    for item in items:
        if len(item.source.languages) == 1:
            reason = f"{item.source.name} comes as documents of both languages, so words cannot be counted by language"
            raise config_error("corpora.matched", "true", reason)
    return items


def match(items: list[Ingredient], arm: list[Allocation], shards: dict[str, Shard]) -> list[Ingredient]:
    """Monolingual budgets of as many words as the other arm takes of each language; others stay."""
    words: dict[str, float] = {}
    for entry in arm:
        for code, amount in amounts_to(shards[entry.item.source.name], entry.point, "words").items():
            words[code] = words.get(code, 0.0) + amount
    return [
        replace(
            item,
            budget_by_language={
                code: round(words.get(code, amount)) for code, amount in item.budget_by_language.items()
            },
        )
        if item.role == "language"
        else item
        for item in items
    ]


def _monolingual(config: StudyConfig, library: Library) -> list[Ingredient]:
    items = []
    for code, amount in config.lang_category.words.items():
        words = max(round(amount * config.mixing.budget_factor), 1)
        items.append(Ingredient(library.monolingual(code), "language", {code: words}))
    return items


def _bitext(config: StudyConfig, library: Library) -> list[Ingredient]:
    form = BitextFormat(config.data_mix.form, config.data_mix.direction, config.data_mix.pairs_per_document)
    items = []
    for pair, amounts in config.lang_category.pairs.items():
        source, target = pair.split("-")
        words = [max(round(amount * config.mixing.budget_factor), 1) for amount in amounts]
        bitext = library.bitext(source, target, form)
        sides = dict(zip((source, target), words, strict=True)) if len(bitext.languages) == 2 else {pair: sum(words)}
        items.append(Ingredient(bitext, "language", sides))
    return items


def identity(config: StudyConfig, items: list[Ingredient], arm: list[Ingredient]) -> list[Any]:
    """Everything that decides which text a run is trained on, as plain data; hashed into the run id."""
    settings, kind = config.mixing, config.mixing.kind
    read = {name: getattr(settings, name) for name in KINDS[kind]}
    if kind != "explicit":
        read |= {"unit": settings.unit, "total": total_of(settings, items), "epochs": config.train.epochs}
    elif settings.short == "repeat":
        read |= {"max_epochs": settings.max_epochs, "epochs": config.train.epochs}
    if config.code and settings.code.share is not None:
        read |= {"code_share": settings.code.share, "unit": settings.unit}
    if settings.replay.share:
        read |= {"replay_share": settings.replay.share, "unit": settings.unit}
    if settings.stages:
        read |= {"stages": hashed_settings(settings.stages), "epochs": config.train.epochs}
    sources = []
    for item in [*items, *arm]:
        form = item.source.form.fingerprint if item.source.form else ""
        budget = item.budget_by_language if kind == "explicit" or item.role == CODE else {}
        counter = item.counter.tokenizer_fingerprint if item.counter else ""
        sources.append([*item.source.text_parts, form, item.role, budget, item.unit, counter])
    return [kind, read, sources]


def total_of(settings: MixingConfig, items: list[Ingredient]) -> float:
    """The size of an epoch without code and replay."""
    if settings.kind != "explicit" and settings.total is not None:
        return settings.total
    return float(sum(item.budget for item in items if item.role == "language"))


def need_of(config: StudyConfig, item: Ingredient, items: list[Ingredient]) -> Amount:
    """How much of a source (not one that takes a share) must be counted before amounts can be settled."""
    settings = config.mixing
    if item.role != "language" or settings.kind == "explicit":
        return Amount(item.budget, item.unit)
    # By UniMax no source gets more than the total; the other kinds need the size of the whole source.
    return Amount(total_of(settings, items) if settings.kind == "unimax" else math.inf, settings.unit)


def is_share(config: StudyConfig, item: Ingredient) -> bool:
    """Whether a source takes a share of the others."""
    return item.role == REPLAY or (item.role == CODE and config.mixing.code.share is not None)


@dataclass(frozen=True)
class Allocation:
    """How much an epoch takes of a source."""

    item: Ingredient
    amount: float
    """In the item's unit, or the mixing's."""
    available: float | None
    """None if the source is larger than what was read so far."""
    unit: str
    point: Point
    budgeted: bool = True
    """Whether its amount is a budget rather than a share of a total."""

    @property
    def epochs(self) -> float | None:
        """Passes over the source in an epoch of the mix."""
        return self.amount / self.available if self.available else None


def settle(config: StudyConfig, items: list[Ingredient], shards: dict[str, Shard]) -> list[Allocation]:
    """The amounts of an epoch, given the shards in which each source is counted."""
    allocations = settle_amounts(config, items, shards)
    cap = config.mixing.max_epochs / config.train.epochs
    for item, wanted in shares(config, items, allocations, shards):
        shard = shards[item.source.name]
        amount = min(wanted, cap * _available(shard, config.mixing.unit, math.inf))
        allocations.append(_allocation(item, amount, shard, config.mixing.unit, budgeted=False))
    order = [item.source.name for item in items]
    return sorted(allocations, key=lambda entry: order.index(entry.item.source.name))


def settle_amounts(config: StudyConfig, items: list[Ingredient], shards: dict[str, Shard]) -> list[Allocation]:
    """Amounts of the sources that do not take a share of the others."""
    settings = config.mixing
    unit = "words" if settings.kind == "explicit" else settings.unit
    main = [item for item in items if item.role == "language"]
    cap = settings.max_epochs / config.train.epochs
    total = total_of(settings, items)
    available = {item.source.name: _available(shards[item.source.name], unit, total) for item in main}
    amounts = _mixed(settings, main, available, total, cap)
    explicit = settings.kind == "explicit"
    allocations = [
        _allocation(item, amounts[item.source.name], shards[item.source.name], unit, explicit) for item in main
    ]
    for item in items:
        if item.role == CODE and not is_share(config, item):
            # If there is less code than its amount, all of it is taken once.
            shard = shards[item.source.name]
            amount = min(float(item.budget), _available(shard, item.unit, item.budget))
            allocations.append(_allocation(item, amount, shard, item.unit, budgeted=True))
    return allocations


def shares(
    config: StudyConfig, items: list[Ingredient], allocations: list[Allocation], shards: dict[str, Shard]
) -> list[tuple[Ingredient, float]]:
    """Amounts of the sources that take a share, in the unit of mixing: code of the rest, replay of all."""
    unit = config.mixing.unit
    others = math.fsum(
        amount
        for entry in allocations
        for amount in amounts_to(shards[entry.item.source.name], entry.point, unit).values()
    )
    amounts = []
    for role, share in ((CODE, config.mixing.code.share), (REPLAY, config.mixing.replay.share)):
        for item in items:
            if item.role == role and is_share(config, item):
                wanted = mixing.with_share({"others": others}, role, share or 0.0)[role]
                amounts.append((item, wanted))
                others += wanted
    return amounts


def _available(shard: Shard, unit: str, most: float) -> float:
    """The size of a source, at most `most`: a shard may have grown further for another run."""
    amount = sum(shard.total(COLUMNS[unit]).values())
    return float(amount) if shard.whole else min(float(amount), most) if math.isfinite(most) else math.inf


def _allocation(item: Ingredient, amount: float, shard: Shard, unit: str, budgeted: bool) -> Allocation:
    there = float(sum(shard.total(COLUMNS[unit]).values())) if shard.whole else None
    return Allocation(item, amount, there, unit, locate(shard, amount, unit), budgeted)


def _mixed(
    settings: MixingConfig, items: list[Ingredient], available: dict[str, float], total: float, cap: float
) -> dict[str, float]:
    """The amount of each source by the kind of mixing."""
    if settings.kind == "explicit":
        budgets = {item.source.name: float(item.budget) for item in items}
        return mixing.explicit(budgets, available, max(cap, 1.0) if settings.short == "repeat" else 1.0)
    if settings.kind == "temperature":
        return mixing.temperature(available, total, settings.temperature, cap)
    return (mixing.unimax if settings.kind == "unimax" else mixing.proportional)(available, total, cap)


def first_documents(shard: Shard, point: Point) -> Shard:
    """The shard up to a point, rounded up to whole documents, as if it held the whole source."""
    count = point.documents + (point.share > 0)
    if point.passes or count == 0 or count >= shard.documents:
        return shard
    ends = shard.stretch_ends[:count] if len(shard.stretch_ends) else shard.stretch_ends
    return replace(
        shard, ends=shard.ends[:count], amounts=shard.amounts[:count], stretch_ends=ends, whole=True, totals=None
    )


def over_cap(settings: MixingConfig, name: str, epochs: float) -> None:
    """Refuse stages that read a source more often than it may be."""
    if epochs > settings.max_epochs * (1 + 1e-9):
        reason = f"they read {name} {epochs:.1f} times, more than mixing.max_epochs={settings.max_epochs:g}"
        raise config_error("mixing.stages", f"{len(settings.stages)} stages", reason)

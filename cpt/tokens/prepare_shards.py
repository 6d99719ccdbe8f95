"""Preparing data: every shard that some runs need, each made once, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from cpt.config import StudyConfig
from cpt.corpora.collected_text import TextFolder, text_key
from cpt.corpora.source import Need, Source
from cpt.models.base import BaseModel
from cpt.models.tokenizer import TokenizerFile, tokenizer_file
from cpt.processes import PoolStoppedError, WorkerPool
from cpt.tokens.budget import Point
from cpt.tokens.recipe import Ingredient, Taken, is_share, match, need_of, settle, settle_amounts, shares
from cpt.tokens.shards import Shard, ShardMaker, Told, open_shard, shard_key

MOST_AT_ONCE = 8
"""Sources worked on at a time, each with a piece of it in memory."""


@dataclass(frozen=True)
class Order:
    """A source under a model's tokenizer, and how much of it."""

    source: Source
    model: BaseModel
    need: Need

    @property
    def key(self) -> str:
        return shard_key(self.source, self.model.tokenizer_fingerprint)


def write_tokenizer(model: BaseModel, folder: Path) -> TokenizerFile:
    return tokenizer_file(model.tokenizer(), model.tokenizer_fingerprint, folder)


@dataclass
class Preparation:
    """Shards and texts of one cache folder, and the processes that make them."""

    cache: Path
    pool: WorkerPool = field(default_factory=WorkerPool)
    told: Told | None = None
    _tokenizers: dict[str, TokenizerFile] = field(default_factory=dict)

    def ensure(self, order: Order) -> Shard:
        return self._maker(order).ensure(order.need, self.pool, self.told)

    def ensure_all(self, orders: Iterable[Order]) -> None:
        """Orders for the same shard are one, of the greatest need."""
        together: dict[tuple[str, str], Order] = {}
        for order in orders:
            known = together.setdefault((order.key, order.need.unit), order)
            if order.need.amount > known.need.amount:
                together[order.key, order.need.unit] = order
        for model in {order.model.tokenizer_fingerprint: order.model for order in together.values()}.values():
            self._tokenizer(model)
        threads = ThreadPoolExecutor(min(max(self.pool.processes, 1), MOST_AT_ONCE))
        futures = [threads.submit(self.ensure, order) for order in together.values()]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                if not isinstance(future.exception(), PoolStoppedError):
                    future.result()
        except BaseException:
            self.pool.stop()  # what was whole is kept; nobody waits for the rest
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def folder(self, source: Source, model: BaseModel) -> Path:
        return self.cache / "shards" / shard_key(source, model.tokenizer_fingerprint)

    def text(self, source: Source) -> TextFolder | None:
        return TextFolder(self.cache / "texts" / text_key(source), source) if source.collected else None

    def _maker(self, order: Order) -> ShardMaker:
        folder = self.folder(order.source, order.model)
        return ShardMaker(folder, order.source, self._tokenizer(order.model), self.text(order.source))

    def _tokenizer(self, model: BaseModel) -> TokenizerFile:
        key = model.tokenizer_fingerprint
        if key not in self._tokenizers:
            self._tokenizers[key] = self.pool.call(write_tokenizer, model, self.cache / "tokenizers")
        return self._tokenizers[key]


@dataclass(frozen=True)
class Wanted:
    """What one run wants prepared."""

    config: StudyConfig
    items: list[Ingredient]
    model: BaseModel
    arm: list[Ingredient] = field(default_factory=list)
    """Sources of another run, by whose amounts this one's are set."""

    def matching(self) -> list[Order]:
        """What has to be there before budgets are known."""
        return self._orders(self.arm)

    def matched(self, preparation: Preparation) -> Wanted:
        """With budgets that are known."""
        if not self.arm:
            return self
        shards = self._shards(self.matching(), preparation)
        return Wanted(self.config, match(self.items, settle(self.config, self.arm, shards), shards), self.model)

    def counting(self) -> list[Order]:
        """What has to be there before amounts can be settled."""
        return self._orders([item for item in self.items if not is_share(self.config, item)])

    def sharing(self, preparation: Preparation) -> list[Order]:
        """Sources that take a share of the others: how much is known when those are counted."""
        shards = self._shards(self.counting(), preparation)
        settled = settle_amounts(self.config, self.items, shards)
        wanted = shares(self.config, self.items, settled, shards)
        unit = self.config.mixing.unit
        return [Order(item.source, item.counter or self.model, Need(amount, unit)) for item, amount in wanted]

    def settled(self, preparation: Preparation) -> list[Taken]:
        orders = [*self.counting(), *self.sharing(preparation)]
        return settle(self.config, self.items, self._shards(orders, preparation))

    def _orders(self, items: list[Ingredient]) -> list[Order]:
        return [
            Order(item.source, item.counter or self.model, need_of(self.config, item, self.items)) for item in items
        ]

    def _shards(self, orders: list[Order], preparation: Preparation) -> dict[str, Shard]:
        return {order.source.name: open_shard(preparation.folder(order.source, order.model)) for order in orders}

    def own(self, taken: list[Taken]) -> list[Order]:
        """The model's own shards, as far as the amounts go."""
        return [Order(entry.item.source, self.model, documents_to(entry.point)) for entry in taken]

    def shards(self, preparation: Preparation) -> dict[str, Shard]:
        return {item.source.name: open_shard(preparation.folder(item.source, self.model)) for item in self.items}


def documents_to(point: Point) -> Need:
    """All of a source that is read more than once, else the documents up to the point."""
    if point.passes:
        return Need(unit="documents")
    return Need(point.documents + (point.share > 0), "documents")


def prepare(wanted: list[Wanted], preparation: Preparation, then: Callable[[int, list[Taken]], None]) -> None:
    """Make whatever is not there yet of all that is wanted; `then` is told the amounts of each, by its number."""
    preparation.ensure_all(order for one in wanted for order in one.matching())
    wanted = [one.matched(preparation) for one in wanted]
    preparation.ensure_all(order for one in wanted for order in one.counting())
    preparation.ensure_all(order for one in wanted for order in one.sharing(preparation))
    settled = [one.settled(preparation) for one in wanted]
    preparation.ensure_all(order for one, taken in zip(wanted, settled, strict=True) for order in one.own(taken))
    for number, taken in enumerate(settled):
        then(number, taken)

"""Preparing data: every shard that some runs need, each made once, several at a time."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from cpt.config import StudyConfig
from cpt.corpora.collected_text import TextFolder, text_key
from cpt.corpora.source import Amount, Source
from cpt.models.base_model import BaseModel
from cpt.processes import PoolStoppedError, WorkerPool
from cpt.tokens.budget import Point
from cpt.tokens.encode import TokenizerFile, tokenizer_file
from cpt.tokens.recipe import Allocation, Ingredient, is_share, match, need_of, settle, settle_amounts, shares
from cpt.tokens.shards import ProgressCallback, Shard, ShardMaker, open_shard, shard_key

MOST_AT_ONCE = 8
"""Sources worked on at a time, each with a piece of it in memory."""


@dataclass(frozen=True)
class ShardRequest:
    """An amount of a source under a model's tokenizer."""

    source: Source
    model: BaseModel
    need: Amount

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
    progress: ProgressCallback | None = None
    _tokenizers: dict[str, TokenizerFile] = field(default_factory=dict)

    def make(self, requests: list[list[ShardRequest]]) -> list[dict[str, Shard]]:
        """Make what is missing of all requests; the opened shards of each list, by the name of their source."""
        self.ensure_all(chain.from_iterable(requests))
        return [
            {request.source.name: open_shard(self.folder(request.source, request.model)) for request in several}
            for several in requests
        ]

    def ensure(self, request: ShardRequest) -> Shard:
        return self._maker(request).ensure(request.need, self.pool, self.progress)

    def ensure_all(self, requests: Iterable[ShardRequest]) -> None:
        """Requests for the same shard become one, with the largest amount."""
        largest: dict[tuple[str, str], ShardRequest] = {}
        for request in requests:
            known = largest.setdefault((request.key, request.need.unit), request)
            if request.need.amount > known.need.amount:
                largest[request.key, request.need.unit] = request
        for model in {request.model.tokenizer_fingerprint: request.model for request in largest.values()}.values():
            self._tokenizer(model)
        threads = ThreadPoolExecutor(min(max(self.pool.processes, 1), MOST_AT_ONCE))
        futures = [threads.submit(self.ensure, request) for request in largest.values()]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                if not isinstance(future.exception(), PoolStoppedError):
                    future.result()
        except BaseException:
            self.pool.stop()  # finished pieces stay; nothing waits for the rest
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def folder(self, source: Source, model: BaseModel) -> Path:
        return self.cache / "shards" / shard_key(source, model.tokenizer_fingerprint)

    def text(self, source: Source) -> TextFolder | None:
        return TextFolder(self.cache / "texts" / text_key(source), source) if source.collected else None

    def _maker(self, request: ShardRequest) -> ShardMaker:
        folder = self.folder(request.source, request.model)
        return ShardMaker(folder, request.source, self._tokenizer(request.model), self.text(request.source))

    def _tokenizer(self, model: BaseModel) -> TokenizerFile:
        key = model.tokenizer_fingerprint
        if key not in self._tokenizers:
            self._tokenizers[key] = self.pool.call(write_tokenizer, model, self.cache / "tokenizers")
        return self._tokenizers[key]


@dataclass(frozen=True)
class DataRequest:
    """The data of one run: which sources, and how much of each."""

    config: StudyConfig
    items: list[Ingredient]
    model: BaseModel
    arm: list[Ingredient] = field(default_factory=list)
    """Sources of the other arm, to whose amounts this run is matched."""

    def arm_shards(self) -> list[ShardRequest]:
        return self._shards(self.arm)

    def matched(self, arm: dict[str, Shard]) -> DataRequest:
        """With the budgets that follow from the shards of the other arm."""
        if not self.arm:
            return self
        return DataRequest(self.config, match(self.items, settle(self.config, self.arm, arm), arm), self.model)

    def independent_shards(self) -> list[ShardRequest]:
        """Sources whose amount does not depend on that of others."""
        return self._shards([item for item in self.items if not is_share(self.config, item)])

    def share_shards(self, independent: dict[str, Shard]) -> list[ShardRequest]:
        """Sources that take a share of the others."""
        allocations = settle_amounts(self.config, self.items, independent)
        amounts = shares(self.config, self.items, allocations, independent)
        unit = self.config.mixing.unit
        return [ShardRequest(item.source, item.counter or self.model, Amount(amount, unit)) for item, amount in amounts]

    def model_shards(self, allocations: list[Allocation]) -> list[ShardRequest]:
        """The shards that the model is trained on, up to the allocated amounts."""
        return [ShardRequest(entry.item.source, self.model, documents_to(entry.point)) for entry in allocations]

    def _shards(self, items: list[Ingredient]) -> list[ShardRequest]:
        return [
            ShardRequest(item.source, item.counter or self.model, need_of(self.config, item, self.items))
            for item in items
        ]


def documents_to(point: Point) -> Amount:
    """All of a source that is read more than once, else the documents up to the point."""
    if point.passes:
        return Amount(unit="documents")
    return Amount(point.documents + (point.share > 0), "documents")


def prepare(requests: list[DataRequest], preparation: Preparation) -> list[tuple[list[Allocation], dict[str, Shard]]]:
    """Make every shard that is missing; for each request, what an epoch takes of each source, and the shards.

    The amounts of a step follow from the shards of the step before, so all requests take each step together.
    """
    arms = preparation.make([request.arm_shards() for request in requests])
    requests = [request.matched(shards) for request, shards in zip(requests, arms, strict=True)]
    independent = [request.independent_shards() for request in requests]
    known = preparation.make(independent)
    shared = [request.share_shards(shards) for request, shards in zip(requests, known, strict=True)]
    known = preparation.make([[*first, *second] for first, second in zip(independent, shared, strict=True)])
    allocations = [
        settle(request.config, request.items, shards) for request, shards in zip(requests, known, strict=True)
    ]
    shards = preparation.make(
        [request.model_shards(entries) for request, entries in zip(requests, allocations, strict=True)]
    )
    return list(zip(allocations, shards, strict=True))

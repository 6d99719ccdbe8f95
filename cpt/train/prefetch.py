"""The batches of a run, each made while the step before it is computed, so that no step waits for data."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from cpt.tokens.batch import Batch
from cpt.tokens.sequences import Sequences


class Feed:
    """This process's share of every global batch, from step `begin` on."""

    def __init__(self, mix: Sequences, global_batch: int, share: tuple[int, int], begin: int, end: int) -> None:
        self.mix, self.global_batch, self.share, self.end = mix, global_batch, share, end
        self._step = begin
        self._pool = ThreadPoolExecutor(1, "feed")
        self._coming = self._order()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def next(self) -> Batch:
        """The batch of the next step."""
        assert self._coming is not None, "no step is left"
        batch = self._coming.result()
        self._step += 1
        self._coming = self._order()
        return batch

    def _order(self) -> Future[Batch] | None:
        if self._step >= self.end:
            return None
        first, last = self.share
        return self._pool.submit(self.mix.batch, self._step * self.global_batch + first, last - first)

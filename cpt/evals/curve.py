"""Evaluation while training: bits per byte of a little held-out text at a few steps, and how far the weights moved.

So that forgetting, and its recovery, are seen as curves. Nothing of it touches what is learnt.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cpt.evals.benchmarks.bpb import bits_per_byte
from cpt.files import read_lines, write_lines
from cpt.models.weights import Weights
from cpt.tokens.batch import pack
from cpt.train.checkpoint import owners
from cpt.train.engines.base import WEIGHT, Engine
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.speed import whole_size

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)


SLICE = 2**22
"""Numbers compared at once, so that a large table costs no memory worth the name."""


def points(steps: int, at: Sequence[float], every: int | None) -> set[int]:
    """Steps after which to evaluate: given shares of the training, and multiples of `every`."""
    return {round(share * steps) for share in at} | (set(range(0, steps + 1, every)) if every else set())


def beginning(texts: list[str], size: int) -> list[str]:
    """Texts from the start until they hold `size` bytes; the last is cut at a character."""
    taken: list[str] = []
    for text in texts:
        room = size - sum(len(done.encode()) for done in taken)
        if room <= 0:
            break
        taken.append(text.encode()[:room].decode(errors="ignore"))
    return [text for text in taken if text]


def means(values: dict[str, float], roles: dict[str, str]) -> dict[str, float]:
    """The plain mean over the languages of each role."""
    groups: dict[str, list[float]] = {}
    for language, value in values.items():
        groups.setdefault(roles[language], []).append(value)
    return {role: statistics.fmean(group) for role, group in groups.items()}


class HeldOutCurve(Hook):
    """Writes `curve.jsonl`: a line a point, with bits per byte by language and the distance from the base's weights."""

    def __init__(
        self,
        path: Path,
        texts: dict[str, list[str]],
        tokenizer: PreTrainedTokenizerFast,
        *,
        length: int,
        at: Sequence[float],
        every: int | None,
        base: Weights,
        roles: dict[str, str],
    ) -> None:
        self.path, self.at, self.every, self.base, self.roles = path, at, every, base, roles
        self.languages = list(texts)
        self.bytes = [sum(len(text.encode()) for text in texts[language]) for language in texts]
        self._batch = pack(_documents(list(texts.values()), tokenizer), length) if texts else None

    def on_start(self, session: Session) -> None:
        self.session = session
        self.points = points(session.steps, self.at, self.every)
        place, missing = session.engine.place, False
        if place.main:
            known = [record for record in read_lines(self.path) if record["step"] <= session.step]
            write_lines(self.path, known)
            missing = session.step not in {record["step"] for record in known}
        if place.any(missing):
            self._measure(session.step)

    def after_step(self, record: StepRecord) -> None:
        self._measure(record.step)

    def _measure(self, step: int) -> None:
        if step not in self.points or self._batch is None:
            return
        engine = self.session.engine
        losses = engine.losses(self._batch, len(self.languages))
        moved, length = distance(engine, self.base)
        if not engine.place.main:
            return
        values = {
            language: bits_per_byte(loss, size)
            for language, loss, size in zip(self.languages, losses, self.bytes, strict=True)
        }
        record = {
            "step": step,
            "bits_per_byte": values,
            "mean": means(values, self.roles),
            "distance": moved,
            "relative_distance": moved / length,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        shown = ", ".join(f"{language} {value:.3f}" for language, value in values.items())
        log.info("step %d, bits per byte of held-out text: %s; moved %.4f", step, shown, moved)


def _documents(texts: list[list[str]], tokenizer: PreTrainedTokenizerFast) -> list[tuple[int, NDArray[np.int64]]]:
    """Each text with the number of its language, begun as benchmarks begin it, so that its first token counts too."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    documents = []
    for number, group in enumerate(texts):
        for encoding in tokenizer.backend_tokenizer.encode_batch(group, add_special_tokens=False):
            documents.append((number, np.asarray([start, *encoding.ids], dtype=np.int64)))
    return documents


def distance(engine: Engine, base: Weights) -> tuple[float, float]:
    """How far all weights together are from the base's, and how long the base's are (Euclidean, in fp32)."""
    owner = owners({name: whole_size(parameter) for name, parameter in engine.parameters.items()}, engine.place.ranks)
    squares = [0.0, 0.0]
    for name in engine.parameters:
        value = engine.read(name, WEIGHT)
        if value is None or owner[name] != engine.place.rank:
            continue
        start = base.read(name, value.shape).flatten()
        for now, then in zip(torch.split(value.flatten(), SLICE), torch.split(start, SLICE), strict=True):
            then = then.to(now).double()
            squares[0] += float((now - then).square().sum())
            squares[1] += float(then.square().sum())
    moved, length = engine.place.sum(squares)
    return math.sqrt(moved), math.sqrt(length)

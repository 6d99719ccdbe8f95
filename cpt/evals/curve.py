"""Evaluation during training: bits per byte of some held-out text, and the distance of the weights from the base's.

It shows forgetting and recovery as curves, and does not influence the training.
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
from cpt.train.checkpoint import tensor_owners
from cpt.train.engines.engine import WEIGHT
from cpt.train.hooks import Hook, Session, StepRecord, TrainingEngine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)


SLICE = 2**22
"""Numbers compared at a time, to bound memory."""


def points(steps: int, at: Sequence[float], every: int | None) -> set[int]:
    """Steps after which to evaluate: given shares of the training, and multiples of `every`."""
    return {round(share * steps) for share in at} | (set(range(0, steps + 1, every)) if every else set())


def beginning(texts: list[str], size: int) -> list[str]:
    """The first `size` bytes of the texts; the last text is cut at a character."""
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
    """Writes `curve.jsonl`: one line per evaluated step."""

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
        dist, missing = session.engine.dist, False
        if dist.is_main:
            known = [record for record in read_lines(self.path) if record["step"] <= session.step]
            write_lines(self.path, known)
            missing = session.step not in {record["step"] for record in known}
        if dist.any(missing):
            self._measure(session.step)

    def after_step(self, record: StepRecord) -> None:
        self._measure(record.step)

    def _measure(self, step: int) -> None:
        if step not in self.points or self._batch is None:
            return
        engine = self.session.engine
        losses = engine.losses(self._batch, len(self.languages))
        moved, length = distance(engine, self.base)
        if not engine.dist.is_main:
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
    """Each text with the index of its language; behind a start token, so that its first token counts too."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    documents = []
    for number, group in enumerate(texts):
        for encoding in tokenizer.backend_tokenizer.encode_batch(group, add_special_tokens=False):
            documents.append((number, np.asarray([start, *encoding.ids], dtype=np.int64)))
    return documents


def distance(engine: TrainingEngine, base: Weights) -> tuple[float, float]:
    """Euclidean distance of all weights from the base's, and the norm of the base's, in fp32."""
    owner = tensor_owners(engine)
    squares = [0.0, 0.0]
    for name in engine.parameters:
        value = engine.read(name, WEIGHT)
        if value is None or owner[name] != engine.dist.rank:
            continue
        start = base.read(name, value.shape).flatten()
        for current, initial in zip(torch.split(value.flatten(), SLICE), torch.split(start, SLICE), strict=True):
            initial = initial.to(current).double()
            squares[0] += float((current - initial).square().sum())
            squares[1] += float(initial.square().sum())
    moved, length = engine.dist.sum(squares)
    return math.sqrt(moved), math.sqrt(length)

"""What a run will take, before it runs: tokens, steps, time, disk. Pure functions of settings and counts.

What is stated here about sizes and files errs on the large side: it is held against a quota.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cpt.config import StudyConfig
from cpt.train.ledger import training_flops

STEPS_RATIO = (0.7, 1.4)
"""Planned over published steps outside this range is flagged."""


@cache
def _published() -> dict[tuple[str, str, str], int]:
    """Steps of the study's evaluated checkpoints (arXiv 2504.04152), multiples of 500."""
    with Path(__file__).with_name("published_steps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    arms = ("mono", "mono+code", "bi", "bi+code")
    return {(row["model"], row["langcat"], arm): int(row[arm]) for row in rows for arm in arms}


def published_steps(config: StudyConfig) -> int | None:
    """Steps of the study's own run at this point, where there is one and the budgets are its own."""
    if config.mixing.budget_factor != 1.0:
        return None
    arm = config.data_mix.name + ("+code" if config.code else "")
    return _published().get((config.model.name, config.lang_category.name, arm))


def steps_flag(ratio: float | None) -> str:
    """`low` or `high` when a plan is far from the published steps."""
    if ratio is None:
        return ""
    return "low" if ratio < STEPS_RATIO[0] else "high" if ratio > STEPS_RATIO[1] else ""


def tokens_of(amounts: dict[str, int], unit: str, tokens_per_word: dict[str, float]) -> int:
    """Model tokens in an amount of text by language, under stated assumptions."""
    default = tokens_per_word["default"]
    if unit == "tokens":  # of a named tokenizer, taken to be as many as the model's own
        return sum(amounts.values())
    return round(sum(words * tokens_per_word.get(code, default) for code, words in amounts.items()))


def steps_of(epoch_tokens: int, epochs: float, global_batch: int, length: int) -> int:
    return math.ceil(epoch_tokens * epochs / (global_batch * length))


def minutes_of(config: StudyConfig, steps: int) -> float | None:
    """Training time of one slot, where its sustained speed is known; an unknown device has no estimate."""
    speed = config.hardware.sustained_tflops
    if not speed:
        return None
    tokens = steps * config.train.global_batch * config.train.sequence_length
    return training_flops(round(config.model.parameters), tokens) / (speed * 1e12) / 60


@dataclass(frozen=True)
class Room:
    """What something takes of a disk: bytes, and files with the folders they are in."""

    bytes: int = 0
    files: int = 0

    def __add__(self, other: Room) -> Room:
        return Room(self.bytes + other.bytes, self.files + other.files)

    def __mul__(self, times: int) -> Room:
        return Room(self.bytes * times, self.files * times)

    def beyond(self, other: Room) -> Room:
        """What is needed where the other is there already."""
        return Room(max(self.bytes - other.bytes, 0), max(self.files - other.files, 0))

    def most(self, other: Room) -> Room:
        return Room(max(self.bytes, other.bytes), max(self.files, other.files))


NOTHING = Room()

BYTES_A_TOKEN = 5
"""Of a shard: a token is 2 or 4 bytes, and a little is known of every document."""
BYTES_A_WORD = 8
"""Of kept text, compressed; or of a token, where the budget is in tokens."""
BYTES_A_STEP = 1_000
"""Of a step's line in the log, and of its mirror."""
BYTES_A_UNIT, BYTES_A_TOY_UNIT = 500_000, 20_000
"""Of a language, direction and protocol of a benchmark: its questions with the answers, compressed, and its scores."""
TOKENIZER_BYTES = 20_000_000
FILES_PER_RUN = 40
"""Frozen configuration, markers, logs, results, tokenizer files, the tracking folder, and what its jobs leave."""
FILES_PER_SHARD = 9
"""With its folder and its lock."""
FILES_PER_TEXT = 6
MODEL_FILE_BYTES = 4 * 10**9
CHECKPOINT_FILE_BYTES = 2 * 2**30
"""As cpt/train/export.py and cpt/train/checkpoint.py cut them."""


def model_room(parameters: float) -> Room:
    """A model as it is trained for: bf16, whatever it is trained in."""
    size = round(2 * parameters)
    return Room(size, math.ceil(size / MODEL_FILE_BYTES) + 2)


def checkpoint_room(parameters: float, processes: int, moments: bool = True) -> Room:
    """Weights and two moments in fp32; every process has files of its own for its share, and one of random numbers."""
    kinds = (4, 8) if moments else (4,)
    files = sum(math.ceil(size * parameters / processes / CHECKPOINT_FILE_BYTES) for size in kinds) + moments
    return Room(round(sum(kinds) * parameters), files * processes + 2)


@dataclass(frozen=True)
class RunRoom:
    """What a run's folder takes of the disk."""

    running: Room
    """At its most while it trains: a checkpoint is written before an older one goes, the model beside the others."""
    stopped: Room
    """While it waits to go on."""
    after: Room
    """Once it is finished: the model, the weights of checkpoints that stay for good, logs and results."""

    @property
    def peak(self) -> Room:
        return self.running.most(self.after)


def run_room(config: StudyConfig, steps: int, results: Room, processes: int) -> RunRoom:
    """Of a run that trains; logs and results are counted from the start."""
    train, parameters = config.train, config.model.parameters
    saves = max(math.ceil(steps / train.save_every), 1)
    for_good = 0
    if train.keep_every:
        for_good = steps // math.lcm(train.save_every, train.keep_every)
        # The last step is saved whatever its number.
        for_good += steps % train.save_every > 0 and steps % train.keep_every == 0
    one, model = checkpoint_room(parameters, processes), model_room(parameters)
    stopped = one * min(saves, for_good + train.keep_last)
    running = (one * min(saves, for_good + train.keep_last + 1)).most(stopped + model)
    after = model + checkpoint_room(parameters, processes, moments=False) * for_good
    return RunRoom(running + results, stopped + results, after + results)


def results_room(scale: str, steps: int, units: int, processes: int) -> Room:
    """What a run keeps beside its model; every process that evaluates has a file of its own for each unit."""
    size = BYTES_A_STEP * steps
    size += BYTES_A_TOY_UNIT * units if scale == "toy" else BYTES_A_UNIT * units + TOKENIZER_BYTES
    return Room(size, FILES_PER_RUN + units * (processes + 1))

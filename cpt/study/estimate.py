"""What a run will take, before it runs: tokens, steps, time, disk. Pure functions of settings and counts."""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path

from cpt.config import StudyConfig
from cpt.train.ledger import training_flops

STEPS_RATIO = (0.7, 1.4)
"""Planned over published steps outside this range is flagged."""


@cache
def _published() -> dict[tuple[str, str, str], int]:
    """Steps of the study's evaluated checkpoints (arXiv 2504.04152), multiples of 500."""
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
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


def disk_bytes(config: StudyConfig, epoch_tokens: int) -> int:
    """Peak of one run: shards, and the checkpoints (weights and two moments in fp32) that stay, beside a new one."""
    shards = epoch_tokens * 4
    return round(shards + config.model.parameters * 12 * (config.train.keep_last + 1))


BYTES_A_TOKEN = 5
"""Of a shard: a token is 2 or 4 bytes, and a little is known of every document."""
FILES_PER_RUN = 20
"""Frozen configuration, markers, logs, results, model and tokenizer files, and the tracking folder."""
FILES_PER_SHARD = 7

"""A run's folder: the paths of its files, and which stages are finished.

runs/<study>/<name>-<key>/
    config.yaml     saved configuration        status.json    where it is now
    prepare.done train.done evaluate.done      markers, each written last
    metrics.jsonl   one line a step            ledger.json    what it consumed
    curve.jsonl     bits per byte in training  checkpoints/   while it trains
    items/          questions and answers      evals.jsonl    scores unit by unit
    scores/         scores item by item        results.jsonl  result rows
    model/          weights, tokenizer, card   log.txt        output of its processes
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cpt.files import read_json, write_json
from cpt.saved_config import CONFIG

PREPARE, TRAIN, EVALUATE = STAGES = ("prepare", "train", "evaluate")


@dataclass(frozen=True)
class RunFiles:
    """Paths in a run's folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / CONFIG

    @property
    def categories(self) -> Path:
        """Language categories that a base model is compared in; other runs have no such file."""
        return self.folder / "categories.json"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.json"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def scores(self) -> Path:
        return self.folder / "evals.jsonl"

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def marker(self, stage: str) -> Path:
        return self.folder / f"{stage}.done"

    def read_marker(self, stage: str) -> dict[str, Any]:
        """The facts of a finished stage; empty if there is no marker."""
        path = self.marker(stage)
        return cast("dict[str, Any]", read_json(path)) if path.exists() else {}

    def read_ledger(self) -> dict[str, Any]:
        """What the run consumed, once it is trained."""
        return cast("dict[str, Any]", read_json(self.ledger))

    def results_sha256(self) -> str:
        return hashlib.sha256(self.results.read_bytes()).hexdigest()


@dataclass(frozen=True)
class RunState:
    """Which stages of a run are finished."""

    files: RunFiles
    keys: Mapping[str, Callable[[], str]]
    """The run's key of each stage, computed when it is needed."""

    def done(self, stage: str) -> bool:
        """Whether the stage's marker has this run's key, and its weights exist."""
        facts = self.files.read_marker(stage)
        if not facts:
            return False
        weights = [self.files.model / name for name in facts.get("weights", ())]
        return bool(facts["key"] == self.keys[stage]()) and all(path.exists() for path in weights)

    def finish(self, stage: str, **facts: Any) -> None:
        """Write the stage's marker."""
        write_json(self.files.marker(stage), {"key": self.keys[stage](), **facts})

    @property
    def last_stage(self) -> str:
        """The last finished stage; empty if none is."""
        return next((stage for stage in reversed(STAGES) if self.done(stage)), "")

    @property
    def finished(self) -> bool:
        """Whether all stages are done; damaged result rows are written again from the scores."""
        if not (self.done(EVALUATE) and self.files.results.exists()):
            return False
        return bool(self.files.read_marker(EVALUATE).get("sha256") == self.files.results_sha256())

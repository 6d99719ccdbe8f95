"""Who is compared with us and how one of them is measured: a fresh process, the same task, the same environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpt.processes import ALLOCATOR

HERE = Path(__file__).parent
OWN = "bare", "trainer", "ours"
"""Scripts that run in our environment."""


@dataclass(frozen=True)
class Side:
    """A script of this folder with the settings it is measured under."""

    name: str
    script: str
    checkpointing: bool = False
    allocator: bool = True
    """Whether the allocator is set as our launcher sets it for its workers."""
    chunked: bool = True
    """Whether our loss is made a chunk of positions at a time."""


@dataclass(frozen=True)
class Contest:
    """A peer, and the least that we want to reach of its speed."""

    peer: Side
    target: float | None


OURS = Side("ours", "ours")
WHOLE_LOGITS = Side("ours, all logits at once", "ours", chunked=False)
TRAINER = Contest(Side("transformers Trainer", "trainer"), 1.0)
ON_CPU = (
    Contest(Side("LLaMA-Factory as it comes", "llama_factory", checkpointing=True), 1.3),
    Contest(Side("LLaMA-Factory alike", "llama_factory"), 1.0),
    TRAINER,
    Contest(Side("bare PyTorch loop", "bare"), 0.95),
    Contest(Side("LLaMA-Factory, each as it comes", "llama_factory", checkpointing=True, allocator=False), None),
)
ON_GPU = (TRAINER, Contest(WHOLE_LOGITS, None))


def order(contests: list[Contest], pair: int) -> list[list[Side]]:
    """A round: one measurement of ours stands between two peers and is paired with both.

    Every second round is run backwards, so each peer comes before us as often as after us.
    """
    groups = []
    for first in range(0, len(contests), 2):
        peers = [contest.peer for contest in contests[first : first + 2]]
        group = [peers[0], OURS, *peers[1:]]
        groups.append(group[::-1] if pair % 2 else group)
    return groups[::-1] if pair % 2 else groups


@dataclass
class Stand:
    """Where measurements are taken: the folder with the material, and what all tasks share."""

    folder: Path
    task: dict[str, Any]
    peer_python: Path | None
    sides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each side was, told once."""

    def measure(self, side: Side) -> dict[str, Any]:
        output = self.folder / "measured.json"
        own = {"checkpointing": side.checkpointing, "chunked": side.chunked}
        task = {**self.task, **own, "material": str(self.folder), "output": str(output)}
        (self.folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        output.unlink(missing_ok=True)
        python = sys.executable if side.script in OWN else str(self.peer_python)
        command = [python, str(HERE / f"{side.script}.py"), str(self.folder / "task.json")]
        settings = self._settings(side)
        with (self.folder / "output.txt").open("w+") as said:
            ended = subprocess.run(command, env=_environment() | settings, stdout=said, stderr=said, check=False)  # noqa: S603
        if ended.returncode or not output.exists():
            last = (self.folder / "output.txt").read_text(errors="replace").splitlines()[-15:]
            sys.exit("\n".join([*last, f"{side.name} ended with code {ended.returncode}; its last lines are above"]))
        result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        told: dict[str, Any] = {name: result.pop(name) for name in ("facts", "configuration") if name in result}
        shown = " ".join(f"{name}={value}" for name, value in settings.items() if value != str(self.folder))
        where = "python" if side.script in OWN else "<LLaMA-Factory's environment>/bin/python"
        told["command"] = f"{shown} {where} bench/peers/{side.script}.py task.json"
        told["task"] = {**self.task, **own}
        self.sides.setdefault(side.name, told)
        return result

    def _settings(self, side: Side) -> dict[str, str]:
        settings = {"OMP_NUM_THREADS": str(self.task["threads"]), "TOKENIZERS_PARALLELISM": "false"}
        if self.task["device"] == "cpu":
            settings |= {"CUDA_VISIBLE_DEVICES": "", "USE_CPU": "1"}
        if side.allocator:
            settings["GLIBC_TUNABLES"] = ALLOCATOR
        return settings | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(self.folder)}


def _environment() -> dict[str, str]:
    """Ours, without what measurements must not inherit."""
    return {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "PYTHONPATH")}

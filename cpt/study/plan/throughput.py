"""How fast runs were: read from what they left on disk, so that the next plan need not assume it.

A speed counts for runs of the same model and parameters on hardware of the same name, trained by as many processes
under the same engine, in the same precision and with sequences as long.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # a PyYAML without libyaml, ten times as slow
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

from cpt.config import BenchmarkConfig, StudyConfig
from cpt.errors import UserError
from cpt.files import read_json

MOST_RUNS = 200
"""Earlier runs that are looked at, the newest: a folder of thousands must not hold up a plan."""
SKIPPED, FEWEST = 10, 5
"""Steps at the start that are slower than those to come, and how many must be left behind them."""
TAIL_BYTES = 1 << 18
"""Read of the end of a log: some hundred steps."""


@dataclass(frozen=True)
class Setting:
    """What a training's speed depends on, as far as it is known beforehand."""

    model: str
    parameters: float
    hardware: str
    engine: str
    processes: int
    precision: str
    sequence_length: int

    @classmethod
    def of(cls, config: StudyConfig, processes: int) -> Setting:
        model, hardware, train = config.model, config.hardware, config.train
        return cls(
            model.name,
            float(model.parameters),
            hardware.name,
            hardware.engine,
            processes,
            train.precision,
            train.sequence_length,
        )


@dataclass(frozen=True)
class Asking:
    """What the length of an evaluation depends on."""

    model: str
    parameters: float
    hardware: str
    processes: int
    backend: str
    benchmarks: str

    @classmethod
    def of(cls, config: StudyConfig, processes: int) -> Asking:
        model, hardware = config.model, config.hardware
        benchmarks = _canonical({name: asdict(one) for name, one in config.evals.benchmarks.items()})
        return cls(model.name, float(model.parameters), hardware.name, processes, hardware.backend, benchmarks)


@dataclass(frozen=True)
class Speed:
    """The median of some runs: tokens a second of a training, or seconds a unit of an evaluation."""

    value: float
    runs: int


@dataclass
class Earlier:
    """Speeds of earlier runs, each with the device it was reached on; the newest run is the first."""

    trainings: dict[Setting, list[tuple[str, float]]] = field(default_factory=dict)
    evaluations: dict[Asking, list[tuple[str, float]]] = field(default_factory=dict)

    def training(self, setting: Setting) -> Speed | None:
        return _median(self.trainings.get(setting, []))

    def evaluation(self, asking: Asking) -> Speed | None:
        return _median(self.evaluations.get(asking, []))


def _median(found: list[tuple[str, float]]) -> Speed | None:
    """Of the device that was used last: one name of hardware may have stood for another machine before."""
    devices = [device for device, _ in found if device]
    same = [value for device, value in found if not devices or device in ("", devices[0])]
    return Speed(statistics.median(same), len(same)) if same else None


def earlier_runs(runs: Path) -> Earlier:
    """What the runs of all studies in a folder have measured. Whatever cannot be read measures nothing."""
    earlier = Earlier()
    for folder in _newest(runs):
        try:
            config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=Loader)
            _add_training(earlier, folder, config)
            _add_evaluation(earlier, folder, config)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, UserError):
            continue
    return earlier


def _newest(runs: Path) -> Iterator[Path]:
    """Folders of runs that have been at work, the newest first."""
    seen: list[tuple[float, Path]] = []
    for study in _folders(runs):
        for folder in _folders(study):
            for name in ("evaluate.done", "metrics.jsonl"):
                try:
                    seen.append(((folder / name).stat().st_mtime, folder))
                    break
                except OSError:
                    continue
    return (folder for _, folder in sorted(seen, reverse=True)[:MOST_RUNS])


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _add_training(earlier: Earlier, folder: Path, config: dict[str, Any]) -> None:
    speed = tokens_per_second(folder / "metrics.jsonl")
    where = _where(folder)
    if speed is None or where is None:
        return
    model, hardware, train = config["model"], config["hardware"], config["train"]
    setting = Setting(
        model["name"],
        float(model["parameters"]),
        hardware["name"],
        where.get("engine") or hardware["engine"],
        int(where["processes"]),
        train["precision"],
        int(train["sequence_length"]),
    )
    earlier.trainings.setdefault(setting, []).append((where.get("device") or "", speed))


def _where(folder: Path) -> dict[str, Any] | None:
    """By how many processes a run is trained: its ledger says so once it is finished, its checkpoints before."""
    if (folder / "ledger.json").exists():
        ledger: dict[str, Any] = read_json(folder / "ledger.json")
        return ledger
    for path in sorted(folder.glob("checkpoints/step-*/checkpoint.json"), reverse=True):
        return {"processes": read_json(path)["processes"]}
    return None


def tokens_per_second(metrics: Path) -> float | None:
    """The median of the latest steps in a training's log; none where there are too few behind the first ones."""
    if not metrics.exists():
        return None
    with metrics.open("rb") as file:
        begin = max(metrics.stat().st_size - TAIL_BYTES, 0)
        file.seek(begin)
        lines = file.read().split(b"\n")
    # The first line may have been cut into, and the last one is not whole while it is being written.
    steps = [json.loads(line) for line in lines[1 if begin else 0 : -1]]
    rates = [step["tokens_per_second"] for step in steps if step["step"] > SKIPPED]
    return statistics.median(rates) if len(rates) >= FEWEST else None


def _add_evaluation(earlier: Earlier, folder: Path, config: dict[str, Any]) -> None:
    if not (folder / "evaluate.done").exists():
        return
    facts = read_json(folder / "evaluate.done")
    if not facts.get("seconds") or not facts.get("asked"):
        return
    model, hardware = config["model"], config["hardware"]
    benchmarks = {name: asdict(BenchmarkConfig(**one)) for name, one in config["evals"]["benchmarks"].items()}
    asking = Asking(
        model["name"],
        float(model["parameters"]),
        hardware["name"],
        int(facts["processes"]),
        facts["backend"],
        _canonical(benchmarks),
    )
    a_unit = facts["seconds"] / len(facts["asked"])
    earlier.evaluations.setdefault(asking, []).append((facts.get("device") or "", a_unit))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)

"""The throughput of earlier runs, measured from what they left on disk, so that the next plan need not assume it.

A measurement applies to runs of the same model and parameters on hardware of the same name, trained by as many
processes under the same engine, in the same precision and with sequences of the same length.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cpt.config import BenchmarkConfig, StudyConfig
from cpt.errors import UserError
from cpt.files import read_json
from cpt.saved_config import CONFIG, read_yaml

MOST_RUNS = 200
"""The newest runs that are read: a folder of thousands must not delay a plan."""
WARMUP_STEPS, FEWEST_STEPS = 10, 5
"""The first steps of a training, which are slower, and the fewest steps after them that give a measurement."""
TAIL_BYTES = 1 << 18
"""How much of the end of a log is read: some hundred steps."""


@dataclass(frozen=True)
class TrainingSetting:
    """The settings that determine the throughput of a training."""

    model: str
    parameters: float
    hardware: str
    engine: str
    processes: int
    precision: str
    sequence_length: int

    @classmethod
    def of(cls, config: StudyConfig, processes: int) -> TrainingSetting:
        hardware = vars(config.hardware)
        return cls.read(vars(config.model), hardware, vars(config.train), hardware["engine"], processes)

    @classmethod
    def read(
        cls, model: Mapping[str, Any], hardware: Mapping[str, Any], train: Mapping[str, Any], engine: str, count: int
    ) -> TrainingSetting:
        """From the sections of a configuration, on `count` processes."""
        size, length = float(model["parameters"]), int(train["sequence_length"])
        return cls(model["name"], size, hardware["name"], engine, count, train["precision"], length)


@dataclass(frozen=True)
class EvaluationSetting:
    """The settings that determine how long an evaluation takes."""

    model: str
    parameters: float
    hardware: str
    processes: int
    backend: str
    benchmarks: str

    @classmethod
    def of(cls, config: StudyConfig, processes: int) -> EvaluationSetting:
        hardware = vars(config.hardware)
        return cls.read(vars(config.model), hardware, config.evals.benchmarks, hardware["backend"], processes)

    @classmethod
    def read(
        cls,
        model: Mapping[str, Any],
        hardware: Mapping[str, Any],
        benchmarks: Mapping[str, BenchmarkConfig],
        backend: str,
        count: int,
    ) -> EvaluationSetting:
        """From the sections of a configuration, on `count` processes."""
        text = json.dumps({name: asdict(settings) for name, settings in benchmarks.items()}, sort_keys=True)
        return cls(model["name"], float(model["parameters"]), hardware["name"], count, backend, text)


@dataclass(frozen=True)
class Speed:
    """The median over some runs: tokens per second of a training, or seconds per unit of an evaluation."""

    value: float
    runs: int

    @property
    def source(self) -> str:
        return f"measured ({self.runs} {'run' if self.runs == 1 else 'runs'})"


Measurements = list[tuple[str, float]]
"""Speeds with the device of each, the newest run first."""


@dataclass
class Throughput:
    """Speeds of earlier runs by setting."""

    trainings: dict[TrainingSetting, Measurements] = field(default_factory=dict)
    evaluations: dict[EvaluationSetting, Measurements] = field(default_factory=dict)

    def training(self, setting: TrainingSetting) -> Speed | None:
        return _median(self.trainings.get(setting, []))

    def evaluation(self, setting: EvaluationSetting) -> Speed | None:
        return _median(self.evaluations.get(setting, []))


def _median(measurements: Measurements) -> Speed | None:
    """Of the newest device: the same name of hardware may have been another machine before."""
    devices = [device for device, _ in measurements if device]
    same = [value for device, value in measurements if not devices or device in ("", devices[0])]
    return Speed(statistics.median(same), len(same)) if same else None


def measured_throughput(runs: Path) -> Throughput:
    """The throughput of the runs of all studies in a folder. Runs that cannot be read are skipped."""
    throughput = Throughput()
    for folder in _newest(runs):
        try:
            config = read_yaml(folder / CONFIG)
            _add_training(throughput, folder, config)
            _add_evaluation(throughput, folder, config)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, UserError):
            continue
    return throughput


def _newest(runs: Path) -> Iterator[Path]:
    """Folders of runs that were evaluated or have trained, the newest first."""
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


def _add_training(throughput: Throughput, folder: Path, config: dict[str, Any]) -> None:
    speed, facts = tokens_per_second(folder / "metrics.jsonl"), _training_facts(folder)
    if speed is None or facts is None:
        return
    model, hardware, train = config["model"], config["hardware"], config["train"]
    engine = facts.get("engine") or hardware["engine"]
    setting = TrainingSetting.read(model, hardware, train, engine, int(facts["processes"]))
    throughput.trainings.setdefault(setting, []).append((facts.get("device") or "", speed))


def _training_facts(folder: Path) -> dict[str, Any] | None:
    """The number of training processes, from the ledger of a finished run or the checkpoints of another."""
    if (folder / "ledger.json").exists():
        ledger: dict[str, Any] = read_json(folder / "ledger.json")
        return ledger
    for path in sorted(folder.glob("checkpoints/step-*/checkpoint.json"), reverse=True):
        return {"processes": read_json(path)["processes"]}
    return None


def tokens_per_second(metrics: Path) -> float | None:
    """The median of the latest steps in a training's log; None if there are too few after the first ones."""
    if not metrics.exists():
        return None
    with metrics.open("rb") as file:
        begin = max(metrics.stat().st_size - TAIL_BYTES, 0)
        file.seek(begin)
        lines = file.read().split(b"\n")
    # The first line may be cut, and the last one is incomplete while it is being written.
    steps = [json.loads(line) for line in lines[1 if begin else 0 : -1]]
    rates = [step["tokens_per_second"] for step in steps if step["step"] > WARMUP_STEPS]
    return statistics.median(rates) if len(rates) >= FEWEST_STEPS else None


def _add_evaluation(throughput: Throughput, folder: Path, config: dict[str, Any]) -> None:
    if not (folder / "evaluate.done").exists():
        return
    facts = read_json(folder / "evaluate.done")
    if not facts.get("seconds") or not facts.get("asked"):
        return
    benchmarks = {name: BenchmarkConfig(**one) for name, one in config["evals"]["benchmarks"].items()}
    processes = int(facts["processes"])
    setting = EvaluationSetting.read(config["model"], config["hardware"], benchmarks, facts["backend"], processes)
    per_unit = facts["seconds"] / len(facts["asked"])
    throughput.evaluations.setdefault(setting, []).append((facts.get("device") or "", per_unit))

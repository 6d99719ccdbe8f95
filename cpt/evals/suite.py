"""An evaluation: the chosen benchmarks' units one by one, each kept in a journal as soon as it is scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.config import BenchmarkConfig
from cpt.evals.benchmark import Benchmark, Score, Unit
from cpt.evals.bpb import BitsPerByte
from cpt.evals.flores200 import Flores200
from cpt.evals.sib200 import Sib200
from cpt.files import file_hash, read_lines

if TYPE_CHECKING:
    from cpt.evals.scorer import Scorer

BENCHMARKS: dict[str, type[Benchmark]] = {"bpb": BitsPerByte, "sib200": Sib200, "flores200": Flores200}
"""Every benchmark by the name of its file in conf/evals/."""
FOLDERS = {"bpb": "heldout", "sib200": "sib200", "flores200": "flores200"}
"""Which key of `paths` says where a benchmark's files are."""
VERSION = 1
"""Raised when a benchmark's scoring changes, so that no older score is taken for a newer one."""


@dataclass(frozen=True)
class Suite:
    """The chosen benchmarks with their folders, in a fixed order."""

    benchmarks: dict[str, Benchmark]
    settings: dict[str, BenchmarkConfig]
    folders: dict[str, Path]
    bootstrap: int

    @classmethod
    def of(cls, settings: dict[str, BenchmarkConfig], folders: dict[str, Path], bootstrap: int) -> Suite:
        made = {name: BENCHMARKS[name](settings[name], folders[name], bootstrap) for name in settings}
        return cls(made, settings, folders, bootstrap)

    def units(self, languages: list[str]) -> tuple[list[Unit], list[Unit]]:
        """Units whose files are there, and those whose files are not."""
        units = [unit for benchmark in self.benchmarks.values() for unit in benchmark.units(languages)]
        missing = [u for u in units if not all(path.exists() for path in self.benchmarks[u.task].files(u))]
        lacking = set(missing)
        return [unit for unit in units if unit not in lacking], missing

    def key(self, unit: Unit) -> str:
        """Settings, content of the files, and scoring of a unit, in one hash."""
        files = [file_hash(path) for path in self.benchmarks[unit.task].files(unit)]
        settings = {k: v for k, v in asdict(self.settings[unit.task]).items() if k != "protocol"}
        variant = self.benchmarks[unit.task].variant(unit)
        parts = [VERSION, asdict(unit), settings, self.bootstrap, files, variant]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def evaluate(
    suite: Suite,
    languages: list[str],
    scorer: Callable[[], Scorer],
    journal: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Score every unit that the journal does not hold yet. The model is loaded only if one is missing."""
    units, _ = suite.units(languages)
    keys = {unit: suite.key(unit) for unit in units}
    _mend(journal)
    known = known_scores(journal)
    loaded: Scorer | None = None
    for index, unit in enumerate(units):
        if keys[unit] not in known:
            loaded = loaded or scorer()
            scores = suite.benchmarks[unit.task].score(unit, loaded)
            record = {"key": keys[unit], "unit": asdict(unit), "scores": [asdict(score) for score in scores]}
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        progress(index + 1, len(units))


def known_scores(journal: Path) -> dict[str, list[Score]]:
    """What a journal holds, by the key of its unit."""
    return {record["key"]: [Score(**score) for score in record["scores"]] for record in read_lines(journal)}


def _mend(journal: Path) -> None:
    """Cut the journal at a line that is not whole, which a kill or a damaged disk left; what stood behind is redone."""
    if not journal.exists():
        return
    whole = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        try:
            json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        whole += len(line)
    with journal.open("r+b") as file:
        file.truncate(whole)

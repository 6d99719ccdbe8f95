"""Skips writing a report and its plots if nothing that they are made from has changed since they were written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cpt.errors import UserError
from cpt.files import file_hash, read_json, write_json
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.save import FORMATS_VARIABLE, STYLE
from cpt.results.report.page import REPORT

RECORD = ".report.json"
"""In a study's folder: the digest of the inputs of its report, and the files that were written."""
INPUTS = (
    *("*/config.yaml", "*/status.json", "*/ledger.json", "*/metrics.jsonl", "*/curve.jsonl", "*/results.jsonl"),
    *(
        "*/*.done",
        "*/categories.json",
        "*/scores/*",
        "plan.csv",
        "effects.csv",
        "forgetting.csv",
        "best.csv",
        STYLE,
        f"../{STYLE}",
    ),
)
"""The files of a study that a report is made from."""
CODE = ("*.py", "*.csv", "*.j2", "*.css", "*.js", "*.mplstyle")


def write_if_changed(
    results: StudyResults, study: Path, write: Callable[[StudyResults, Path], tuple[Path, list[Path]]]
) -> tuple[Path, list[Path]]:
    """The page and the plots, written by `write` unless they are there and all inputs are the same."""
    inputs = inputs_digest(results, study)
    if (written := _written(study, inputs)) is not None:
        return written
    page, plots = write(results, study)
    files = [path.relative_to(study).as_posix() for path in plots]
    write_json(study / RECORD, {"inputs": inputs, "page": file_hash(page), "plots": files})
    return page, plots


def _written(study: Path, inputs: str) -> tuple[Path, list[Path]] | None:
    page = study / REPORT
    try:
        record = read_json(study / RECORD)
        plots = [study / name for name in record["plots"]]
        same = record["inputs"] == inputs and record["page"] == file_hash(page) and all(path.exists() for path in plots)
    except (OSError, UserError, KeyError, TypeError):
        return None  # never written, removed, or damaged
    return (page, plots) if same else None


def inputs_digest(results: StudyResults, study: Path) -> str:
    """A hash over the content of a study, its saved tables, the versions of the software and its code."""
    digest = hashlib.sha256(repr((results.name, results.provenance, os.environ.get(FORMATS_VARIABLE))).encode())
    for path in _files(study):
        digest.update(f"{path}:{file_hash(path)}\n".encode())
    return digest.hexdigest()


def _files(study: Path) -> Iterator[Path]:
    for pattern in INPUTS:
        yield from sorted(study.glob(pattern))
    package = Path(__file__).parents[2]
    for pattern in CODE:
        yield from sorted(package.rglob(pattern))

"""The last stage of a study: compute its results once, save them, write the report and plots, and send the mirror."""

from __future__ import annotations

import gc
import platform
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from cpt.errors import some
from cpt.files import read_json
from cpt.git import commit_of
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.save import write_plots
from cpt.results.output.published_comparison import print_beside, study_beside, write_beside
from cpt.results.output.terminal import print_answer, print_comparison, print_plain
from cpt.results.report.page import write_page
from cpt.results.tracking.base import Identity, describe
from cpt.results.tracking.comparison_run import ComparisonArtifacts, axes_of, comparison_artifacts
from cpt.results.tracking.destinations import destinations, resolve_mode
from cpt.results.tracking.upload import comparison_changed, send_comparison
from cpt.study.compare.forgetting_table import current_forgetting
from cpt.study.compare.mirror_identity import comparison_of, tracking_of
from cpt.study.compare.unchanged_report import write_if_changed
from cpt.study.state.run import Run
from cpt.study.state.run_status import read_status

PACKAGES = ("torch", "transformers", "tokenizers", "sacrebleu", "hydra-core", "numpy")
"""Packages whose versions the report states."""
TITLES = {"rows": "Rows", "forgetting": "Forgetting", "effects": "Effects"}


def conclude(study: Path, console: Console) -> list[str]:
    """Write comparison and report from what is on disk; returns the ids of runs that failed or were stopped."""
    # Rows and cells are millions of objects without cycles: garbage collection would take a sixth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _conclude(study, console)
    finally:
        if collecting:
            gc.enable()


def _conclude(study: Path, console: Console) -> list[str]:
    results = StudyResults.compute(study, current_forgetting, provenance())
    saved = results.save(study)
    report, plots = write_if_changed(results, study, _write_report)
    published = study_beside(results)
    print_comparison(results, console)
    print_answer(results, console)
    print_beside(study.name, published, console)
    for name, title in TITLES.items():
        if name in saved:
            print_plain(console, f"{title}: {saved[name]}")
    if path := write_beside(study, published):
        print_plain(console, f"Comparison with the published numbers: {path}")
    print_plain(console, f"Report: {report}")
    if plots:
        print_plain(console, f"Plots: {plots[0].parent}, {len(plots)} files")
    mirror_comparison(results, study, console)
    if skipped := skipped_units(study):
        console.print(f"Not measured, as their files are missing: {some(skipped)}", soft_wrap=True)
    return _failed(study, console)


def _write_report(results: StudyResults, study: Path) -> tuple[Path, list[Path]]:
    return write_page(results, study), write_plots(results, study)


def _failed(study: Path, console: Console) -> list[str]:
    """Print and return the runs that failed or were stopped."""
    statuses = [read_status(path.parent) for path in sorted(study.glob("*/status.json"))]
    ended = [status for status in statuses if status is not None and status.state in ("failed", "stopped")]
    for status in ended:
        message = f"{status.state} {status.run_id}: {status.error}"
        console.print(message, highlight=False, markup=False, soft_wrap=True)
    if ended:
        console.print("Launching again retries failed runs, resumes stopped ones and leaves the others as they are.")
    return [status.run_id for status in ended]


def skipped_units(study: Path) -> list[str]:
    """Benchmarks and languages that the runs of a study could not be measured on."""
    markers = [read_json(path) for path in sorted(study.glob("*/evaluate.done"))]
    return sorted({unit for marker in markers for unit in marker["skipped"]})


def provenance() -> dict[str, str]:
    """Versions of the software that makes the report."""
    commit = commit_of(Path(__file__).parents[3])
    return ({"commit of the code that compared": commit} if commit else {}) | {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def mirror_comparison(results: StudyResults, study: Path, console: Console) -> None:
    """Send the comparison to the mirror that the study's runs were sent to; a failure is printed and stops nothing."""
    try:
        folder = min((path.parent for path in study.glob("*/config.yaml")), default=None)
        if folder is None:
            return
        mode = resolve_mode(tracking_of(folder).mode, lambda message: None)  # the launch of the runs printed it
        artifacts = comparison_artifacts(results, study) if mode != "none" else None
        if artifacts is None:
            return
        [destination, *_] = destinations(mode, study.parent)
        if not comparison_changed(study, artifacts, tracking_of(folder), destination):
            return
        try:
            send_comparison(study, artifacts, comparison_identity(folder, artifacts), destination)
        except BaseException:
            destination.abandon()
            raise
    except Exception as error:
        text = f"The comparison was not mirrored ({describe(error)}); `cpt sync {study.name}` sends it."
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def comparison_identity(folder: Path, artifacts: ComparisonArtifacts) -> Identity:
    """The identity of a study's comparison; `folder` is that of any run, as all share what identifies it."""
    return comparison_of(Run.from_folder(folder), axes_of(artifacts.rows), provenance())

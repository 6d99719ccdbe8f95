"""A report is written again exactly if something that it is made from has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from study_folder import row, write_losses, write_run

from cpt.results.analysis.study_results import StudyResults
from cpt.study.compare.unchanged_report import RECORD, write_if_changed


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "toy"
    for run_id, value in (("L3-Base-00000001", 0.5), ("L3-Mono-Alt-00000002", 0.7)):
        write_run(folder, run_id, [row(run_id, "zul_Latn", value), row(run_id, "xho_Latn", value)])
    return folder


def written(study: Path, provenance: str = "1") -> bool:
    """Whether the report was written this time."""
    calls: list[Path] = []

    def write(results: StudyResults, folder: Path) -> tuple[Path, list[Path]]:
        calls.append(folder)
        page, plot = folder / "report.html", folder / "plots" / "loss.svg"
        plot.parent.mkdir(exist_ok=True)
        page.write_text("page", encoding="utf-8")
        plot.write_text("plot", encoding="utf-8")
        return page, [plot]

    results = StudyResults.read(study, provenance={"torch": provenance})
    page, plots = write_if_changed(results, study, write)
    assert (page, plots) == (study / "report.html", [study / "plots" / "loss.svg"])
    return bool(calls)


def test_a_report_is_written_once(study: Path) -> None:
    assert written(study)
    assert not written(study)


@pytest.mark.parametrize(
    "change",
    [
        lambda study: write_losses(study / "L3-Mono-Alt-00000002", [(1, 2.0)]),
        lambda study: (study / "L3-Mono-Alt-00000002" / "results.jsonl").write_bytes(
            (study / "L3-Base-00000001" / "results.jsonl").read_bytes()
        ),
        lambda study: (study / "effects.csv").write_text("model\n", encoding="utf-8"),
        lambda study: (study / "plan.csv").write_text("run\n", encoding="utf-8"),
        lambda study: (study.parent / "plots.mplstyle").write_text("font.size: 9\n", encoding="utf-8"),
        lambda study: (study / "report.html").write_text("edited", encoding="utf-8"),
        lambda study: (study / "plots" / "loss.svg").unlink(),
        lambda study: (study / RECORD).write_text("{", encoding="utf-8"),
        lambda study: write_run(study, "L3-Bi-Alt-00000003", [row("L3-Bi-Alt-00000003", "zul_Latn", 0.6)]),
    ],
)
def test_any_change_writes_it_again(study: Path, change: Callable[[Path], object]) -> None:
    assert written(study)
    change(study)
    assert written(study)
    assert not written(study)


def test_other_software_writes_it_again(study: Path) -> None:
    assert written(study, "1")
    assert written(study, "2")

"""What `cpt status` says of folders whose processes are gone, slow, or were cut off while writing."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cpt.cli import main as cpt
from cpt.study.stages import evaluating
from cpt.study.status import Status, read_status, write_status


def test_a_damaged_status_is_shown_and_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "toy"
    write_status(study / "L3-Bi-Alt-1", Status("L3-Bi-Alt", "L3-Bi-Alt-1", "finished"))
    (study / "L3-Mono-Alt-2").mkdir()
    (study / "L3-Mono-Alt-2/status.json").write_text("null")
    (study / ".lock").touch()
    assert read_status(study / "L3-Mono-Alt-2") is None
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(tmp_path), "status"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "1 finished, 1 unreadable" in shown
    assert "L3-Mono-Alt-2" in shown


@pytest.mark.parametrize(("stage", "state", "goes_on"), [("evaluate", "running", True), ("prepare", "failed", False)])
def test_a_process_waits_for_the_first_of_its_own_start(tmp_path: Path, stage: str, state: str, goes_on: bool) -> None:
    """What an earlier start left in the status is not taken for this one's; one that has ended ends the waiting."""
    write_status(tmp_path, Status("r", "r-1", "running", "evaluate", attempt="earlier"))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(evaluating, tmp_path, "now")
        time.sleep(0.3)
        assert not waiting.done()
        write_status(tmp_path, Status("r", "r-1", state, stage, attempt="now"))
        assert waiting.result(timeout=10) is goes_on

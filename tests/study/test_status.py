"""What `cpt status` says of folders whose processes are gone, slow, or were cut off while writing."""

from pathlib import Path

import pytest

from cpt.cli import main as cpt
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

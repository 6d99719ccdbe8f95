"""The command line `cpt`: every verb has a file, a line in the help, its own help, and completion of names."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from cpt.cli import VERBS, main

ALL = [name for verbs in VERBS.values() for name in verbs]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_every_file_is_a_verb_and_every_verb_a_file() -> None:
    files = {path.stem for path in (ROOT / "cpt" / "commands").glob("*.py")}
    assert sorted(files - {"__init__", "arguments"}) == sorted(ALL)


@pytest.mark.parametrize("verb", ALL)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(capsys, verb, "--help")
    assert code == 0
    assert f"Usage: cpt {verb} " in said


def test_the_help_names_verbs_in_groups_and_imports_none_of_them() -> None:
    imported = "[name for name in sys.modules if name.split('.')[0] in ('torch', 'pandas', 'transformers', 'wandb')]"
    code = f"import sys, atexit; atexit.register(lambda: print({imported})); from cpt.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for panel, verbs in VERBS.items():
        assert panel in done.stdout
        assert all(f" {name} " in done.stdout for name in verbs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stauts"], "cpt: No such command 'stauts'"),
        (["best", "toy"], "cpt best: Missing option '--for'"),
        (["logs", "--lines", "0"], "cpt logs: Invalid value for '--lines'"),
        (["sync", "--to", "elsewhere"], "cpt sync: Invalid value for '--to'"),
        (["data", "burn"], "cpt data: Invalid value for"),
        (["table", "--means", "--languages"], "table: --means and --languages exclude each other; choose one"),
        (
            ["--runs", "/no/such", "status"],
            "/no/such: no study there; launch one, or name the folder with --runs",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, *arguments)
    assert code == 2
    assert said.startswith(message)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("cpt sta", ["status"]),
        ("cpt status ", ["pilot", "toy"]),
        ("cpt logs toy L3", ["L3-Bi-Alt-1", "L3-Mono-Alt-1"]),
        ("cpt compare pilot/", ["pilot/L2-Bi-Alt-1"]),
        ("cpt sync --to ", ["trackio", "wandb"]),
    ],
)
def test_verbs_studies_and_runs_are_completed(
    line: str, choices: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("toy/L3-Bi-Alt-1", "toy/L3-Mono-Alt-1", "pilot/L2-Bi-Alt-1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
        (tmp_path / "runs" / name).with_name(".lock").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_CPT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert sorted(run(capsys)[1].split()) == choices

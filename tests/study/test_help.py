"""`--help`, `--info`, `--cfg` and completion show the groups of conf/ and sweeps/, and read nothing else."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, run_command
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType

Answer = Callable[..., str]

GROUPS = sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "local")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Answer:
    """What `launch.py` prints from any folder, while Hydra lists only folders of configurations."""
    listed: list[Path] = []
    list_folder = FileConfigSource.list

    def listing(source: FileConfigSource, config_path: str, kind: ObjectType | None) -> list[str]:
        listed.append(Path(source.path) / config_path)
        return list_folder(source, config_path, kind)

    def printed(*arguments: str) -> str:
        monkeypatch.setattr(FileConfigSource, "list", listing)
        monkeypatch.chdir(tmp_path)
        with suppress(SystemExit):
            run_command(monkeypatch, *arguments)
        allowed = (ROOT / "conf", ROOT / "sweeps", tmp_path)
        assert [path for path in listed if not any(path.is_relative_to(folder) for folder in allowed)] == []
        return capsys.readouterr().out

    return printed


def test_the_help_names_every_group_with_its_choices(answer: Answer) -> None:
    text = answer("--help")
    words = " ".join(text.split())
    for group in [*GROUPS, ROOT / "sweeps"]:
        choices = sorted(path.stem for path in group.glob("*.yaml"))
        assert f": {', '.join(choices)}" in words, group.name
        assert f"\n  {group.name} " in text
    assert "$" not in text.replace('"$(python', "")
    assert len(text.splitlines()) < 60


def test_other_answers_are_as_quick(answer: Answer) -> None:
    assert "hydra/launcher: " in answer("--hydra-help")
    assert "global_batch: 4" in answer("--cfg", "job")
    answer("--info", "all")


def test_groups_keys_and_choices_are_completed(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", f"python launch.py {line}")
        return answer("-sc", "query=bash").split()

    assert completed("model=") == ["model=l2", "model=l3", "model=v7"]
    assert completed("-m sweeps=pa") == ["sweeps=paper36"]
    assert "train.lr=" in completed("train.")
    assert {"cleaning=", "sweeps=", "seed="} <= set(completed(""))


def test_a_folder_of_ones_own_adds_choices(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "langcat").mkdir()
    (tmp_path / "langcat" / "mine.yaml").write_text("# @package lang_category\nname: mine\n")
    assert ": alt, mine, sel, stag" in answer("--config-dir", str(tmp_path), "--help")
    assert "name: mine" in answer("--config-dir", str(tmp_path), "langcat=mine", "--cfg", "job")

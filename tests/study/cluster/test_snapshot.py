"""A job runs the code that its study was submitted with, whatever has become of the checkout since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cpt.errors import UserError
from cpt.study.cluster.snapshot import take_snapshot
from cpt.study.cluster.submission import setup_lines

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    "cpt/__init__.py": "",
    "cpt/__main__.py": "from cpt.words import WORD\n\nprint(WORD)\n",
    "cpt/words.py": (
        "from pathlib import Path\n\n"
        "WORD = (Path(__file__).resolve().parents[1] / 'conf' / 'config.yaml').read_text() + ' of the code submitted'\n"
    ),
    "hydra_plugins/cpt_study/__init__.py": "",
    "hydra_plugins/other/__init__.py": "",
    "conf/config.yaml": "word",
    "sweeps/one.yaml": "one",
    "launch.py": "launch",
    "evaluate.py": "evaluate",
    "pyproject.toml": "[project]",
    "README.md": "not for jobs",
    ".gitignore": "/runs/\n/conf/local/\n__pycache__/\n",
    "runs/toy/status.json": "{}",
    "conf/local/default.yaml": "site: here",
    "conf/.env": "KEY=hunter2",
    "cpt/__pycache__/words.cpython-311.pyc": "cache",
}
HELD = {name for name in FILES if name.startswith(("cpt/", "hydra_plugins/", "conf/", "sweeps/"))}
HELD = {name for name in HELD if "local" not in name and ".env" not in name and "__pycache__" not in name}
HELD |= {"launch.py", "evaluate.py", "pyproject.toml"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout as small as one can be."""
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


@pytest.fixture
def repository(project: Path) -> Path:
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", "--all")
    git(project, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "all")
    return project


def git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout.strip()


def held(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def facts(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "SNAPSHOT.json").read_text())
    return found


def test_a_job_imports_the_snapshot_after_the_checkout_has_changed(project: Path, tmp_path: Path) -> None:
    code = take_snapshot(project / "runs" / "toy", project)
    (project / "cpt" / "words.py").write_text("WORD = 'of the code as it is now'\n")
    (project / "conf" / "config.yaml").write_text("changed")

    def said(command: str, cwd: Path) -> str:
        return subprocess.run(["bash", "-c", command], cwd=cwd, check=True, capture_output=True, text=True).stdout

    start = f"'{sys.executable}' -m cpt"
    job = "\n".join([*setup_lines(code), start])
    for cwd in (tmp_path, project, project / "cpt"):  # a job starts where its study was submitted
        assert said(job, cwd) == "word of the code submitted\n"
    # Without it Python has the installed checkout, this one.
    where = "import cpt.study.compose.hydra_errors as found; print(found.__file__)"
    assert said(f'"{sys.executable}" -c "{where}"', tmp_path).strip() == str(ROOT / "cpt/study/compose/hydra_errors.py")


def test_this_project_s_code_finds_its_configuration_in_a_snapshot(tmp_path: Path) -> None:
    code = take_snapshot(tmp_path / "runs" / "toy")
    found = "import cpt.study.compose.hydra_errors as m, cpt.languages as l; print(m.CONF / 'config.yaml', l.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(code)}
    command = [sys.executable, "-c", found]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(code / "conf" / "config.yaml"), str(code / "cpt" / "languages.py")]
    assert (code / "conf" / "config.yaml").read_bytes() == (ROOT / "conf" / "config.yaml").read_bytes()


def test_the_same_code_is_copied_once(repository: Path, tmp_path: Path) -> None:
    study = tmp_path / "runs" / "toy"
    first = take_snapshot(study, repository)
    written = (first / "SNAPSHOT.json").stat().st_mtime_ns
    assert first.parent == study / ".jobs"
    assert take_snapshot(study, repository) == first
    (repository / "conf" / "config.yaml").write_text("other")
    second = take_snapshot(study, repository)
    assert second != first
    (repository / "conf" / "config.yaml").write_text("word")
    assert take_snapshot(study, repository) == first
    assert (first / "SNAPSHOT.json").stat().st_mtime_ns == written
    assert {path.name for path in first.parent.iterdir()} == {first.name, second.name}


def test_it_holds_the_code_as_it_is_now_and_says_what_is_not_committed(repository: Path, tmp_path: Path) -> None:
    (repository / "cpt" / "words.py").write_text("WORD = 'uncommitted'\n")
    (repository / "cpt" / "new.py").write_text("NEW = 1\n")
    (repository / "conf" / ".netrc").write_text("password hunter2")
    (repository / "conf" / ".env").write_text("KEY=hunter3")
    (repository / "README.md").write_text("hunter4")
    (repository / "sweeps" / "one.yaml").unlink()
    code = take_snapshot(tmp_path / "runs" / "toy", repository)
    changed = (HELD | {"cpt/new.py", "SNAPSHOT.json", "changes.diff"}) - {"sweeps/one.yaml"}
    assert held(code) == changed
    assert (code / "cpt" / "words.py").read_text() == "WORD = 'uncommitted'\n"
    told = facts(code)
    assert told["commit"] == git(repository, "rev-parse", "HEAD")
    assert (told["branch"], told["changed"]) == ("main", True)
    diff = (code / "changes.diff").read_text()
    assert "+WORD = 'uncommitted'" in diff
    assert diff.endswith("not in git: cpt/new.py\n")
    assert not any("hunter" in (code / name).read_text() for name in held(code))


def test_a_clean_checkout_is_called_clean(repository: Path, tmp_path: Path) -> None:
    code = take_snapshot(tmp_path / "runs" / "toy", repository)
    assert facts(code)["changed"] is False
    assert (code / "changes.diff").read_text() == ""


@pytest.mark.parametrize("missing", ["repository", "git", "answer"])
def test_without_git_s_word_it_holds_all_but_caches_and_hidden_files(
    missing: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if missing != "repository":
        request.getfixturevalue("repository")
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if missing == "answer":
        slow = tmp_path / "bin" / "git"
        slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
        slow.chmod(0o755)
        monkeypatch.setattr("cpt.git.SECONDS", 0.2)
    code = take_snapshot(tmp_path / "runs" / "toy", project)
    assert held(code) == HELD | {"conf/local/default.yaml", "SNAPSHOT.json"}
    told = facts(code)
    assert (told["commit"], told["branch"], told["changed"]) == (None, None, None)


@pytest.mark.parametrize("around", [False, True])
def test_of_a_package_among_others_it_holds_what_is_ours(repository: Path, tmp_path: Path, around: bool) -> None:
    """Installed, for example into a virtual environment in somebody's own repository."""
    (repository / "pyproject.toml").unlink()
    if around:
        packages = repository / "runs" / "site-packages"
        for name in ("cpt", "hydra_plugins", "conf"):
            shutil.copytree(repository / name, packages / name)
    else:
        packages = repository
    code = take_snapshot(tmp_path / "runs" / "toy", packages)
    ours = {name for name in HELD if name.startswith(("cpt/", "hydra_plugins/cpt_study/"))}
    assert held(code) - {"changes.diff"} == ours | {"SNAPSHOT.json"}


def test_one_that_lost_a_file_is_made_anew(project: Path, tmp_path: Path) -> None:
    code = take_snapshot(tmp_path / "runs" / "toy", project)
    whole = held(code)
    (code / "cpt" / "words.py").unlink()
    (code / "cpt" / "__pycache__").mkdir()
    assert take_snapshot(tmp_path / "runs" / "toy", project) == code
    assert held(code) == whole
    (code / "SNAPSHOT.json").unlink()
    take_snapshot(tmp_path / "runs" / "toy", project)
    assert held(code) == whole


def test_a_launch_that_is_killed_leaves_nothing_that_is_used(project: Path, tmp_path: Path) -> None:
    study = tmp_path / "runs" / "toy"
    killed = (
        "import os, sys; from pathlib import Path; from cpt.study.cluster.snapshot import take_snapshot;"
        "Path.rename = lambda *_: os._exit(9); take_snapshot(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    assert subprocess.run([sys.executable, "-c", killed, study, project], check=False).returncode == 9
    assert not list((study / ".jobs").glob("code-*"))
    assert held(take_snapshot(study, project)) == HELD | {"conf/local/default.yaml", "SNAPSHOT.json"}


def test_launches_at_the_same_moment_share_one(project: Path, tmp_path: Path) -> None:
    study, start, made = tmp_path / "runs" / "toy", threading.Barrier(8), []

    def launch() -> None:
        start.wait()
        made.append(take_snapshot(study, project))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert {path.name for path in (study / ".jobs").iterdir()} == {path.name for path in made} == {made[0].name}
    assert held(made[0]) == HELD | {"conf/local/default.yaml", "SNAPSHOT.json"}


@pytest.mark.parametrize("tracked", [False, True])
def test_a_link_out_of_the_project_is_refused(project: Path, tmp_path: Path, tracked: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.yaml").write_text("a")
    (project / "conf" / "mine.yaml").symlink_to(tmp_path / "elsewhere" / "a.yaml")
    if tracked:
        git(project, "init", "--quiet")
        git(project, "add", "--all")
    with pytest.raises(UserError, match=r"mine\.yaml: a link"):
        take_snapshot(tmp_path / "runs" / "toy", project)
    (project / "conf" / "mine.yaml").unlink()
    (project / "conf" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="more: a link"):
        take_snapshot(tmp_path / "runs" / "toy", project)

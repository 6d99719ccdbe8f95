"""A copy of the code in the study's folder: jobs may wait in the queue for days while people edit the checkout."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cpt.errors import UserError
from cpt.files import write_json, write_text
from cpt.git import NAMES, git

PROJECT = Path(__file__).resolve().parents[3]
INSTALLED = ("cpt", "hydra_plugins/cpt_study")
"""Folders of the code where the package is installed beside others, whose `conf` is not ours."""
FACTS, CHANGES = "SNAPSHOT.json", "changes.diff"
PACKAGES = (
    *("torch", "deepspeed", "transformers", "tokenizers", "safetensors", "numpy", "datasets", "lm-eval"),
    *("hydra-core", "hydra-submitit-launcher", "submitit"),
)


def take_snapshot(study: Path, project: Path = PROJECT) -> Path:
    """Copy the current code to the study's folder, or reuse an earlier copy of the same code.

    The copy is built under another name and renamed; it counts as complete only if its files have the hash in its name.
    So a killed launch or a clean-up of old files cannot leave an incomplete snapshot that is used.
    """
    files = _files(project)
    tree = _hash(files)
    folder = study.resolve() / ".jobs" / f"code-{tree[:8]}"
    if _complete(folder, tree):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        for name, content in files.items():
            path = building / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        changes = _changes(project)
        if changes is not None:
            write_text(building / CHANGES, changes)
        write_json(building / FACTS, _facts(project, tree, changes))
        building.chmod(0o755)
        _rename(building, folder, tree)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _rename(building: Path, folder: Path, tree: str) -> None:
    for last in (False, True):
        try:
            building.rename(folder)
            return
        except OSError:  # it exists already, from a launch at the same time, or damaged
            if _complete(folder, tree):
                return
            if last:
                raise
            shutil.rmtree(folder, ignore_errors=True)


def _complete(folder: Path, tree: str) -> bool:
    return (folder / FACTS).exists() and _hash(_read(folder, _walk(folder, NAMES))) == tree


def _hash(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()


def _files(project: Path) -> dict[str, bytes]:
    """Files of a snapshot by name: in a git checkout those that are not ignored, otherwise all but caches."""
    if not (project / "pyproject.toml").exists():
        return _read(project, _walk(project, INSTALLED))
    listed = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *NAMES)
    names = {name for name in (listed or "").split("\0") if name and not _hidden(Path(name))}
    if "cpt/__init__.py" not in names:  # no repository, or an unrelated one that contains this folder
        return _read(project, _walk(project, NAMES))
    existing = [path for path in map(project.joinpath, sorted(names)) if path.is_file() or path.is_symlink()]
    return _read(project, [str(path.relative_to(project)) for path in existing])


def _walk(project: Path, names: tuple[str, ...]) -> list[str]:
    paths: list[Path] = []
    for name in names:
        path = project / name
        paths += (
            [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file() or inner.is_symlink()]
        )
    relative = [path.relative_to(project) for path in paths]
    return sorted(str(path) for path in relative if not _hidden(path))


def _hidden(path: Path) -> bool:
    """Whether a path is a cache or hidden; files with secrets are usually hidden."""
    return path.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _read(project: Path, names: list[str]) -> dict[str, bytes]:
    root, files = project.resolve(), {}
    for name in names:
        path = project / name
        if path.is_dir() or not path.resolve().is_relative_to(root):
            raise UserError(f"{path}: a link; jobs get a copy of the code, so replace the link by what it points to")
        files[name] = path.read_bytes()
    return files


def _facts(project: Path, tree: str, changes: str | None) -> dict[str, Any]:
    commit = git(project, "rev-parse", "HEAD") if changes is not None else None
    branch = git(project, "rev-parse", "--abbrev-ref", "HEAD") if changes is not None else None
    return {
        "tree": tree,
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit and commit.strip(),
        "branch": branch and branch.strip(),
        "changed": bool(changes) if changes is not None else None,
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _changes(project: Path) -> str | None:
    """The diff of the code to its commit, for people to read; None outside a git checkout."""
    ours = [*NAMES, ":(exclude,glob)**/.*", ":(exclude,glob)**/.*/**"]
    diff = git(project, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--relative", "--", *ours)
    new = git(project, "ls-files", "-z", "--others", "--exclude-standard", "--", *ours)
    known = git(project, "ls-files", "-z", "--cached", "--", "cpt/__init__.py")
    if diff is None or new is None or not known:
        return None
    return diff + "".join(f"not in git: {name}\n" for name in new.split("\0") if name)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

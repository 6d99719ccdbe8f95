"""The versions for a cluster's image follow from the tested ones by a rule.

python tests/test_installing.py > constraints-cluster.txt   # after constraints.txt has changed
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OF_THE_IMAGE = ("torch", "numpy")
"""What an image has built for its own hardware, and what its compiled packages were built with. Not deepspeed: some
versions train differently and say nothing, and the engine uses none of its compiled parts."""
HEADER = """\
# For a virtual environment over an image that has a torch of its own (docs/clusters.md): constraints.txt without torch,
# all that it requires, and numpy, so that pip has no reason to replace them.
# Made by `python tests/test_installing.py`.
"""


def required(names: tuple[str, ...]) -> set[str]:
    """These packages and all that they require, as installed here."""
    found: set[str] = set()
    todo = [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        try:
            wanted = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # for another kind of machine
            continue
        todo += [canonicalize_name(item.name) for item in wanted if not item.marker or item.marker.evaluate()]
    return found


def for_a_cluster() -> str:
    theirs = required(OF_THE_IMAGE)
    lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    return HEADER + "".join(line for line in lines if canonicalize_name(line.split("==")[0]) not in theirs)


def test_the_constraints_for_a_cluster_are_the_tested_versions_without_the_image_s() -> None:
    told = "constraints-cluster.txt is not up to date: python tests/test_installing.py > constraints-cluster.txt"
    assert (ROOT / "constraints-cluster.txt").read_text() == for_a_cluster(), told


def test_what_the_image_s_packages_need_of_others_stays_the_image_s() -> None:
    theirs = required(OF_THE_IMAGE)
    assert {"torch", "numpy", "sympy", "filelock", "typing-extensions"} <= theirs
    assert not {"deepspeed", "transformers", "tokenizers", "safetensors", "submitit", "hydra-core"} & theirs


def test_over_an_image_ours_comes_first_and_what_only_it_has_is_found(tmp_path: Path) -> None:
    """By the steps of docs/clusters.md, for an image that is itself a virtual environment."""
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    image, ours = tmp_path / "image", tmp_path / "ours"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", image], check=True)
    (image / packages / "only_the_image_s.py").write_text("")
    (image / packages / "of_both.py").write_text("")
    over = ["-m", "venv", "--without-pip", "--system-site-packages", str(ours)]
    subprocess.run([image / "bin" / "python", *over], check=True)
    (ours / packages / "of_both.py").write_text("")
    found = "import only_the_image_s as a, of_both as b; print(a.__file__); print(b.__file__)"

    def where(pythonpath: str = "") -> list[str]:
        command, environment = [str(ours / "bin/python"), "-c", found], {**os.environ, "PYTHONPATH": pythonpath}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return [Path(line).parents[3].name for line in done.stdout.split()]

    assert where() == []  # what the image has is not below its Python
    (ours / packages / "image.pth").write_text(f"{image / packages}\n")
    assert where() == ["image", "ours"]
    assert where(str(image / packages)) == ["image", "image"]  # as images do it, which hides what was installed


if __name__ == "__main__":
    print(for_a_cluster(), end="")

"""Versions of what a study rests on, against the oldest and newest ones that the project says it works with."""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cpt.doctor.check_result import Result

SHOWN = (
    "torch",
    "transformers",
    "deepspeed",
    "flash-attn",
    "hydra-core",
    "hydra-submitit-launcher",
    "submitit",
    "wandb",
    "lm-eval",
    "sacrebleu",
)
"""Packages with a line of their own; of others only what is wrong is said."""
NAME = "cpt-study"


@dataclass(frozen=True)
class Package:
    """What is required of a package, and what is installed."""

    name: str
    required: str
    """As in `>=2.6`; empty for one that another brings along."""
    installed: str | None
    optional: bool = False

    @property
    def fits(self) -> bool:
        # An image's own build may be called 2.7.0a0+git: a pre-release by name, and what there is.
        return self.installed is not None and SpecifierSet(self.required).contains(self.installed, prereleases=True)


def stated(root: Path) -> list[tuple[Requirement, bool]]:
    """What pyproject.toml asks for, and whether it is optional; of an installed package, what its metadata says."""
    file = root / "pyproject.toml"
    if file.exists():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        requirements = [(Requirement(text), False) for text in project["dependencies"]]
        requirements += [(Requirement(text), True) for text in project.get("optional-dependencies", {}).get("gpu", [])]
    else:
        both = [Requirement(text) for text in metadata.requires(NAME) or []]
        requirements = [(item, "extra" in str(item.marker or "")) for item in both if _of(item, "gpu")]
    return [(item, optional) for item, optional in requirements if _of(item, "gpu")]


def python_asked(root: Path) -> str:
    file = root / "pyproject.toml"
    if file.exists():
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["requires-python"])
    return str(metadata.metadata(NAME)["Requires-Python"])


def _of(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages(root: Path) -> list[Package]:
    """Every package that is asked for, and those shown that others bring along."""
    required = [
        Package(item.name, str(item.specifier), installed(item.name), optional) for item, optional in stated(root)
    ]
    known = {package.name for package in required}
    return required + [Package(name, "", installed(name)) for name in SHOWN if name not in known]


def check_version(every: list[Package]) -> list[Result]:
    """A line for each package shown, and one for all others."""
    by_name = {package.name: package for package in every}
    lines = [_result(by_name[name]) for name in SHOWN if name in by_name]
    others = [package for package in every if package.name not in SHOWN and not package.optional]
    if wrong := [package for package in others if not package.fits]:
        return lines + [_result(package) for package in wrong]
    return [*lines, Result("other packages", "ok", f"{len(others)} of {len(others)} as the project asks")]


def _result(package: Package) -> Result:
    if package.fits:
        return Result(package.name, "ok", str(package.installed))
    missing = package.installed is None
    detail = "not installed" if missing else f"{package.installed}, the project asks for {package.required}"
    requirement = f"'{package.name}{package.required}'"
    if package.optional:
        where = "needed on GPUs alone, and optional there: torch's own kernels are used without it"
        return Result(
            package.name, "ok" if missing else "warn", detail, where if missing else f"pip install {requirement}"
        )
    if package.name == "torch":
        where = "on a cluster choose a container or module with such a torch, elsewhere"
        return Result(package.name, "fail", detail, f"{where} pip install {requirement}")
    return Result(package.name, "fail", detail, f"pip install {requirement}, in the environment of this Python")


def here(root: Path) -> list[Result]:
    """Python, and the packages that this Python finds."""
    version, required = platform.python_version(), python_asked(root)
    fits = SpecifierSet(required).contains(version, prereleases=True)
    advice = "" if fits else f"make the virtual environment with a Python {required}"
    return [Result("python", "ok" if fits else "fail", version, advice), *check_version(packages(root))]

"""The GPUs that a machine has against those that torch sees: facts first, then what to make of them.

Torch is asked by another process: its import can take long, crash, or hang with a driver, and this one must say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpt.doctor.check_result import Result, redact

TORCH_SECONDS = 60.0
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
CONTAINERS = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "APPTAINER_NAME", "SINGULARITY_NAME")
GUIDE = "docs/clusters.md"
_ASK = """
import json, sys, torch
facts = {"version": torch.__version__, "file": torch.__file__, "cuda": torch.version.cuda, "hip": torch.version.hip}
facts["devices"] = []
if torch.cuda.is_available():
    facts["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    try:
        import flash_attn
    except ModuleNotFoundError as error:
        if error.name != "flash_attn":
            facts["flash"] = str(error)
    except Exception as error:
        facts["flash"] = str(error)
json.dump(facts, sys.__stdout__)
"""


@dataclass(frozen=True)
class Machine:
    """What the system says about GPUs and where Python runs."""

    nvidia: int = 0
    amd: int = 0
    visible: int = 0
    """Of these, as many as the environment lets a process see."""
    hiding: dict[str, str] = field(default_factory=dict)
    """Variables of the environment that choose among them."""
    container: str | None = None
    environment: str | None = None
    """The virtual environment Python runs in."""


@dataclass(frozen=True)
class Torch:
    """What torch says; or, where it says nothing, what became of it."""

    version: str = ""
    file: str = ""
    cuda: str | None = None
    hip: str | None = None
    devices: tuple[str, ...] = ()
    broken: str = ""
    flash: str = ""
    """Why flash-attn is there and cannot be imported."""


def this_machine() -> Machine:
    """GPUs by the files that their drivers make, whatever a library thinks of them."""
    from cpt.machine import amd_gpus, gpus, nvidia_gpus

    return Machine(
        nvidia=nvidia_gpus(),
        amd=amd_gpus(),
        visible=len(gpus()),
        hiding={name: os.environ[name] for name in HIDING if name in os.environ},
        container=next((os.environ[name] for name in CONTAINERS if os.environ.get(name)), None),
        environment=sys.prefix if sys.prefix != sys.base_prefix else None,
    )


def ask_torch(seconds: float = TORCH_SECONDS) -> Torch:
    """Torch's own view, from a process that may crash or hang without harm."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Torch(broken=f"importing it, or asking it for GPUs, takes longer than {seconds:.0f} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
        killed = f"killed by signal {-done.returncode}; " if done.returncode < 0 else ""
        return Torch(broken=f"cannot be imported: {killed}{redact(last)}")
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return Torch(**facts | {"devices": tuple(facts["devices"])})


def check_gpu(machine: Machine, torch: Torch) -> list[Result]:
    """Whether torch was built for the GPUs that are here, and sees them."""
    if torch.broken:
        return [Result("GPUs", "fail", f"torch {torch.broken}", _why_broken(torch.broken))]
    build = f"HIP {torch.hip}" if torch.hip else f"CUDA {torch.cuda}" if torch.cuda else "CPU only"
    build_text = f"torch {torch.version} ({build})"
    here = _here(machine)
    if not machine.nvidia + machine.amd:
        return [Result("GPUs", "ok", f"none here; {build_text}")]
    if machine.amd and not torch.hip and not (machine.nvidia and torch.cuda):
        return [_unfit(machine, torch, f"{here}; {build_text}, without HIP", "ROCm")]
    if machine.nvidia and not torch.cuda and not (machine.amd and torch.hip):
        return [_unfit(machine, torch, f"{here}; {build_text}, without CUDA", "CUDA")]
    seen = len(torch.devices)
    detail = f"{here}; {build_text} sees {seen}{_names(torch.devices)}"
    chosen = ", ".join(f"{name}={value}" for name, value in machine.hiding.items())
    if not seen and chosen and not machine.visible:
        return [
            Result("GPUs", "warn", f"{detail}; {chosen}", "they are hidden on purpose; unset the variable to use them")
        ]
    if not seen:
        return [Result("GPUs", "fail", detail, _unseen(machine))]
    if seen < machine.visible:
        advice = (
            f"look at {chosen or 'the driver (rocm-smi, nvidia-smi)'}; a GPU that is lost needs a reboot of the node"
        )
        return [Result("GPUs", "warn", detail, advice)]
    flash = "it was built for another torch: build it anew, or remove it and do without"
    broken = [Result("flash-attn", "fail", redact(torch.flash), flash)] if torch.flash else []
    return [Result("GPUs", "ok", detail), *broken]


def _here(machine: Machine) -> str:
    counts = {"NVIDIA": machine.nvidia, "AMD": machine.amd}
    return " and ".join(f"{number} {maker} GPU{'s' * (number > 1)} here" for maker, number in counts.items() if number)


def _names(devices: tuple[str, ...]) -> str:
    return f": {', '.join(dict.fromkeys(devices))}" if devices else ""


def _unfit(machine: Machine, torch: Torch, detail: str, kind: str) -> Result:
    """Torch is of another kind than the GPUs: on a cluster nearly always because of a virtual environment."""
    mine = machine.environment and Path(torch.file).is_relative_to(machine.environment)
    if machine.container and mine:
        detail += f", and lies in the virtual environment {machine.environment}"
        advice = (
            "the virtual environment hides the container's torch: make it with --system-site-packages and install "
            f"without torch ({GUIDE})"
        )
    elif mine:
        advice = (
            f"run in the cluster's container or module, whose torch is built for {kind}, with a virtual environment "
        )
        advice += f"made by its Python with --system-site-packages; or install torch for {kind} ({GUIDE})"
    else:
        advice = f"choose a container, module or wheel of torch built for {kind} ({GUIDE})"
    return Result("GPUs", "fail", detail, advice)


def _unseen(machine: Machine) -> str:
    device = "/dev/kfd and /dev/dri (groups render, video)" if machine.amd else "/dev/nvidia*"
    flag = "--rocm" if machine.amd else "--nv"
    inside = f"start the container with {flag}" if machine.container else f"see that your account may open {device}"
    return f"{inside}; see that the driver is as new as torch's build asks"


def _why_broken(broken: str) -> str:
    if "longer than" in broken:
        return "a slow file system (squash the virtual environment), or a driver that hangs (rocm-smi, nvidia-smi)"
    return f"install torch again in this environment, or mend what the message names ({GUIDE})"

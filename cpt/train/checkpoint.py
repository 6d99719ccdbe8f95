"""Checkpoints: whole or not there, checked when read, and of no engine or number of processes in particular.

checkpoints/step-00000500/
    weights-000-00.safetensors    fp32 weights that process 0 kept
    moments-000-00.safetensors    the optimizer's moments of the same
    random-000.safetensors        state of process 0's random numbers
    checkpoint.json               what it is, and each file's size and sum; written last

Every tensor is stored whole under its name, so a run may go on under another engine or on other machines. Each process
writes its share of them, and the folder gets its name when all are done.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cpt.errors import UserError
from cpt.files import read_json, write_json
from cpt.keys import key_of
from cpt.train.engines.base import MOMENTS, WEIGHT, Engine
from cpt.train.speed import whole_size

log = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"
FILE_BYTES = 2 * 2**30
"""A process hands over to the disk what it holds of a checkpoint when it is so much."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run."""

    folder: Path
    fingerprint: str
    """Of data and settings; a checkpoint of another fingerprint is refused."""
    keep_last: int = 2
    keep_every: int | None = None
    """Checkpoints at multiples of so many steps stay, without the optimizer's state once the run is finished."""

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps there is a checkpoint of, whole or not."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def save(self, engine: Engine, step: int) -> None:
        """Keep the state after `step` steps, then forget those that the rule does not keep."""
        place, partial = engine.place, self.folder / f".step-{step:08d}.part"
        if place.main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        place.wait()
        files = write_share(engine, partial, {"weights": (WEIGHT,), "moments": MOMENTS})
        name = f"random-{place.rank:03d}.safetensors"
        files[name] = write_tensors(partial / name, _random_state())
        write_json(partial / f".files-{place.rank:03d}.json", files)
        place.wait()
        if place.main:
            listed: dict[str, Any] = {}
            for path in sorted(partial.glob(".files-*.json")):
                listed |= read_json(path)
                path.unlink()
            facts = {"step": step, "fingerprint": self.fingerprint, "processes": place.ranks}
            _write_manifest(partial, {**facts, "files": listed})
            shutil.rmtree(self.path(step), ignore_errors=True)
            partial.replace(self.path(step))
            _sync_folder(self.folder)
            self._forget(step)
        place.wait()

    def _forget(self, newest: int) -> None:
        kept = {step for step in self.steps() if self.keep_every and step % self.keep_every == 0}
        kept |= set([step for step in self.steps() if step <= newest][-self.keep_last :])
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self.path(step))
        for path in self.folder.glob(".step-*.part"):  # of a save that was killed
            shutil.rmtree(path)

    def resume(self, engine: Engine) -> int:
        """Put the newest whole checkpoint into the engine. Returns its step, 0 where there is none.

        The first process chooses, for others may see an older listing of a shared folder; all must find it whole.
        """
        place, tried = engine.place, set[int]()
        while True:
            left = [step for step in self.steps() if step not in tried] if place.main else []
            step = round(place.sum([float(left[-1]) if left else 0.0])[0])
            if not step:
                return 0
            if self._whole(engine, step):
                self._load(engine, step)
                return step
            tried.add(step)

    def _whole(self, engine: Engine, step: int) -> bool:
        """Whether a checkpoint is as it was written; the processes share the reading of its files."""
        folder, place = self.path(step), engine.place
        manifest = _read_manifest(folder)
        foreign = manifest is not None and manifest["fingerprint"] != self.fingerprint
        if place.any(foreign):
            reason = "it is of other data, another mix or other settings"
            raise UserError(f"{folder} belongs to another run ({reason}); remove it to begin anew")
        if manifest is None:
            wrong = [MANIFEST]
        else:
            mine = sorted(manifest["files"])[place.rank :: place.ranks]
            wrong = [name for name in mine if _seal(folder / name) != manifest["files"][name]]
        for name in wrong:
            log.error("%s: not there, or not as it was written", folder / name)
        if place.any(bool(wrong)):
            log.error("CHECKPOINT %s IS DAMAGED: the one before it is used, or training begins anew", folder)
            return False
        if stripped := not (manifest or {}).get("moments", True):
            log.info("%s is of weights alone: training cannot go on from it", folder)
        return not stripped

    def _load(self, engine: Engine, step: int) -> None:
        folder = self.path(step)
        loaded = set()
        for name, tensor in _tensors(sorted(folder.glob("*-*-*.safetensors"))):
            part, _, parameter = name.partition(":")
            if parameter not in engine.parameters:
                raise UserError(f"{folder} holds {parameter}, which this model has not; it is of another model")
            engine.write(parameter, part, tensor)
            loaded.add(name)
        if missing := {f"{part}:{name}" for name in engine.parameters for part in (WEIGHT, *MOMENTS)} - loaded:
            raise UserError(f"{folder} lacks {sorted(missing)[0]}; it is of another model")
        engine.set_updates(step)
        place = engine.place
        if (_read_manifest(folder) or {})["processes"] == place.ranks:
            _restore_random(dict(_tensors([folder / f"random-{place.rank:03d}.safetensors"])))

    def finish(self) -> None:
        """The final model is there and verified: what could only go on training is removed."""
        for step in self.steps():
            if not (self.keep_every and step % self.keep_every == 0):
                shutil.rmtree(self.path(step))
                continue
            facts = _read_manifest(self.path(step)) or {"step": step, "files": {}}
            facts["files"] = {name: seal for name, seal in facts["files"].items() if name.startswith("weights")}
            facts["moments"] = False
            _write_manifest(self.path(step), facts)
            for path in self.path(step).glob("*.safetensors"):
                if path.name not in facts["files"]:
                    path.unlink()
        if self.folder.exists() and not self.steps():
            shutil.rmtree(self.folder)


def _write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """The facts and their own sum, so that a changed digit of them is noticed too."""
    write_json(folder / MANIFEST, {**facts, "sum": key_of(facts)})


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The facts, where they are as they were written."""
    try:
        facts = read_json(folder / MANIFEST)
        return facts if facts.pop("sum") == key_of(facts) else None
    except (UserError, OSError, KeyError, AttributeError, TypeError):
        return None


def owners(sizes: dict[str, int], ranks: int) -> dict[str, int]:
    """Which process writes each tensor: the one that has least to write so far."""
    loads, result = [0] * ranks, {}
    for name, size in sizes.items():
        rank = loads.index(min(loads))
        loads[rank] += size
        result[name] = rank
    return result


def write_share(engine: Engine, folder: Path, kinds: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Write this process's share of the engine's tensors, a few files of each kind; all processes gather together."""
    place = engine.place
    owner = owners({name: whole_size(parameter) for name, parameter in engine.parameters.items()}, place.ranks)
    files: dict[str, Any] = {}
    for kind, parts in kinds.items():
        held: dict[str, Tensor] = {}

        def flush(kind: str = kind, held: dict[str, Tensor] = held) -> None:
            if held:
                name = f"{kind}-{place.rank:03d}-{sum(n.startswith(kind) for n in files):02d}.safetensors"
                files[name] = write_tensors(folder / name, held)
                held.clear()

        for name in engine.parameters:
            for part in parts:
                value = engine.read(name, part)
                if value is not None and owner[name] == place.rank:
                    held[f"{part}:{name}"] = value.float().contiguous().cpu()
            if sum(tensor.numel() * 4 for tensor in held.values()) > FILE_BYTES:
                flush()
        flush()
    return files


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Write a safetensors file through to the disk. Returns its size and sum, read back."""
    save_file(tensors, path, metadata={"format": "pt"})
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    return _seal(path)


def _seal(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        return {"bytes": 0, "sha256": type(error).__name__}


def _tensors(paths: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_random(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])

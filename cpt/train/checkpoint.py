"""Checkpoints: atomic, verified when read, independent of the engine and the world size.

checkpoints/step-00000500/
    weights-000-00.safetensors    fp32 weights that rank 0 writes
    moments-000-00.safetensors    their optimizer moments
    random-000.safetensors        rank 0's random-number state
    checkpoint.json               step, fingerprint, and each file's size and checksum; written last

Every tensor is stored whole under its name, so another engine or world size can resume it. Each rank writes its part,
and the folder is renamed into place when all are done.
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
from cpt.run_keys import key_of
from cpt.train.engines.engine import MOMENTS, WEIGHT, Engine
from cpt.train.hooks import TrainingEngine
from cpt.train.speed import full_numel

log = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"
FILE_BYTES = 2 * 2**30
"""Size at which a rank writes the tensors it has gathered to a file."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run."""

    folder: Path
    fingerprint: str
    """Hash of data and settings; a checkpoint with another fingerprint is refused."""
    keep_last: int = 2
    keep_every: int | None = None
    """Also keep checkpoints at multiples of this many steps; they lose the optimizer state when the run finishes."""

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, complete or not."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def save(self, engine: Engine, step: int) -> None:
        """Save the state after `step` steps, then delete older checkpoints by `keep_last` and `keep_every`."""
        dist, partial = engine.dist, self.folder / f".step-{step:08d}.part"
        if dist.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        dist.barrier()
        files = write_shard(engine, partial, {"weights": (WEIGHT,), "moments": MOMENTS})
        name = f"random-{dist.rank:03d}.safetensors"
        files[name] = write_tensors(partial / name, _random_state())
        write_json(partial / f".files-{dist.rank:03d}.json", files)
        dist.barrier()
        if dist.is_main:
            listed: dict[str, Any] = {}
            for path in sorted(partial.glob(".files-*.json")):
                listed |= read_json(path)
                path.unlink()
            facts = {"step": step, "fingerprint": self.fingerprint, "processes": dist.world_size}
            _write_manifest(partial, {**facts, "files": listed})
            shutil.rmtree(self.path(step), ignore_errors=True)
            partial.replace(self.path(step))
            _fsync(self.folder)
            self._delete_old(step)
        dist.barrier()

    def _delete_old(self, newest: int) -> None:
        keep = {step for step in self.steps() if self.keep_every and step % self.keep_every == 0}
        keep |= set([step for step in self.steps() if step <= newest][-self.keep_last :])
        for step in self.steps():
            if step not in keep:
                shutil.rmtree(self.path(step))
        for path in self.folder.glob(".step-*.part"):  # left by a save that was killed
            shutil.rmtree(path)

    def resume(self, engine: Engine) -> int:
        """Load the newest intact checkpoint into the engine. Returns its step, or 0.

        Rank 0 chooses, since others may see an older listing of a shared folder; every rank must find it intact.
        """
        dist, tried = engine.dist, set[int]()
        while True:
            left = [step for step in self.steps() if step not in tried] if dist.is_main else []
            step = round(dist.sum([float(left[-1]) if left else 0.0])[0])
            if not step:
                return 0
            if self._intact(engine, step):
                self._load(engine, step)
                return step
            tried.add(step)

    def _intact(self, engine: Engine, step: int) -> bool:
        """Whether a checkpoint is as it was written; the ranks share the reading of its files."""
        folder, dist = self.path(step), engine.dist
        manifest = _read_manifest(folder)
        foreign = manifest is not None and manifest["fingerprint"] != self.fingerprint
        if dist.any(foreign):
            reason = "its data, mix or settings are different"
            raise UserError(f"{folder} belongs to another run ({reason}); remove it to train from the start")
        if manifest is None:
            wrong = [MANIFEST]
        else:
            mine = sorted(manifest["files"])[dist.rank :: dist.world_size]
            wrong = [name for name in mine if _checksum(folder / name) != manifest["files"][name]]
        for name in wrong:
            log.error("%s: missing, or not as it was written", folder / name)
        if dist.any(bool(wrong)):
            log.error("CHECKPOINT %s IS DAMAGED: using the one before it, or training from the start", folder)
            return False
        if stripped := not (manifest or {}).get("moments", True):
            log.info("%s has weights only: training cannot resume from it", folder)
        return not stripped

    def _load(self, engine: Engine, step: int) -> None:
        folder = self.path(step)
        loaded = set()
        for name, tensor in _tensors(sorted(folder.glob("*-*-*.safetensors"))):
            part, _, parameter = name.partition(":")
            if parameter not in engine.parameters:
                raise UserError(f"{folder} holds {parameter}, which this model does not have; it is of another model")
            engine.write(parameter, part, tensor)
            loaded.add(name)
        if missing := {f"{part}:{name}" for name in engine.parameters for part in (WEIGHT, *MOMENTS)} - loaded:
            raise UserError(f"{folder}: {sorted(missing)[0]} is missing; it is of another model")
        engine.set_step(step)
        dist = engine.dist
        if (_read_manifest(folder) or {})["processes"] == dist.world_size:
            _restore_random(dict(_tensors([folder / f"random-{dist.rank:03d}.safetensors"])))

    def finish(self) -> None:
        """Delete what only resuming needs, once the final model is written and verified."""
        for step in self.steps():
            if not (self.keep_every and step % self.keep_every == 0):
                shutil.rmtree(self.path(step))
                continue
            facts = _read_manifest(self.path(step)) or {"step": step, "files": {}}
            facts["files"] = {name: sums for name, sums in facts["files"].items() if name.startswith("weights")}
            facts["moments"] = False
            _write_manifest(self.path(step), facts)
            for path in self.path(step).glob("*.safetensors"):
                if path.name not in facts["files"]:
                    path.unlink()
        if self.folder.exists() and not self.steps():
            shutil.rmtree(self.folder)


def _write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """The facts with their own checksum."""
    write_json(folder / MANIFEST, {**facts, "sum": key_of(facts)})


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The facts, or None unless they are as they were written."""
    try:
        facts = read_json(folder / MANIFEST)
        return facts if facts.pop("sum") == key_of(facts) else None
    except (UserError, OSError, KeyError, AttributeError, TypeError):
        return None


def tensor_owners(engine: TrainingEngine) -> dict[str, int]:
    """The rank that writes each tensor."""
    return assign_owners({name: full_numel(each) for name, each in engine.parameters.items()}, engine.dist.world_size)


def assign_owners(sizes: dict[str, int], world_size: int) -> dict[str, int]:
    """Give each tensor to the rank with the least to write so far."""
    loads, result = [0] * world_size, {}
    for name, size in sizes.items():
        rank = loads.index(min(loads))
        loads[rank] += size
        result[name] = rank
    return result


def write_shard(engine: Engine, folder: Path, kinds: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Write this rank's part of the tensors, a few files of each kind; all ranks gather together."""
    dist, owner = engine.dist, tensor_owners(engine)
    files: dict[str, Any] = {}
    for kind, parts in kinds.items():
        tensors: dict[str, Tensor] = {}

        def flush(kind: str = kind, tensors: dict[str, Tensor] = tensors) -> None:
            if tensors:
                name = f"{kind}-{dist.rank:03d}-{sum(n.startswith(kind) for n in files):02d}.safetensors"
                files[name] = write_tensors(folder / name, tensors)
                tensors.clear()

        for name in engine.parameters:
            for part in parts:
                value = engine.read(name, part)
                if value is not None and owner[name] == dist.rank:
                    tensors[f"{part}:{name}"] = value.float().contiguous().cpu()
            if sum(tensor.numel() * 4 for tensor in tensors.values()) > FILE_BYTES:
                flush()
        flush()
    return files


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Write a safetensors file and fsync it. Returns its size and checksum, read back."""
    save_file(tensors, path, metadata={"format": "pt"})
    _fsync(path)
    return _checksum(path)


def _checksum(path: Path) -> dict[str, Any]:
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


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_random(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])

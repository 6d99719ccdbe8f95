"""Checkpoints: one safetensors file, written whole or not at all, that a killed run goes on from."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cpt.errors import UserError
from cpt.files import replacing


def save_checkpoint(path: Path, state: dict[str, Tensor], step: int, fingerprint: str) -> None:
    """Keep the state after `step` steps; the checkpoint before it stays until this one is whole."""
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    with replacing(path) as file:
        file.write(save(tensors, metadata={"step": str(step), "fingerprint": fingerprint}))


def load_checkpoint(path: Path, fingerprint: str) -> tuple[int, dict[str, Tensor]] | None:
    """The step and state to go on from, or nothing where there is none. Another mix's checkpoint is refused."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            if meta.get("fingerprint") != fingerprint:
                found = meta.get("fingerprint")
                told = f"it is of {found}, this run is {fingerprint}"
                raise UserError(f"{path} belongs to another run ({told}); remove it to start anew")
            return int(meta["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and launch again to train from the start") from error

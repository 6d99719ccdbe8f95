"""Weights read one tensor at a time, so that no process holds a whole model when it needs a part."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cpt.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class Weights(Protocol):
    """Tensors by name, each read on request."""

    def read(self, name: str, shape: torch.Size) -> Tensor:
        """The tensor of a name, which must have this shape."""
        ...

    def missing(self, names: list[str]) -> list[str]:
        """The names that have no tensor."""
        ...

    def finer_than_bf16(self, name: str) -> bool:
        """Whether bf16 could not hold a tensor as it is."""
        ...


class FolderWeights:
    """The safetensors files of a folder. They are memory-mapped: reading a tensor costs the host that tensor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _file_of(self) -> dict[str, Any]:
        """The open file that holds each tensor."""
        files: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                opened: Any = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} cannot be read as safetensors ({error}); download it again") from error
            files |= dict.fromkeys(opened.keys(), opened)
        return files

    def missing(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in self._file_of]

    def finer_than_bf16(self, name: str) -> bool:
        return str(self._file_of[name].get_slice(name).get_dtype()) != "BF16"

    def read(self, name: str, shape: torch.Size) -> Tensor:
        tensor: Tensor = self._file_of[name].get_tensor(name)
        if tensor.shape != shape:
            difference = f"{name} is {list(tensor.shape)}, its config.json says {list(shape)}"
            raise UserError(f"{self.folder}: {difference}; weights and configuration do not belong together")
        return tensor


class InMemoryWeights:
    """The weights of a model that is in memory already."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def missing(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in self.tensors]

    def finer_than_bf16(self, name: str) -> bool:
        return self.tensors[name].dtype != torch.bfloat16

    def read(self, name: str, shape: torch.Size) -> Tensor:
        return self.tensors[name].detach()


class RandomWeights:
    """Weights of any shape, the same for every engine and number of processes: for measuring, never for a result."""

    def __init__(self, seed: int, deviation: float) -> None:
        self.seed, self.deviation = seed, deviation

    def missing(self, names: list[str]) -> list[str]:
        return []

    def finer_than_bf16(self, name: str) -> bool:
        return True

    def read(self, name: str, shape: torch.Size) -> Tensor:
        if len(shape) < 2:  # gains of norms and biases
            return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}:{name}".encode()))
        return torch.randn(shape, generator=generator) * self.deviation


@dataclass(frozen=True)
class Blueprint:
    """A model that is not built yet: its architecture and where its weights are read."""

    config: PreTrainedConfig
    weights: Weights
    origin: str
    """Its name in messages."""

    @classmethod
    def of_folder(cls, folder: Path) -> Blueprint:
        from transformers import AutoConfig

        return cls(AutoConfig.from_pretrained(folder, trust_remote_code=False), FolderWeights(folder), str(folder))

    @classmethod
    def of_model(cls, model: PreTrainedModel) -> Blueprint:
        return cls(model.config, InMemoryWeights(dict(model.named_parameters())), type(model).__name__)

    def empty(self, dtype: torch.dtype, attention: str = "sdpa") -> PreTrainedModel:
        """The model without its weights: parameters on the meta device, buffers real."""
        from accelerate import init_empty_weights
        from transformers import AutoModelForCausalLM
        from transformers.initialization import no_init_weights

        causal: Any = AutoModelForCausalLM
        config = copy.deepcopy(self.config)  # building writes the kind of attention into it
        with init_empty_weights(include_buffers=False), no_init_weights():
            model = causal.from_config(config, dtype=dtype, attn_implementation=attention, trust_remote_code=False)
        model.tie_weights()
        names = [name for name, _ in model.named_parameters()]
        if missing := self.weights.missing(names):
            known = (
                f"{len(missing)} of {len(names)} tensors of {type(model).__name__} are not there, {missing[0]} first"
            )
            raise UserError(f"{self.origin}: {known}; save the model again with transformers' save_pretrained")
        return model  # type: ignore[no-any-return]

    def build(self, dtype: torch.dtype, device: torch.device, attention: str = "sdpa") -> PreTrainedModel:
        """The model with its weights on a device; the host holds one tensor at a time."""
        model = self.empty(dtype, attention)
        for name, module, key, parameter in owned_parameters(model):
            value = self.weights.read(name, parameter.shape).to(device, dtype, copy=True)
            module.register_parameter(key, nn.Parameter(value))
        model.tie_weights()
        moved: Any = model
        moved.to(device)
        return model


def owned_parameters(model: nn.Module) -> list[tuple[str, nn.Module, str, nn.Parameter]]:
    """Every parameter once, with its full name and the module and name it is registered under."""
    modules = dict(model.named_modules())
    owned = []
    for name, parameter in model.named_parameters():
        where, _, key = name.rpartition(".")
        owned.append((name, modules[where], key, parameter))
    return owned

"""FSDP2: weights, gradients and moments in shards over all processes, each layer gathered when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from cpt.errors import config_error
from cpt.models.weights import Blueprint
from cpt.train.engines.base import GRADIENT, WEIGHT, Engine, grouped, layers_of
from cpt.train.hooks import Hook


class Fsdp2Engine(Engine):
    def _build(self, blueprint: Blueprint) -> Any:
        """Shards are cut on the meta device and then filled tensor by tensor, each process its own rows."""
        model: Any = blueprint.empty(torch.float32, self.attention)
        self._prepare(model)
        mesh = init_device_mesh(self.place.device.type, (self.place.ranks,))
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self.settings.bf16 else None, reduce_dtype=torch.float32
        )
        for module in (*layers_of(model), model):
            fully_shard(module, mesh=mesh, mp_policy=policy)
            if self.place.device.type == "cpu":
                _average_by_sum(module)
        # Rotary frequencies and other buffers are real already; emptying the model would lose them.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.to_empty(device=self.place.device)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        model.tie_weights()
        for name, parameter in model.named_parameters():
            self._fill(parameter, blueprint.weights.read(name, parameter.shape))
        return model

    @torch.no_grad()
    def _fill(self, target: Any, value: Tensor) -> None:
        """Copy this process's part of a whole tensor into its shard."""
        shape, offset = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
        for dimension, (first, size) in enumerate(zip(offset, shape, strict=True)):
            value = value.narrow(dimension, min(first, value.shape[dimension]), size)
        target.to_local().copy_(value)

    def _start(self, hooks: Sequence[Hook]) -> None:
        groups = grouped(self.parameters, hooks, self.settings)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=self.settings.betas, fused=True)

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _backward(self, loss: Tensor, last: bool) -> None:
        # Reduced with every micro-batch: waiting for the last would keep whole fp32 gradients on every device.
        loss.backward()  # type: ignore[no-untyped-call]

    def _update(self) -> float:
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(_whole(norm))

    def read(self, name: str, part: str) -> Tensor | None:
        parameter = self.parameters[name]
        if part == WEIGHT:
            return _whole(parameter.detach())
        value = parameter.grad if part == GRADIENT else self.optimizer.state[parameter].get(part)
        return None if value is None else _whole(value)

    @torch.no_grad()
    def write(self, name: str, part: str, value: Tensor) -> None:
        parameter: Any = self.parameters[name]
        if part == WEIGHT:
            self._fill(parameter, value)
            self.model.reshard()  # after a forward without gradients the root keeps a gathered copy
            return
        shard = torch.empty_like(parameter)
        self._fill(shard, value)
        if part == GRADIENT:
            parameter.grad = shard
        else:
            self.optimizer.state[parameter][part] = shard

    def set_updates(self, updates: int) -> None:
        for parameter in self.parameters.values():
            self.optimizer.state[parameter]["step"] = torch.tensor(float(updates), device=parameter.device)


def _average_by_sum(module: Any) -> None:
    """Asked for an average, some versions of gloo return the sum: pytorch/pytorch#162338."""
    if not hasattr(module, "set_force_sum_reduction_for_comms"):
        reason = f"without GPUs it needs torch 2.8 or newer, this is {torch.__version__}; choose zero3"
        raise config_error("hardware.engine", "fsdp2", reason)
    module.set_force_sum_reduction_for_comms(True)


def _whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

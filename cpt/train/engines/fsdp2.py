"""FSDP2: weights, gradients and moments sharded over all ranks; each layer is gathered when needed."""

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
from cpt.train.engines.engine import GRADIENT, WEIGHT, Engine, layers_of, parameter_groups
from cpt.train.hooks import Hook


class Fsdp2Engine(Engine):
    def _build(self, blueprint: Blueprint) -> Any:
        """Shard on the meta device, then fill tensor by tensor; each rank copies its own rows."""
        model: Any = blueprint.empty(torch.float32, self.attention)
        self._prepare(model)
        mesh = init_device_mesh(self.dist.device.type, (self.dist.world_size,))
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self.settings.bf16 else None, reduce_dtype=torch.float32
        )
        for module in (*layers_of(model), model):
            fully_shard(module, mesh=mesh, mp_policy=policy)
            if self.dist.device.type == "cpu":
                _average_by_sum(module)
        # Rotary frequencies and other buffers already hold values, which `to_empty` would lose.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.to_empty(device=self.dist.device)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        model.tie_weights()
        for name, parameter in model.named_parameters():
            self._fill(parameter, blueprint.weights.read(name, parameter.shape))
        return model

    @torch.no_grad()
    def _fill(self, target: Any, value: Tensor) -> None:
        """Copy this rank's part of a whole tensor into its shard."""
        shape, offset = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
        for dimension, (first, size) in enumerate(zip(offset, shape, strict=True)):
            value = value.narrow(dimension, min(first, value.shape[dimension]), size)
        target.to_local().copy_(value)

    def _start(self, hooks: Sequence[Hook]) -> None:
        groups = parameter_groups(self.parameters, hooks, self.settings)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=self.settings.betas, fused=True)

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _backward(self, loss: Tensor, last: bool) -> None:
        # Gradients are reduced with every micro-batch: otherwise each device would store whole fp32 gradients.
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
            self.model.reshard()  # after a forward pass without gradients the root still holds a gathered copy
            return
        shard = torch.empty_like(parameter)
        self._fill(shard, value)
        if part == GRADIENT:
            parameter.grad = shard
        else:
            self.optimizer.state[parameter][part] = shard

    def set_step(self, step: int) -> None:
        for parameter in self.parameters.values():
            self.optimizer.state[parameter]["step"] = torch.tensor(float(step), device=parameter.device)


def _average_by_sum(module: Any) -> None:
    """Some versions of gloo return the sum instead of the average: pytorch/pytorch#162338."""
    if not hasattr(module, "set_force_sum_reduction_for_comms"):
        reason = f"without GPUs it needs torch 2.8 or newer, this is {torch.__version__}; choose zero3"
        raise config_error("hardware.engine", "fsdp2", reason)
    module.set_force_sum_reduction_for_comms(True)


def _whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

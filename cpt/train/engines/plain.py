"""One process and one device; bf16 training updates fp32 master weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cpt.models.weights import Blueprint
from cpt.train.engines.engine import GRADIENT, WEIGHT, Engine, parameter_groups
from cpt.train.hooks import Hook


class PlainEngine(Engine):
    def _build(self, blueprint: Blueprint) -> Any:
        model = blueprint.build(self.settings.dtype, self.dist.device, self.attention)
        self._prepare(model)
        return model

    def _start(self, hooks: Sequence[Hook]) -> None:
        self.masters = self.parameters
        if self.settings.bf16:
            self.masters = {name: nn.Parameter(p.detach().float()) for name, p in self.parameters.items()}
            for name, parameter in self.parameters.items():
                hooked: Any = parameter
                hooked.register_post_accumulate_grad_hook(_accumulate_fp32(self.masters[name]))
        groups = parameter_groups(self.masters, hooks, self.settings)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=self.settings.betas, fused=True)

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _backward(self, loss: Tensor, last: bool) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def _update(self) -> float:
        norm = nn.utils.clip_grad_norm_(self.masters.values(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.settings.bf16:
            self._copy_back(list(self.parameters))
        return float(norm)

    @torch.no_grad()
    def _copy_back(self, names: list[str]) -> None:
        torch._foreach_copy_([self.parameters[name] for name in names], [self.masters[name] for name in names])

    def read(self, name: str, part: str) -> Tensor | None:
        master = self.masters[name]
        if part == WEIGHT:
            return master.detach()
        if part == GRADIENT:
            return master.grad
        value: Tensor | None = self.optimizer.state[master].get(part)
        return value

    @torch.no_grad()
    def write(self, name: str, part: str, value: Tensor) -> None:
        master = self.masters[name]
        if part == WEIGHT:
            master.copy_(value)
            if self.settings.bf16:
                self._copy_back([name])
        elif part == GRADIENT:
            master.grad = value.to(master)
        else:
            self.optimizer.state[master][part] = value.to(master, copy=True)

    def set_step(self, step: int) -> None:
        for master in self.masters.values():
            # The fused optimizer stores this count as a tensor.
            self.optimizer.state[master]["step"] = torch.tensor(float(step), device=master.device)


def _accumulate_fp32(master: nn.Parameter) -> Any:
    """A hook that accumulates gradients in fp32: in bf16, later micro-batches would be rounded away."""

    def accumulate(parameter: Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None
        master.grad = gradient.float() if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return accumulate

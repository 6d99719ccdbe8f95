"""The plain engine: one process, one device; in bf16 the model computes and an fp32 copy of its weights learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cpt.models.weights import Blueprint
from cpt.train.engines.base import GRADIENT, WEIGHT, Engine, grouped
from cpt.train.hooks import Hook


class PlainEngine(Engine):
    def _build(self, blueprint: Blueprint) -> Any:
        model = blueprint.build(self.settings.dtype, self.place.device, self.attention)
        self._prepare(model)
        return model

    def _start(self, hooks: Sequence[Hook]) -> None:
        self.masters = self.parameters
        if self.settings.bf16:
            self.masters = {name: nn.Parameter(p.detach().float()) for name, p in self.parameters.items()}
            for name, parameter in self.parameters.items():
                hooked: Any = parameter
                hooked.register_post_accumulate_grad_hook(_collect_into(self.masters[name]))
        groups = grouped(self.masters, hooks, self.settings)
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

    def set_updates(self, updates: int) -> None:
        for master in self.masters.values():
            # torch keeps this count beside the fused optimizer's parameters, as a tensor
            self.optimizer.state[master]["step"] = torch.tensor(float(updates), device=master.device)


def _collect_into(master: nn.Parameter) -> Any:
    """Gradients of micro-batches are added up in fp32: in bf16 the later ones would be rounded away."""

    def collect(parameter: Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None
        master.grad = gradient.float() if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return collect

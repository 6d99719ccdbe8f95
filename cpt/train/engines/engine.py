"""The common part of all engines: one optimizer step over a global batch, split over micro-batches and ranks.

The loss is summed over targets and divided by the number of targets in the global batch, so neither micro-batches nor
ranks change a step. Engines differ in where weights, gradients and optimizer moments are stored; these are read and
written by name, as whole tensors, by all ranks together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cpt.errors import UserError
from cpt.models.weights import Blueprint
from cpt.tokens.batch import IGNORED, Batch
from cpt.train.attention import best_attention, model_inputs
from cpt.train.distributed import DistContext
from cpt.train.hooks import Hook
from cpt.train.loss import LossHead, with_loss_head

WEIGHT, MOMENTS, GRADIENT = "weight", ("exp_avg", "exp_avg_sq"), "gradient"
"""The parts of a parameter that `read` and `write` know."""


@dataclass(frozen=True)
class Settings:
    """The first five fields belong to the experiment, the others to the hardware."""

    bf16: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    global_batch: int = 1
    micro_batch: int = 1
    checkpointing: bool = False
    """Activation checkpointing."""
    compile: bool = False
    offload: bool = False
    """Optimizer-state CPU offload."""
    kernels: str = "auto"

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.bf16 else torch.float32


@dataclass(frozen=True)
class StepResult:
    loss: float
    """Mean over the targets of the global batch."""
    gradient_norm: float
    source_losses: dict[int, float]
    """The same by source."""


class Engine(ABC):
    """One rank's part of a training; all ranks call the same methods in the same order."""

    model: Any

    def __init__(self, blueprint: Blueprint, settings: Settings, dist: DistContext, hooks: Sequence[Hook] = ()) -> None:
        self.settings, self.dist, self.hooks = settings, dist, hooks
        if settings.global_batch % (settings.micro_batch * dist.world_size):
            split = f"micro-batches of {settings.micro_batch} on {dist.world_size} processes"
            raise UserError(f"a global batch of {settings.global_batch} does not divide into {split}")
        self.attention = best_attention(dist.device, settings.kernels, settings.bf16, settings.compile)
        self.head: LossHead
        self.model = self._build(blueprint)
        self.model.train()
        self.parameters: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        self.lr = 0.0
        self._start(hooks)
        self._init_master_weights(blueprint)

    @property
    def gradient_divisor(self) -> int:
        """The number of ranks over which the engine averages gradients."""
        return self.dist.world_size

    def _prepare(self, model: Any) -> None:
        """Set up kernels, activation checkpointing, compilation and the loss head; `_build` calls it."""
        liger = self.dist.device.type == "cuda" and self.settings.kernels != "torch" and _use_liger(model)
        if self.settings.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if self.settings.compile:
            for layer in layers_of(model):
                layer.compile()
        self.head = with_loss_head(model, liger)

    @abstractmethod
    def _build(self, blueprint: Blueprint) -> Any:
        """Load the model, with its weights stored the way of this engine."""

    @abstractmethod
    def _start(self, hooks: Sequence[Hook]) -> None:
        """Create the optimizer."""

    def _init_master_weights(self, blueprint: Blueprint) -> None:
        """Initialise fp32 master weights from the checkpoint's original precision."""
        if not self.settings.bf16:
            return
        for name, parameter in self.parameters.items():
            if blueprint.weights.finer_than_bf16(name):
                value = blueprint.weights.read(name, getattr(parameter, "ds_shape", parameter.shape))
                self.write(name, WEIGHT, value.float())

    @abstractmethod
    def _backward(self, loss: Tensor, last: bool) -> None:
        """Accumulate a micro-batch's gradients; `last` marks the last one of the step."""

    @abstractmethod
    def _update(self) -> float:
        """Clip, step the optimizer, zero the gradients. Returns the gradient norm before clipping."""

    @abstractmethod
    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""

    @abstractmethod
    def read(self, name: str, part: str) -> Tensor | None:
        """The whole tensor of a parameter's weight, moment or gradient in the optimizer's precision, if it exists."""

    @abstractmethod
    def write(self, name: str, part: str, value: Tensor) -> None: ...

    @abstractmethod
    def set_step(self, step: int) -> None:
        """Set the optimizer's step count."""

    def set_lr(self, lr: float) -> None:
        self.lr = lr
        for group in self._groups():
            group["lr"] = lr * group.get("lr_factor", 1.0)

    def share(self, count: int) -> tuple[int, int]:
        """Begin and end of this rank's part of `count` sequences."""
        each = count // self.dist.world_size
        return self.dist.rank * each, (self.dist.rank + 1) * each

    def step(self, batch: Batch, sources: int) -> StepResult:
        """One optimizer step on this rank's part of a global batch with text from `sources` sources."""
        targets = self.dist.sum([float(batch.targets)])[0]
        sums = np.zeros((2, sources))
        starts = range(0, len(batch.inputs), self.settings.micro_batch)
        for first in starts:
            part = batch.rows(first, first + self.settings.micro_batch)
            outputs = self._forward(part)
            loss = outputs.logits * (self.gradient_divisor / targets)
            for hook in self.hooks:
                extra = hook.extra_loss(self.model, outputs)
                if extra is not None:
                    loss = loss + extra * (self.gradient_divisor * len(part.inputs) / self.settings.global_batch)
            self._backward(loss, last=first == starts[-1])
            _sum_by_source(sums, part, self.head.token_losses)
        for hook in self.hooks:
            hook.after_backward(self)
        norm = self._update()
        sums = self._all_reduce(sums)
        losses = {index: float(sums[0, index] / count) for index, count in enumerate(sums[1]) if count}
        return StepResult(float(sums[0].sum() / targets), norm, losses)

    @torch.no_grad()
    def losses(self, batch: Batch, sources: int) -> list[float]:
        """Summed loss by source of a batch that every rank holds, without training on it."""
        self.model.eval()
        sums = np.zeros((2, sources))
        size = self.settings.micro_batch
        for start in range(0, len(batch.inputs), size * self.dist.world_size):
            first = start + self.dist.rank * size
            part = batch.rows(first, first + size)
            if len(part.inputs):
                self._forward(part)
                _sum_by_source(sums, part, self.head.token_losses)
            else:
                self._forward(batch.rows(0, 1))  # every rank must take part in every forward pass
        self.model.train()
        return [float(value) for value in self._all_reduce(sums)[0]]

    def _all_reduce(self, sums: np.ndarray) -> np.ndarray:
        return np.asarray(self.dist.sum(sums.flatten().tolist())).reshape(sums.shape)

    def _forward(self, part: Batch) -> Any:
        arrays = (part.inputs, part.positions, part.documents, part.labels)
        inputs, positions, documents, labels = (self._tensor(array) for array in arrays)
        self.head.labels = labels
        return self._call(model_inputs(inputs, positions, documents, self.attention))

    def _call(self, inputs: dict[str, Any]) -> Any:
        return self.model(**inputs)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.dist.device, non_blocking=True)


def _sum_by_source(sums: np.ndarray, part: Batch, losses: Tensor) -> None:
    """Add losses (row 0) and target counts (row 1) to the sums of their sources."""
    real = part.labels.flatten() != IGNORED
    sources, size = part.sources.flatten()[real], sums.shape[1]
    sums[0] += np.bincount(sources, losses.cpu().numpy()[real], size)
    sums[1] += np.bincount(sources, minlength=size)


def parameter_groups(
    parameters: dict[str, nn.Parameter], hooks: Sequence[Hook], settings: Settings
) -> list[dict[str, Any]]:
    """Optimizer parameter groups: one for each combination of options that hooks set."""
    groups: dict[tuple[tuple[str, float], ...], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        options = {"lr_factor": 1.0, "weight_decay": settings.weight_decay}
        for hook in hooks:
            options |= hook.parameter_options(name)
        groups.setdefault(tuple(sorted(options.items())), []).append(parameter)
    return [{"params": members, **dict(options)} for options, members in groups.items()]


def layers_of(model: Any) -> list[nn.Module]:
    """The decoder layers, the unit of sharding and compilation."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return list(module)
    raise UserError(f"{type(model).__name__} has no list of {model.config.num_hidden_layers} decoder layers to work on")


def _use_liger(model: Any) -> bool:
    """Patch in Liger's kernels if they are installed."""
    try:
        from liger_kernel.transformers.monkey_patch import _apply_liger_kernel_to_instance
    except ImportError:
        return False
    _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    return True

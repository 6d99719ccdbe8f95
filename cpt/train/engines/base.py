"""What every engine does alike: one optimizer step over a global batch, however many processes share it.

A loss is the sum over real targets divided by the number of them in the whole global batch, on all processes; so
neither micro-batches nor processes change what a step means. Engines differ in where weights, gradients and moments
are kept, which is why these are read and written by name, whole, and by all processes together.
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
from cpt.train.distributed import Place
from cpt.train.hooks import Hook
from cpt.train.loss import LossHead, with_loss_head

WEIGHT, MOMENTS, GRADIENT = "weight", ("exp_avg", "exp_avg_sq"), "gradient"
"""Parts of a parameter that can be read and written."""


@dataclass(frozen=True)
class Settings:
    """How an engine is to work: of the experiment the first five, of the hardware the rest."""

    bf16: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    global_batch: int = 1
    micro_batch: int = 1
    checkpointing: bool = False
    """Whether activations are computed anew in the backward pass instead of kept."""
    compile: bool = False
    offload: bool = False
    """Whether the optimizer's state is kept in the host's memory."""
    kernels: str = "auto"

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.bf16 else torch.float32


@dataclass(frozen=True)
class StepResult:
    loss: float
    """Mean over all real targets of the global batch."""
    gradient_norm: float
    source_losses: dict[int, float]
    """The same for each source that had targets."""


class Engine(ABC):
    """One process's part of a training; all processes call the same methods in the same order."""

    model: Any

    def __init__(self, blueprint: Blueprint, settings: Settings, place: Place, hooks: Sequence[Hook] = ()) -> None:
        self.settings, self.place, self.hooks = settings, place, hooks
        if settings.global_batch % (settings.micro_batch * place.ranks):
            split = f"micro-batches of {settings.micro_batch} on {place.ranks} processes"
            raise UserError(f"a global batch of {settings.global_batch} does not divide into {split}")
        self.attention = best_attention(place.device, settings.kernels, settings.bf16, settings.compile)
        self.head: LossHead
        self.model = self._build(blueprint)
        self.model.train()
        self.parameters: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        self.lr = 0.0
        self._start(hooks)
        self._sharpen(blueprint)

    @property
    def averaging(self) -> int:
        """How many processes' gradients the engine takes the mean of."""
        return self.place.ranks

    def _prepare(self, model: Any) -> None:
        """What is done to the architecture, whatever keeps its weights; an engine's `_build` says when."""
        liger = self.place.device.type == "cuda" and self.settings.kernels != "torch" and _use_liger(model)
        if self.settings.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if self.settings.compile:
            for layer in layers_of(model):
                layer.compile()
        self.head = with_loss_head(model, liger)

    @abstractmethod
    def _build(self, blueprint: Blueprint) -> Any:
        """The model, its weights where this engine keeps them."""

    @abstractmethod
    def _start(self, hooks: Sequence[Hook]) -> None:
        """Make the optimizer."""

    def _sharpen(self, blueprint: Blueprint) -> None:
        """What learns in fp32 begins at the source's own precision, not at what bf16 leaves of it."""
        if not self.settings.bf16:
            return
        for name, parameter in self.parameters.items():
            if blueprint.weights.finer_than_bf16(name):
                value = blueprint.weights.read(name, getattr(parameter, "ds_shape", parameter.shape))
                self.write(name, WEIGHT, value.float())

    @abstractmethod
    def _backward(self, loss: Tensor, last: bool) -> None:
        """Add a micro-batch's gradients to the step's; `last` when the step has no more."""

    @abstractmethod
    def _update(self) -> float:
        """Clip, move the weights, forget the gradients. Returns the norm before clipping."""

    @abstractmethod
    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""

    @abstractmethod
    def read(self, name: str, part: str) -> Tensor | None:
        """A parameter's weight, moment or gradient, whole, as the optimizer has it; nothing where there is none yet."""

    @abstractmethod
    def write(self, name: str, part: str, value: Tensor) -> None: ...

    @abstractmethod
    def set_updates(self, updates: int) -> None:
        """How many steps the optimizer believes to have made."""

    def set_lr(self, lr: float) -> None:
        self.lr = lr
        for group in self._groups():
            group["lr"] = lr * group.get("lr_factor", 1.0)

    def share(self, count: int) -> tuple[int, int]:
        """First and last + 1 of this process's part of `count` sequences."""
        each = count // self.place.ranks
        return self.place.rank * each, (self.place.rank + 1) * each

    def step(self, batch: Batch, sources: int) -> StepResult:
        """One optimizer step on this process's share of a global batch, whose text is from so many sources."""
        targets = self.place.sum([float(batch.targets)])[0]
        sums = np.zeros((2, sources))
        starts = range(0, len(batch.inputs), self.settings.micro_batch)
        for first in starts:
            part = batch.rows(first, first + self.settings.micro_batch)
            outputs = self._forward(part)
            loss = outputs.logits * (self.averaging / targets)
            for hook in self.hooks:
                extra = hook.extra_loss(self.model, outputs)
                if extra is not None:
                    loss = loss + extra * (self.averaging * len(part.inputs) / self.settings.global_batch)
            self._backward(loss, last=first == starts[-1])
            _add_by_source(sums, part, self.head.token_losses)
        for hook in self.hooks:
            hook.after_backward(self)
        norm = self._update()
        sums = self._over_all(sums)
        losses = {index: float(sums[0, index] / count) for index, count in enumerate(sums[1]) if count}
        return StepResult(float(sums[0].sum() / targets), norm, losses)

    @torch.no_grad()
    def losses(self, batch: Batch, sources: int) -> list[float]:
        """Summed loss of each source's targets in a batch that every process was given; nothing is learnt."""
        self.model.eval()
        sums = np.zeros((2, sources))
        size = self.settings.micro_batch
        for start in range(0, len(batch.inputs), size * self.place.ranks):
            first = start + self.place.rank * size
            part = batch.rows(first, first + size)
            if len(part.inputs):
                self._forward(part)
                _add_by_source(sums, part, self.head.token_losses)
            else:
                self._forward(batch.rows(0, 1))  # all processes must take part in every forward pass
        self.model.train()
        return [float(value) for value in self._over_all(sums)[0]]

    def _over_all(self, sums: np.ndarray) -> np.ndarray:
        return np.asarray(self.place.sum(sums.flatten().tolist())).reshape(sums.shape)

    def _forward(self, part: Batch) -> Any:
        arrays = (part.inputs, part.positions, part.documents, part.labels)
        inputs, positions, documents, labels = (self._tensor(array) for array in arrays)
        self.head.labels = labels
        return self._call(model_inputs(inputs, positions, documents, self.attention))

    def _call(self, inputs: dict[str, Any]) -> Any:
        return self.model(**inputs)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.place.device, non_blocking=True)


def _add_by_source(sums: np.ndarray, part: Batch, losses: Tensor) -> None:
    """Add losses and numbers of targets to the sums of the sources they are from."""
    real = part.labels.flatten() != IGNORED
    sources, size = part.sources.flatten()[real], sums.shape[1]
    sums[0] += np.bincount(sources, losses.cpu().numpy()[real], size)
    sums[1] += np.bincount(sources, minlength=size)


def grouped(parameters: dict[str, nn.Parameter], hooks: Sequence[Hook], settings: Settings) -> list[dict[str, Any]]:
    """The optimizer's parameter groups: one, or as many as hooks ask different options for."""
    groups: dict[tuple[tuple[str, float], ...], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        options = {"lr_factor": 1.0, "weight_decay": settings.weight_decay}
        for hook in hooks:
            options |= hook.parameter_options(name)
        groups.setdefault(tuple(sorted(options.items())), []).append(parameter)
    return [{"params": members, **dict(options)} for options, members in groups.items()]


def layers_of(model: Any) -> list[nn.Module]:
    """The decoder's layers, the unit of sharding and compiling."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return list(module)
    raise UserError(f"{type(model).__name__} has no list of {model.config.num_hidden_layers} decoder layers to work on")


def _use_liger(model: Any) -> bool:
    """Put Liger's kernels in place where they are installed and know the architecture."""
    try:
        from liger_kernel.transformers.monkey_patch import _apply_liger_kernel_to_instance
    except ImportError:
        return False
    _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    return True

"""Chunked cross-entropy: all logits of 8,192 positions over a vocabulary of 128 k would take 4 GB in fp32.

The model's output layer is changed in place into one that maps hidden states to the sum of their targets' losses.
Logits and their gradients are computed for one chunk of positions at a time, so nothing is computed twice. Module,
parameters and names stay the same, so engines can shard, gather or wrap the layer as usual.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cpt.errors import UserError
from cpt.tokens.batch import IGNORED

CHUNK_BYTES = 256 * 2**20
"""Size of a chunk's fp32 logits."""


_CHANGES_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class LossHead(nn.Linear):
    """An output layer that returns the summed loss instead of logits while `labels` is set."""

    labels: Tensor | None
    token_losses: Tensor
    """Loss of each position in the last forward pass, 0 without a target; detached."""
    liger: bool

    def forward(self, input: Tensor) -> Tensor:
        if self.labels is None:
            return super().forward(input)
        hidden, labels = input.flatten(0, -2), self.labels.flatten()
        if self.liger:
            losses = _liger_losses(hidden, self.weight, self.bias, labels)
            self.token_losses = losses.detach()
            return losses.sum()
        apply: Any = _SummedLoss.apply
        total: Tensor
        total, self.token_losses = apply(hidden, self.weight, self.bias, labels, torch.is_grad_enabled())
        return total


def with_loss_head(model: Any, liger: bool = False) -> LossHead:
    """Turn a causal language model's output layer into a loss head, in place."""
    head = model.get_output_embeddings()
    changed = [name for name in _CHANGES_LOGITS if getattr(model.config, name, None)]
    if type(head) is not nn.Linear or changed:
        why = f"it has {changed[0]}" if changed else f"its output layer is a {type(head).__name__}"
        raise UserError(f"{type(model).__name__} cannot be trained here: {why}, which the loss does not support")
    changed_head: Any = head
    changed_head.__class__ = LossHead
    changed_head.labels, changed_head.liger = None, liger
    assert isinstance(changed_head, LossHead)
    return changed_head


class _SummedLoss(torch.autograd.Function):
    """Summed and single losses; the gradients are computed in the forward pass and saved."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, with_grad: bool
    ) -> tuple[Tensor, Tensor]:
        rows, vocabulary = hidden.shape[0], weight.shape[0]
        size = max(1, CHUNK_BYTES // (4 * vocabulary))
        losses = torch.zeros(rows, dtype=torch.float32, device=hidden.device)
        several = rows > size
        grad_hidden = torch.empty_like(hidden) if with_grad else None
        # Chunks are summed in fp32: in bf16, small contributions would be rounded away.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if with_grad and several else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if with_grad and bias is not None else None
        for first in range(0, rows, size):
            part = slice(first, first + size)
            logits = torch.nn.functional.linear(hidden[part], weight, bias).float()
            real = labels[part] != IGNORED
            targets = labels[part].clamp(min=0)[:, None]
            peak = logits.amax(dim=1, keepdim=True)
            at_target = logits.gather(1, targets) - peak
            exponents = logits.sub_(peak).exp_()
            total = exponents.sum(dim=1, keepdim=True)
            losses[part] = torch.where(real, (total.log() - at_target)[:, 0], 0.0)
            if grad_hidden is None:
                continue
            scale = real[:, None] / total
            gradient = exponents.mul_(scale).scatter_add_(1, targets, -real[:, None].float()).to(hidden.dtype)
            torch.mm(gradient, weight, out=grad_hidden[part])
            if grad_weight is None:
                grad_weight = gradient.t() @ hidden[part]
            elif several:
                grad_weight.add_(gradient.t() @ hidden[part])
            if grad_bias is not None:
                grad_bias += gradient.float().sum(dim=0)
        ctx.grads = (grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = [None if given is None else given.dtype for given in (hidden, weight, bias)]
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        scale = outputs[0]
        saved = zip(ctx.grads, ctx.dtypes, strict=True)
        ctx.grads = ()  # they are scaled in place, so they can be used only once
        grads = [None if gradient is None else gradient.mul_(scale).to(dtype) for gradient, dtype in saved]
        return (*grads, None, None)


def _liger_losses(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss

    losses: Tensor = LigerFusedLinearCrossEntropyLoss(ignore_index=IGNORED, reduction="none")(
        weight, hidden, labels, bias
    )
    return losses

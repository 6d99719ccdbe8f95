"""The loss that never holds all logits gives the loss and gradients of the plain one."""

from typing import cast

import pytest
import torch
from tiny import tiny
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cpt.errors import UserError
from cpt.tokens.batch import IGNORED
from cpt.train import loss as module
from cpt.train.loss import LossHead, with_loss_head

ROWS, WIDTH, VOCABULARY = 50, 16, 300


def case(bias: bool = False, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, nn.Linear, torch.Tensor]:
    torch.manual_seed(3)
    hidden = torch.randn(2, ROWS // 2, WIDTH, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, VOCABULARY, (2, ROWS // 2))
    labels[:, ::7] = IGNORED
    return hidden, nn.Linear(WIDTH, VOCABULARY, bias=bias, dtype=dtype), labels


def turned(linear: nn.Linear, labels: torch.Tensor | None) -> LossHead:
    linear.__class__ = LossHead
    head = cast(LossHead, linear)
    head.labels, head.liger = labels, False
    return head


def plain(hidden: torch.Tensor, linear: nn.Linear, labels: torch.Tensor) -> torch.Tensor:
    logits = linear(hidden).float().flatten(0, 1)
    return nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="none")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows_at_once", [1000, 50, 13, 1])
def test_loss_and_gradients_are_the_plain_ones(bias: bool, rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * VOCABULARY * rows_at_once)
    hidden, linear, labels = case(bias)
    wanted = plain(hidden, linear, labels)
    (wanted.sum() * 0.37).backward()
    gradients = [hidden.grad, *(parameter.grad for parameter in linear.parameters())]

    hidden, linear, labels = case(bias)
    head = turned(linear, labels)
    loss = head(hidden)
    (loss * 0.37).backward()
    assert head.token_losses is not None
    assert torch.allclose(head.token_losses, wanted, atol=1e-5)
    assert loss.item() == pytest.approx(wanted.sum().item(), rel=1e-6)
    for mine, theirs in zip([hidden.grad, *(p.grad for p in linear.parameters())], gradients, strict=True):
        assert mine is not None
        assert theirs is not None
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_in_bf16_the_error_is_that_of_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * VOCABULARY * 7)
    hidden, linear, labels = case(dtype=torch.bfloat16)
    exact = plain(hidden.float(), linear.float(), labels).sum().item()
    linear.to(torch.bfloat16)
    head = turned(linear, labels)
    loss = head(hidden)
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=5e-3)
    assert hidden.grad.dtype == linear.weight.grad.dtype == torch.bfloat16


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return result


def test_all_logits_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * VOCABULARY * 5)
    hidden, linear, labels = case()
    head = turned(linear, labels)
    with Largest() as mine:
        head(hidden).backward()
    assert mine.size == WIDTH * VOCABULARY, "the gradient of the weights is the largest"
    hidden, linear, labels = case()
    with Largest() as theirs:
        plain(hidden, linear, labels).sum().backward()
    assert theirs.size == ROWS * VOCABULARY, "the plain way would have been noticed"


def test_without_labels_it_is_the_layer_it_was() -> None:
    hidden, linear, _ = case()
    wanted = linear(hidden)
    assert torch.equal(turned(linear, None)(hidden), wanted)


def test_a_model_whose_logits_are_changed_is_refused() -> None:
    model = tiny()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(UserError, match="LlamaForCausalLM cannot be trained here: it has final_logit_softcapping"):
        with_loss_head(model)

"""Packed documents are read as if each were alone: by the mask, and by the layout that flash-attn is given too."""

from typing import cast

import numpy as np
import pytest
import torch
from tiny import MIX, engine, tiny

from cpt.tokens.batch import IGNORED, Batch, pack
from cpt.train.attention import BY_DOCUMENT, MASKED, document_bounds, model_inputs
from cpt.train.loss import with_loss_head

LENGTHS = [9, 5, 18]


def documents() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(3, 64, length) for length in LENGTHS]


def alone() -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the documents, each in a sequence of its own."""
    model = tiny()
    total = torch.zeros(())
    for tokens in documents():
        ids = torch.from_numpy(tokens)
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")
    total.backward()
    return total.item(), gradients(model)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: cast(torch.Tensor, parameter.grad) for name, parameter in model.named_parameters()}


def together(batch: Batch, attention: str, **shape: int) -> tuple[float, dict[str, torch.Tensor]]:
    model = tiny(**shape)
    model.set_attn_implementation(attention)
    head = with_loss_head(model)
    head.labels = torch.from_numpy(batch.labels)
    inputs, positions, documents = map(torch.from_numpy, (batch.inputs, batch.positions, batch.documents))
    loss = model(**model_inputs(inputs, positions, documents, attention)).logits
    loss.backward()
    return loss.item(), gradients(model)


@pytest.mark.parametrize("attention", [MASKED, BY_DOCUMENT])
def test_packed_documents_give_the_loss_and_gradients_of_unpacked_ones(attention: str) -> None:
    batch = pack([(0, tokens) for tokens in documents()], sum(LENGTHS) - 1)
    assert len(batch.inputs) == 1
    loss, gradients = together(batch, attention)
    wanted, theirs = alone()
    assert loss == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, theirs[name], atol=2e-5), name


def test_the_two_ways_agree_on_several_rows_with_documents_cut_at_their_ends() -> None:
    batch = MIX.batch(3, 4)
    masked, by_bound = together(batch, MASKED), together(batch, BY_DOCUMENT)
    assert masked[0] == pytest.approx(by_bound[0], rel=1e-6)
    for name, gradient in masked[1].items():
        assert torch.allclose(gradient, by_bound[1][name], atol=1e-5), name


def test_joining_without_a_mask_would_be_noticed() -> None:
    batch = MIX.batch(0, 2)
    joined = Batch(batch.inputs, batch.labels, np.zeros_like(batch.documents), batch.positions, batch.sources)
    assert abs(together(joined, MASKED)[0] - together(batch, MASKED)[0]) > 1e-3


def test_heads_may_share_keys_and_values() -> None:
    batch = MIX.batch(3, 2)
    losses = [together(batch, attention, num_key_value_heads=1)[0] for attention in (MASKED, BY_DOCUMENT)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_bounds_end_with_rows_and_documents() -> None:
    bounds, longest = document_bounds(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 2]]))
    assert bounds.tolist() == [0, 2, 4, 7, 8]
    assert longest == 3
    assert bounds.dtype == torch.int32


def test_packing_keeps_every_target_but_the_first_of_each_document() -> None:
    batch = pack([(source, tokens) for source, tokens in enumerate(documents())], 8)
    assert batch.targets == sum(LENGTHS) - len(LENGTHS)
    assert np.bincount(batch.sources[batch.labels != IGNORED]).tolist() == [length - 1 for length in LENGTHS]
    text = [token for tokens in documents() for token in tokens]
    assert batch.inputs.flatten()[: len(text) - 1].tolist() == text[: batch.inputs.size][: len(text) - 1]


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_splitting_the_global_batch_changes_nothing_but_rounding(micro_batch: int) -> None:
    whole, split = engine(micro_batch=8), engine(micro_batch=micro_batch)
    for step in range(4):
        for one in (whole, split):
            one.set_lr(1e-2)
        mine, theirs = split.step(MIX.batch(8 * step, 8), 2), whole.step(MIX.batch(8 * step, 8), 2)
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-4)
        assert mine.source_losses == pytest.approx(theirs.source_losses, rel=1e-5)

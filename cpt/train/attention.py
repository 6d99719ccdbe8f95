"""Attention that honours packing: documents that share a sequence never see each other.

Position ids alone do not keep them apart: with the default cache or a mask of ones, transformers' scaled-dot-product
attention silently joins them. A block-diagonal mask does everywhere; on a GPU with flash-attn installed the batch is
one long row with the boundaries of its documents, which costs neither a mask nor the work behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MASKED, VARIABLE = "sdpa", "flash_attention_2"
"""transformers' names of the two ways."""


def best_attention(device: torch.device, kernels: str) -> str:
    from transformers.utils.import_utils import is_flash_attn_2_available

    fast = device.type == "cuda" and kernels != "torch" and is_flash_attn_2_available()
    return VARIABLE if fast else MASKED


def model_inputs(inputs: Tensor, positions: Tensor, documents: Tensor, attention: str) -> dict[str, Any]:
    """What a transformers model is called with so that each document is read on its own."""
    if attention == MASKED:
        mask = document_mask(documents)
        return {"input_ids": inputs, "position_ids": positions, "attention_mask": mask, "use_cache": False}
    bounds, longest = document_bounds(documents)
    return {
        "input_ids": inputs.flatten()[None],
        "position_ids": positions.flatten()[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
        "use_cache": False,
    }


def document_mask(documents: Tensor) -> Tensor:
    """[batch, 1, length, length]: true where a position may attend, which is back within its own document."""
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same: Tensor = documents[:, None, :] == documents[:, :, None]
    return (same & causal)[:, None]


def document_bounds(documents: Tensor) -> tuple[Tensor, int]:
    """Where each document begins in the flattened batch, and its end; and the length of the longest."""
    fresh = torch.ones_like(documents, dtype=torch.bool)
    fresh[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = fresh.flatten().nonzero()[:, 0].to(torch.int32)
    bounds = torch.cat([starts, starts.new_tensor([documents.numel()])])
    return bounds, int(bounds.diff().max())

"""Attention for packed sequences: documents in one sequence do not attend to each other.

Position ids alone are not enough: with the default cache or a mask of ones, transformers' scaled-dot-product attention
silently joins the documents. A block-diagonal mask works everywhere, but wastes the masked computation. The other two
implementations take one long row with document boundaries: flash-attn's variable-length kernel on a GPU, and one call
per document on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

MASKED, VARIABLE, BY_DOCUMENT = "sdpa", "flash_attention_2", "by_document"
"""Names of the three implementations in transformers; the last is registered below."""


def best_attention(device: torch.device, kernels: str, bf16: bool, compiled: bool) -> str:
    from transformers.utils.import_utils import is_flash_attn_2_available

    if device.type == "cpu":
        return MASKED if compiled else BY_DOCUMENT  # every batch has other documents and would recompile
    return VARIABLE if bf16 and kernels != "torch" and is_flash_attn_2_available() else MASKED


def model_inputs(inputs: Tensor, positions: Tensor, documents: Tensor, attention: str) -> dict[str, Any]:
    """Keyword arguments of a transformers model that keep documents apart."""
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
    """Boolean mask [batch, 1, length, length]: causal, within the same document."""
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same: Tensor = documents[:, None, :] == documents[:, :, None]
    return (same & causal)[:, None]


def document_bounds(documents: Tensor) -> tuple[Tensor, int]:
    """Cumulative document lengths in the flattened batch, from 0, and the longest length."""
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = first.flatten().nonzero()[:, 0].to(torch.int32)
    bounds = torch.cat([starts, starts.new_tensor([documents.numel()])])
    return bounds, int(bounds.diff().max())


def by_document(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention over one row [1, heads, length, size], one document at a time."""
    assert cu_seq_lens_q is not None, "document boundaries are missing"
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = (repeat_kv(tensor, groups) if groups > 1 else tensor for tensor in (key, value))
    sizes = cu_seq_lens_q.diff().tolist()
    documents = zip(*(torch.split(tensor, sizes, dim=2) for tensor in (query, key, value)), strict=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    parts = [attend(q, k, v, is_causal=True, scale=scaling).transpose(1, 2) for q, k, v in documents]
    return torch.cat(parts, dim=1), None


AttentionInterface.register(BY_DOCUMENT, by_document)

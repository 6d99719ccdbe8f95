"""Throughput: FLOPs per token, peak FLOP/s of devices, model FLOPs utilisation (MFU), and memory.

MFU is always printed with its terms, and is unknown for a device that is not in the table: guessed peaks have led to
published values above 150 %.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PEAKS = {
    # NVIDIA's data sheets; where those count sparsity, half of what they print.
    "A100-SXM4-40GB": 312e12,
    "A100-SXM4-80GB": 312e12,
    "A100-SXM-80GB": 312e12,
    "A100-PCIE-40GB": 312e12,
    "A100 80GB PCIe": 312e12,
    "A40": 149.7e12,
    "L40S": 362.05e12,
    "H100 80GB HBM3": 989.4e12,  # SXM
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200": 989.4e12,
    "H200 NVL": 835e12,
    "GH200 120GB": 989.4e12,
    "GH200 480GB": 989.4e12,
    "B200": 2250e12,
    # AMD's data sheets.
    "MI250X": 191.5e12,  # one GCD, half a module: a GCD is a device
    "MI300X": 1307.4e12,
    "MI325X": 1307.4e12,
    "MI355X": 2516.6e12,
}
"""Peak dense bf16 FLOP/s by the full device name in torch, without the vendor."""
_VENDORS = ("NVIDIA ", "AMD Instinct ", "AMD ")
_WHOLE = (" OAM", " VF")
"""Suffixes of AMD's names that still mean the whole device, on a board or in a virtual machine."""


def count_matmul_parameters(model: PreTrainedModel) -> int:
    """Parameters in matrix products: all of a dense model's except embeddings that are only looked up.

    An input embedding tied to the output layer counts. Parameters sharded by ZeRO-3 or FSDP2 count in full.
    """
    untyped: Any = model
    head = untyped.get_output_embeddings()
    multiplied = None if head is None else head.weight
    tables = {id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    looked_up = {key for key, weight in tables.items() if weight is not multiplied}
    return sum(full_numel(parameter) for parameter in model.parameters() if id(parameter) not in looked_up)


def full_numel(parameter: nn.Parameter) -> int:
    """Size of the unsharded parameter: ZeRO-3 stores it in `ds_numel`, a DTensor's `numel` is global."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def flops_per_token(matmul_parameters: int, layers: int, heads: int, head_size: int, length: int) -> float:
    """6·N + 12·L·h·q·t for forward and backward, without recomputation by activation checkpointing.

    N parameters in matrix products, L layers, h query heads of size q, sequences of t tokens, as in PaLM (arXiv
    2204.02311, appendix B) and torchtitan: attention counts in full, though causal masking skips half.
    """
    return 6.0 * matmul_parameters + 12.0 * layers * heads * head_size * length


def peak_flops(device_name: str, precision: str) -> float | None:
    """Peak FLOP/s; None for a device that is not in the table, and for any precision but bf16.

    Full names are compared: a MIG slice, a virtual GPU or another variant of a chip is another device.
    """
    if precision != "bf16":
        return None
    name = device_name.strip()
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    for ending in _WHOLE:
        name = name.removesuffix(ending)
    return PEAKS.get(name)


def mfu(tokens_per_second_per_device: float, flops_per_token: float, peak: float | None) -> float | None:
    """Model FLOPs utilisation; None where the peak is unknown."""
    return None if peak is None else tokens_per_second_per_device * flops_per_token / peak


def describe_mfu(
    tokens_per_second_per_device: float,
    *,
    matmul_parameters: int,
    layers: int,
    heads: int,
    head_size: int,
    length: int,
    device_name: str,
    precision: str,
) -> str:
    """MFU with all its terms in one line, for logs and model cards."""
    peak = peak_flops(device_name, precision)
    flops = flops_per_token(matmul_parameters, layers, heads, head_size, length)
    share = mfu(tokens_per_second_per_device, flops, peak)
    formula = f"6·N + 12·L·h·q·t = {flops:.3g} FLOP a token, N = {matmul_parameters:,}, t = {length:,}"
    if share is None or peak is None:
        return f"MFU unknown: no peak is on record for {device_name} in {precision} ({formula})"
    return f"MFU {share:.1%} of {peak / 1e12:,.1f} TFLOP/s, {device_name} in dense {precision} ({formula})"


@dataclass(frozen=True)
class Speedometer:
    """MFU and peak memory of a step."""

    flops_per_token: float
    peak: float | None
    device: torch.device
    processes: int

    def reading(self, tokens_per_second: float) -> dict[str, float | int]:
        """`memory`: this process's peak bytes, on its GPU or else in RAM; `mfu` if the peak FLOP/s is known."""
        share = mfu(tokens_per_second / self.processes, self.flops_per_token, self.peak)
        return {"memory": peak_memory(self.device)} | ({} if share is None else {"mfu": round(share, 4)})


def peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

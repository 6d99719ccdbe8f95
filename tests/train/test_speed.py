"""What is counted for a share of the peak, against published numbers."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from cpt.train.speed import PEAKS, count_matmul_parameters, describe_mfu, flops_per_token, mfu, peak_flops

LLAMA_8B = {"layers": 32, "heads": 32, "head_size": 128}
LLAMA_8B_MATMUL = 8_030_261_248 - 128_256 * 4096
H100 = "NVIDIA H100 80GB HBM3"


def llama(tied: bool) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=tied,
        )
    )


def body() -> int:
    attention = 8 * 8 + 2 * 8 * 4 + 8 * 8
    return 2 * (attention + 3 * 8 * 16 + 2 * 8) + 8


def test_the_head_counts_once_tied_or_not() -> None:
    assert count_matmul_parameters(llama(tied=False)) == body() + 50 * 8
    assert count_matmul_parameters(llama(tied=True)) == body() + 50 * 8


def test_a_table_of_positions_is_only_looked_up() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=32, n_embd=8, n_layer=1, n_head=2))
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert count_matmul_parameters(model) == everything - 32 * 8


def test_the_real_model_has_its_published_size() -> None:
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert count_matmul_parameters(model) == LLAMA_8B_MATMUL


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_partitioned_by_zero3_count_whole(tied: bool) -> None:
    model = llama(tied)
    whole = count_matmul_parameters(model)
    for parameter in model.parameters():
        parameter.ds_numel = parameter.numel()  # type: ignore[attr-defined]
        parameter.data = torch.empty(0)
    assert count_matmul_parameters(model) == whole


def test_parameters_partitioned_by_fsdp_count_whole() -> None:
    model = llama(tied=False)
    whole = count_matmul_parameters(model)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        for module in model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, torch.nn.Parameter(distribute_tensor(parameter.data, mesh, [Shard(0)])))
        weight = model.lm_head.weight
        assert isinstance(weight, DTensor)
        assert weight.to_local().numel() == weight.numel() / 2
        assert count_matmul_parameters(model) == whole
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("tokens_per_second", "published"), [(5762, 0.33), (6667, 0.39)])
def test_torchtitans_llama_on_h100(tokens_per_second: int, published: float) -> None:
    flops = flops_per_token(LLAMA_8B_MATMUL, length=8192, **LLAMA_8B)
    assert flops == 6 * LLAMA_8B_MATMUL + 12 * 32 * 4096 * 8192
    assert mfu(tokens_per_second, flops, peak_flops(H100, "bf16")) == pytest.approx(published, abs=0.01)


def test_lumis_7b_counts_one_half_of_a_module() -> None:
    without_attention = flops_per_token(7_000_000_000, layers=0, heads=0, head_size=0, length=2048)
    assert mfu(1242, without_attention, peak_flops("AMD Instinct MI250X", "bf16")) == pytest.approx(0.27, abs=0.005)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        (H100, 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", 835),
        ("A100-SXM4-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("AMD Instinct MI250X", 191.5),
        ("AMD Instinct MI300X OAM", 1307.4),
        ("AMD Instinct MI300X VF", 1307.4),
    ],
)
def test_each_make_of_a_chip_has_its_own_peak(name: str, teraflops: float) -> None:
    assert peak_flops(name, "bf16") == teraflops * 1e12


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA A100-SXM-64GB",
        "NVIDIA A40-48Q",
        "NVIDIA RTX A4000",
        "NVIDIA GB200",
        "NVIDIA H100",
        "AMD Instinct MI250X / MI250",
        "AMD Instinct MI300A",
        "AMD Radeon Graphics",
        "Tesla V100-SXM2-32GB",
        "cpu (x86_64)",
        "",
    ],
)
def test_no_peak_is_guessed(name: str) -> None:
    assert peak_flops(name, "bf16") is None
    assert mfu(1000, 1e9, peak_flops(name, "bf16")) is None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "fp8"])
def test_peaks_are_those_of_bf16_only(precision: str) -> None:
    assert {peak_flops(f"NVIDIA {name}", precision) for name in PEAKS} == {None}


def test_a_share_is_told_with_what_it_rests_on() -> None:
    shape = {"matmul_parameters": LLAMA_8B_MATMUL, "length": 8192, **LLAMA_8B}
    told = describe_mfu(5762, device_name=H100, precision="bf16", **shape)
    assert told == (
        "MFU 33.7% of 989.4 TFLOP/s, NVIDIA H100 80GB HBM3 in dense bf16 "
        "(6·N + 12·L·h·q·t = 5.79e+10 FLOP a token, N = 7,504,924,672, t = 8,192)"
    )
    unknown = describe_mfu(5762, device_name="cpu (x86_64)", precision="fp32", **shape)
    assert unknown.startswith("MFU unknown: no peak is on record for cpu (x86_64) in fp32 (6·N + ")

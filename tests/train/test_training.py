"""Training one can trust: packing is exact, splitting a batch changes nothing, a killed run ends in the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cpt.errors import UserError
from cpt.files import read_lines
from cpt.tokens.mix import IGNORED, Batch, Mix
from cpt.tokens.shards import Shard
from cpt.train.checkpoint import load_checkpoint, save_checkpoint
from cpt.train.engines.plain import PlainEngine
from cpt.train.hooks import StepRecord
from cpt.train.ledger import MetricsLog, ledger, training_flops
from cpt.train.loop import Plan, train
from cpt.train.schedules import Schedule


def tiny(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    return LlamaForCausalLM(config)


def engine(model: LlamaForCausalLM, micro_batch: int = 4) -> PlainEngine:
    return PlainEngine(
        model, device="cpu", bf16=False, micro_batch=micro_batch, weight_decay=0.1, betas=(0.9, 0.95), clip=1.0
    )


def shard(lengths: list[int]) -> Shard:
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, 64, sum(lengths))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    amounts = np.stack([np.asarray(lengths), np.asarray(lengths)], axis=1)[:, None, :]
    return Shard("test", ("eng_Latn",), tokens, starts, amounts, 64)


MIX = Mix([shard([5, 9, 17, 3, 30, 11, 8, 21, 13, 7, 40, 6])], 16, seed=0)


def plan(steps: int, checkpoint: Path | None = None, save_every: int = 3, fingerprint: str = "a") -> Plan:
    return Plan(steps, 4, 1e-2, Schedule("cosine", 0.1, 0.0, 15), save_every, checkpoint, fingerprint)


def test_packed_documents_give_the_loss_and_gradients_of_unpacked_ones() -> None:
    lengths = [9, 5, 18]
    ids = torch.randint(3, 64, (sum(lengths),), generator=torch.Generator().manual_seed(1))
    numbers = np.repeat(np.arange(3), lengths)
    labels = np.where(np.append(numbers[1:], 0) == numbers, np.append(ids.numpy()[1:], 0), IGNORED)
    labels[-1] = IGNORED
    positions = np.concatenate([np.arange(length) for length in lengths])
    batch = Batch(ids.numpy()[None], labels[None], numbers[None], positions[None])

    packed = engine(tiny())
    loss = packed._loss_sum(batch, slice(0, 1))
    loss.backward()

    single = tiny()
    total = torch.zeros(())
    for text in ids.split(lengths):
        logits = single(input_ids=text[None], use_cache=False).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, text[1:], reduction="sum")
    total.backward()

    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    for (name, mine), (_, theirs) in zip(packed.parameters.items(), single.named_parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=2e-5), name


def test_joining_without_a_mask_would_be_noticed() -> None:
    """The check above can fail: without the mask the loss is another."""
    batch = MIX.batch(0, 2)
    masked = engine(tiny())._loss_sum(batch, slice(0, 2)).item()
    joined = Batch(batch.inputs, batch.labels, np.zeros_like(batch.documents), batch.positions)
    assert abs(engine(tiny())._loss_sum(joined, slice(0, 2)).item() - masked) > 1e-3


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_splitting_the_global_batch_changes_nothing_but_rounding(micro_batch: int) -> None:
    whole, split = engine(tiny(), 4), engine(tiny(), micro_batch)
    for step in range(4):
        batch = MIX.batch(4 * step, 4)
        assert split.step(batch, 1e-2) == pytest.approx(whole.step(batch, 1e-2), rel=1e-4)


class KilledError(Exception):
    pass


class KillAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, step: int, steps: int) -> None: ...

    def after_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            raise KilledError


def test_killed_twice_and_resumed_ends_in_the_same_bits(tmp_path: Path) -> None:
    straight = engine(tiny())
    train(straight, MIX, plan(12), [MetricsLog(tmp_path / "straight.jsonl")])

    for step in (5, 10):  # after the checkpoints of steps 3 and 9
        broken = engine(tiny())
        log = MetricsLog(tmp_path / "broken.jsonl")
        with pytest.raises(KilledError):
            train(broken, MIX, plan(12, tmp_path / "state"), [log, KillAfter(step)])
    resumed = engine(tiny(seed=9))  # its own weights must not matter
    train(resumed, MIX, plan(12, tmp_path / "state"), [MetricsLog(tmp_path / "broken.jsonl")])

    for (name, one), (_, two) in zip(straight.parameters.items(), resumed.parameters.items(), strict=True):
        assert torch.equal(one, two), name
    curves = [
        [(line["step"], line["loss"], line["lr"]) for line in read_lines(tmp_path / f"{name}.jsonl")]
        for name in ("straight", "broken")
    ]
    assert curves[0] == curves[1]
    assert [step for step, *_ in curves[0]] == list(range(1, 13))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_checkpoint(path, engine(tiny()).state(), 7, "a")
    found = load_checkpoint(path, "a")
    assert found is not None
    assert found[0] == 7
    with pytest.raises(UserError, match="belongs to another run"):
        load_checkpoint(path, "b")


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_checkpoint(path, engine(tiny()).state(), 7, "a")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"damaged.*launch again"):
        load_checkpoint(path, "a")


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"the loss of step 1 is nan, .*; lower train\.lr"):
        train(engine(model), MIX, plan(2))


def test_the_ledger_counts_what_was_trained() -> None:
    consumed = ledger(MIX, steps=10, global_batch=4, parameters=1000, seconds=1.5, seed=3)
    assert consumed["tokens_seen"] == 10 * 4 * 16
    assert consumed["tokens_unique"] == MIX.epoch_tokens == 170
    assert consumed["epochs"] == pytest.approx(640 / 170)
    assert consumed["flops"] == 6 * 1000 * 640 == training_flops(1000, 640)
    assert sum(source["tokens_seen"] for source in consumed["sources"]) == pytest.approx(640, abs=1)

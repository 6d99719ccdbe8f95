"""Training one can trust: a killed run ends in the same bits, signals stop it cleanly, what goes wrong is named."""

import json
import os
import platform
import signal
from pathlib import Path

import pytest
import torch
from tiny import MIX, KillAfter, KilledError, Losses, engine, plan, rate, weights

from cpt.errors import UserError
from cpt.files import read_json, read_lines
from cpt.train.distributed import DistContext
from cpt.train.hooks import Hook, Session, StepRecord
from cpt.train.ledger import LedgerWriter, ledger, training_flops
from cpt.train.loop import train
from cpt.train.metrics_log import MetricsLog, is_spike
from cpt.train.signals import StoppedError
from cpt.train.speed import Speedometer

GOLDEN = Path(__file__).parent / "golden"
PLATFORMS = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class SignalAfter(Hook):
    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    def after_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            os.kill(os.getpid(), self.number)


def curve(path: Path) -> list[tuple[int, float, float, float]]:
    return [(line["step"], line["loss"], line["lr"], line["gradient_norm"]) for line in read_lines(path)]


@pytest.mark.parametrize("bf16", [False, True])
def test_killed_twice_and_resumed_ends_in_the_same_bits(bf16: bool, tmp_path: Path) -> None:
    straight = engine(bf16=bf16)
    train(straight, MIX, plan(12), [rate(), MetricsLog(tmp_path / "straight.jsonl")])

    for step in (5, 10):  # after the checkpoints of steps 3 and 9
        log = MetricsLog(tmp_path / "broken.jsonl")
        with pytest.raises(KilledError):
            train(engine(bf16=bf16), MIX, plan(12, tmp_path / "kept"), [rate(), log, KillAfter(step)])
    resumed = engine(bf16=bf16, seed=9)  # its own weights must not matter
    train(resumed, MIX, plan(12, tmp_path / "kept"), [rate(), MetricsLog(tmp_path / "broken.jsonl")])

    for (name, one), two in zip(weights(straight).items(), weights(resumed).values(), strict=True):
        assert torch.equal(one, two), name
    assert curve(tmp_path / "straight.jsonl") == curve(tmp_path / "broken.jsonl")
    assert [step for step, *_ in curve(tmp_path / "broken.jsonl")] == list(range(1, 13))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_saves_and_stops_and_the_run_goes_on_to_the_same_bits(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    straight = engine()
    train(straight, MIX, plan(7), [rate()])
    stopping = plan(7, tmp_path / "kept", save_every=100)
    with pytest.raises(StoppedError, match=r"saved after step 4 of 7; launch again"):
        train(engine(), MIX, stopping, [rate(), SignalAfter(4, number)])
    assert signal.getsignal(number) == before
    resumed, losses = engine(seed=9), Losses()
    train(resumed, MIX, stopping, [rate(), losses])
    assert [step for step, *_ in losses.seen] == [5, 6, 7]
    again = weights(resumed)
    assert all(torch.equal(value, again[name]) for name, value in weights(straight).items())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_documents(caplog: pytest.LogCaptureFixture) -> None:
    broken = engine()
    broken.write("lm_head.weight", "weight", torch.full((64, 32), float("nan")))
    with pytest.raises(UserError, match=r"the loss of step 1 is nan, .*one document \d+.*Lower train\.lr") as told:
        train(broken, MIX, plan(2), [rate()])
    named = MIX.names(0, 8)
    assert f"{named[0][0]} document {named[0][1]}" in str(told.value)
    assert all(f"{source} document {number}" in caplog.text for source, number in named)


def test_losses_by_source_add_up_to_the_loss() -> None:
    result = engine().step(MIX.batch(0, 8), 2)
    labels = MIX.batch(0, 8)
    counts = [int(((labels.sources == source) & (labels.labels >= 0)).sum()) for source in (0, 1)]
    parts = [result.source_losses[source] * counts[source] for source in (0, 1)]
    assert min(counts) > 0
    assert sum(parts) / sum(counts) == pytest.approx(result.loss, rel=1e-9)


def test_the_log_has_everything_and_marks_spikes(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", Speedometer(1e6, 1e12, torch.device("cpu"), processes=2))
    log.on_start(Session(engine(), 0, 40))
    for step in range(1, 41):
        loss = 9.0 if step == 30 else 2.0 + 0.01 * (step % 3)
        log.after_step(StepRecord(step, 40, loss, 1e-3, 1.0, 1000, 0.5, 0.1, {"one": loss, "two": 1.0}))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if line.get("spike")] == [30]
    assert lines[0]["tokens_per_second"] == 2000
    assert lines[0]["mfu"] == pytest.approx(2000 / 2 * 1e6 / 1e12)
    assert lines[0]["memory"] > 10_000_000
    assert lines[0]["waited"] == 0.1
    assert lines[29]["sources"] == {"one": 9.0, "two": 1.0}


@pytest.mark.parametrize(
    ("loss", "recent", "wanted"),
    [
        (100.0, [1.0] * 19, False),  # too little to compare with
        (1.04, [1.0] * 20, False),
        (1.06, [1.0] * 20, True),
        (2.0, [1.0, 2.0] * 20, False),
        (4.6, [1.0, 2.0] * 20, True),  # mean 1.5, deviation 0.5
        (0.1, [1.0] * 50, False),
    ],
)
def test_a_spike_is_far_above_the_losses_before_it(loss: float, recent: list[float], wanted: bool) -> None:
    assert is_spike(loss, recent) is wanted


def test_the_ledger_counts_what_was_trained(tmp_path: Path) -> None:
    def finished(session: Session) -> dict[str, object]:
        return ledger(MIX, steps=session.steps, global_batch=8, parameters=1000, seconds=1.5, seed=3)

    writer = LedgerWriter(tmp_path / "ledger.json", finished, {"engine": "plain"})
    train(engine(), MIX, plan(5), [rate(), writer])
    consumed = read_json(tmp_path / "ledger.json")
    assert consumed["tokens_seen"] == 5 * 8 * 16
    assert consumed["tokens_unique"] == MIX.epoch_tokens == 170
    assert consumed["epochs"] == pytest.approx(640 / 170)
    assert consumed["flops"] == 6 * 1000 * 640 == training_flops(1000, 640)
    assert consumed["engine"] == "plain"
    assert sum(source["tokens_seen"] for source in consumed["sources"]) == pytest.approx(640, abs=2)


@pytest.mark.parametrize("device", PLATFORMS)
def test_golden_losses(device: str) -> None:
    """A fixed tiny run, step by step, as it was when its file was written; a change of these numbers must be meant.

    One file a platform, made on it by running this with CPT_GOLDEN=write. Another make of processor rounds differently,
    so the last digits are left out.
    """
    path = GOLDEN / f"{device}.txt"
    losses = Losses()
    train(engine(dist=DistContext(device=torch.device(device))), MIX, plan(20), [rate(), losses])
    lines = [f"{step} {loss:.6f} {norm:.5f}" for step, loss, norm in losses.seen]
    if os.environ.get("CPT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {platform.machine()}, torch {torch.__version__}\n" + "\n".join(lines) + "\n")
    wanted = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    for (step, loss, norm), (wanted_step, wanted_loss, wanted_norm) in zip(losses.seen, wanted, strict=True):
        assert step == int(wanted_step)
        assert loss == pytest.approx(float(wanted_loss), abs=2e-5)
        assert norm == pytest.approx(float(wanted_norm), rel=1e-3)


def test_hooks_can_change_everything_a_technique_needs() -> None:
    """Options by parameter, a further loss, gradients before they are clipped, and weights after the step."""
    start = weights(engine())

    class Technique(Hook):
        def __init__(self) -> None:
            self.norms: list[float] = []

        def parameter_options(self, name: str) -> dict[str, float]:
            return {"lr_factor": 0.0, "weight_decay": 0.0} if "embed" in name else {}

        def on_start(self, session: Session) -> None:
            self.engine = session.engine

        def extra_loss(self, model: object, outputs: object) -> torch.Tensor:
            norm = self.engine.parameters["model.norm.weight"]
            return 5.0 * (norm - 3.0).square().sum()

        def after_backward(self, trained: object) -> None:
            gradient = self.engine.read("lm_head.weight", "gradient")
            assert gradient is not None
            self.norms.append(float(gradient.norm()))
            self.engine.write("lm_head.weight", "gradient", torch.zeros_like(gradient))

        def after_step(self, record: StepRecord) -> None:
            name = "model.layers.0.mlp.up_proj.weight"
            self.engine.write(name, "weight", start[f"weight:{name}"])

    technique = Technique()
    trained = engine(hooks=[technique], weight_decay=0.0)
    train(trained, MIX, plan(6), [rate(), technique])
    end = weights(trained)
    assert min(technique.norms) > 0
    moved = {name for name in start if name.startswith("weight:") and not torch.equal(start[name], end[name])}
    still = {"model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight"}
    assert {f"weight:{name}" for name in trained.parameters} - moved == {f"weight:{name}" for name in still}
    assert (end["weight:model.norm.weight"] > 1.02).all(), "the further loss pulls these towards 3"


def test_activations_are_computed_anew_where_asked() -> None:
    calls = []
    for checkpointing in (False, True):
        one = engine(checkpointing=checkpointing, micro_batch=8)
        count = [0]
        one.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, c=count: c.__setitem__(0, c[0] + 1))
        one.set_lr(1e-2)
        result = one.step(MIX.batch(0, 8), 2)
        calls.append((count[0], result.loss, result.gradient_norm))
    assert [count for count, *_ in calls] == [1, 2]
    assert calls[0][1:] == pytest.approx(calls[1][1:], rel=1e-6)


def test_a_line_of_the_log_is_json_for_every_step(tmp_path: Path) -> None:
    train(engine(), MIX, plan(3), [rate(), MetricsLog(tmp_path / "metrics.jsonl")])
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert {"step", "loss", "lr", "gradient_norm", "tokens", "tokens_per_second", "sources"} <= set(
            json.loads(line)
        )


def test_a_global_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="a global batch of 8 does not divide into micro-batches of 3 on 1 processes"):
        engine(micro_batch=3)

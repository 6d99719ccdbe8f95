"""Evaluation while training: when, on which text, and that a resumed run's curve is the uninterrupted one's."""

import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from cpt.corpora.toy.world import ToyWorld
from cpt.evals.curve import HeldOutCurve, beginning, means, points
from cpt.evals.questions import Likelihood
from cpt.evals.scorers.torch_scorer import Scorer
from cpt.files import read_lines
from cpt.models.base_model import BaseModel
from cpt.models.toy import STAND_INS, architecture
from cpt.models.weights import Blueprint
from cpt.train.distributed import DistContext
from cpt.train.engines import make_engine
from cpt.train.engines.engine import Settings
from cpt.train.hooks import Session, StepRecord

TEXTS = {"eng_Latn": ["the doctor treats the patient.", "a day at the sea"], "zul_Latn": ["ukudla kwasekuseni kwethu"]}


def test_points_are_shares_of_the_training_and_multiples() -> None:
    assert points(100, [0, 0.25, 1], None) == {0, 25, 100}
    assert points(10, [1], 4) == {0, 4, 8, 10}
    assert points(3, [], None) == set()


def test_a_text_is_cut_at_a_character() -> None:
    assert beginning(["abc", "défg"], 5) == ["abc", "d"]
    assert beginning(["abc"], 2) == ["ab"]
    assert beginning(["é"], 1) == []


def test_the_mean_of_a_role_is_over_its_languages() -> None:
    assert means({"a": 1.0, "b": 3.0, "c": 5.0}, {"a": "train", "b": "train", "c": "code"}) == {
        "train": 2.0,
        "code": 5.0,
    }


def curve(path: Path, world: ToyWorld, model: LlamaForCausalLM, length: int = 64) -> HeldOutCurve:
    tokenizer = BaseModel("toy:l3", "main", world).tokenizer()
    base, roles = Blueprint.of_model(model).weights, {"eng_Latn": "english", "zul_Latn": "train"}
    return HeldOutCurve(path, TEXTS, tokenizer, length=length, at=[0, 0.5, 1], every=None, base=base, roles=roles)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(1)
    return LlamaForCausalLM(architecture(STAND_INS["l3"]))


def test_it_is_the_benchmark_s_bits_per_byte(world: ToyWorld, tmp_path: Path, model: LlamaForCausalLM) -> None:
    engine = make_engine("plain", Blueprint.of_model(model), Settings(global_batch=1), DistContext())
    hook = curve(tmp_path / "curve.jsonl", world, model)
    hook.on_start(Session(engine, 0, 10))
    [line] = read_lines(tmp_path / "curve.jsonl")
    scorer = Scorer(model, BaseModel("toy:l3", "main", world).tokenizer(), "cpu")
    for language, texts in TEXTS.items():
        nats = sum(scorer.answer([Likelihood(text) for text in texts]))
        wanted = nats / math.log(2) / sum(len(text.encode()) for text in texts)
        assert line["bits_per_byte"][language] == pytest.approx(wanted, rel=1e-5)
    assert line["distance"] == 0


def test_a_resumed_run_has_every_point_once(world: ToyWorld, tmp_path: Path, model: LlamaForCausalLM) -> None:
    engine = make_engine("plain", Blueprint.of_model(model), Settings(global_batch=1), DistContext())
    path = tmp_path / "curve.jsonl"
    for begin, end in ((0, 7), (4, 6), (5, 10)):  # killed after 7 and after 6, gone on with from 4 and from 5
        hook = curve(path, world, model)
        hook.on_start(Session(engine, begin, 10))
        for step in range(begin + 1, end + 1):
            hook.after_step(StepRecord(step, 10, 1.0, 1e-3, 1.0, 64, 0.1))
    assert [line["step"] for line in read_lines(path)] == [0, 5, 10]


def test_moved_weights_are_measured(world: ToyWorld, tmp_path: Path, model: LlamaForCausalLM) -> None:
    engine = make_engine("plain", Blueprint.of_model(model), Settings(global_batch=1), DistContext())
    value = engine.read("model.norm.weight", "weight")
    assert value is not None
    engine.write("model.norm.weight", "weight", value + 3.0)
    curve(tmp_path / "curve.jsonl", world, model).on_start(Session(engine, 0, 10))
    [line] = read_lines(tmp_path / "curve.jsonl")
    assert line["distance"] == pytest.approx(3 * math.sqrt(128))

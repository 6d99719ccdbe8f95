"""A scorer's batches, trees and caches give what one plain forward pass at a time gives."""

import math

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cpt.corpora.toy.world import ToyWorld
from cpt.evals.bpb import bits_per_byte
from cpt.evals.scorer import Scorer
from cpt.evals.sib200 import LABELS
from cpt.models.base import BaseModel

TEXTS = ["the doctor treats the patient.", "the team kicks the ball quickly.", "def f(x):\n    return x\n", "a"]


@pytest.fixture(scope="module", params=["l3", "l2"])
def scorer(request: pytest.FixtureRequest, world: ToyWorld) -> Scorer:
    tokenizer = BaseModel(f"toy:{request.param}", "main", world).tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    return Scorer(LlamaForCausalLM(config), tokenizer, "cpu")


def plain_nats(scorer: Scorer, ids: list[int], first: int = 1) -> float:
    """Negative log-likelihood of ids[first:] given what stands before, in one forward pass."""
    with torch.inference_mode():
        logits = scorer.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        steps = torch.log_softmax(logits.float(), dim=-1)[range(first - 1, len(ids) - 1), ids[first:]]
    return -float(steps.double().sum())


def test_nats_are_those_of_each_text_alone(scorer: Scorer) -> None:
    start = scorer.tokenizer.bos_token_id
    expected = [plain_nats(scorer, [start, *ids]) for ids in scorer.encode(TEXTS, special=False)]
    for batch in (1, 3):
        assert scorer.nats(TEXTS, batch) == pytest.approx(expected, rel=1e-5)


def test_long_texts_are_read_in_windows(scorer: Scorer) -> None:
    text = "the doctor treats the patient. " * 90
    [ids] = scorer.encode([text], special=False)
    size = scorer.context - 1
    assert len(ids) > size
    start = scorer.tokenizer.bos_token_id
    expected = sum(plain_nats(scorer, [start, *ids[i : i + size]]) for i in range(0, len(ids), size))
    assert scorer.nats([text], 2) == pytest.approx([expected], rel=1e-5)


def test_a_tree_of_labels_scores_as_one_label_at_a_time(scorer: Scorer) -> None:
    prompts = [f'The topic of the news "{text}" is' for text in TEXTS]
    scores = scorer.labels(prompts, LABELS, stem="is", batch=3)
    for row, text in enumerate(prompts):
        [before] = scorer.encode([text])
        for column, label in enumerate(LABELS):
            [whole] = scorer.encode([f"{text} {label}"])
            assert whole[: len(before)] == before
            assert scores[row, column] == pytest.approx(-plain_nats(scorer, whole, len(before)), abs=1e-3)
    assert len(np.unique(scores.round(4))) > 7


def test_greedy_continuations_are_those_of_transformers(scorer: Scorer) -> None:
    limits = [12, 5, 9, 12]
    found = scorer.continuations(TEXTS, limits, batch=4)
    for text, limit, made in zip(TEXTS, limits, found, strict=True):
        ids = torch.tensor(scorer.encode([text]))
        with torch.inference_mode():
            whole = scorer.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False, pad_token_id=0
            )
        expected = scorer.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
        assert made == expected.split("\n")[0]


def test_bits_per_byte_of_a_uniform_guess_over_bytes_is_eight() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)

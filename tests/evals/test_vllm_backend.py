"""What vLLM is given and how its outputs are read gives torch's answers; and so does vLLM itself, where it is.

vLLM cannot be installed beside the torch that everything else is tested with. So most tests put what a tiny model on
torch computes, one plain forward pass at a time, into outputs of the form that vLLM's have: `Logprob` of
vllm/logprobs.py, `CompletionOutput` and `RequestOutput` of vllm/outputs.py, as they are in 0.33.0, as far as they are
read here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.evals.questions import Choice, Continuation, Likelihood, ModelRequest, NextToken
from cpt.evals.scorers.torch_scorer import Scorer
from cpt.evals.scorers.vllm_scorer import BATCHES_AT_ONCE, TokenSpan, VllmRequest, VllmScorer, batches, vllm_requests
from cpt.models.base_model import BaseModel

TEXTS = ["the doctor treats the patient.", "the team kicks the ball quickly.", "def f(x):\n    return x\n", "a"]
LONG = "the doctor treats the patient. " * 90
CHOICES = [
    Choice("the topic of the doctor is", (" health", " the ball and the team", " x", "y\n")),
    Choice("a", ("", "b", " the doctor treats")),
    Choice(LONG, (" patient", " ball, kicked quickly")),
]
NEXT = [NextToken("the doctor treats", (" the", " patient", "a")), NextToken(LONG[:400], (" ball", " the", "x"))]
LIKELIHOODS = [Likelihood(text) for text in (*TEXTS, "", LONG)]
CONTINUATIONS = [
    Continuation("the doctor treats", 12),
    Continuation("the team", 24, stops=(" ", "e")),
    Continuation("def f(x):", 30, stops=()),
    Continuation(LONG, 9, stops=("th", "\n")),
]
PENALISED = [replace(request, penalty=1.3) for request in CONTINUATIONS]


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool


def tiny(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module", params=["l3", "l2"])
def scorer(request: pytest.FixtureRequest, world: ToyWorld) -> Scorer:
    tokenizer = BaseModel(f"toy:{request.param}", "main", world).tokenizer()
    return Scorer(tiny(tokenizer), tokenizer, "cpu")


def plain(scorer: Scorer, ids: list[int]) -> torch.Tensor:
    """Logits of one forward pass over one text."""
    with torch.no_grad():
        return scorer.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


def engine(scorer: Scorer, loaded: list[VllmRequest]) -> list[RequestOutput]:
    """As vLLM answers, by one plain forward pass a token."""
    for request in loaded:
        assert 0 < len(request.ids) <= scorer.context - 1, "vLLM refuses prompts without room for an output"
        assert len(request.ids) + request.sampling["max_tokens"] <= scorer.context
    return [_output(scorer, str(number), request) for number, request in enumerate(loaded)]


def _output(scorer: Scorer, name: str, request: VllmRequest) -> RequestOutput:
    sampling = request.sampling
    assert sampling["temperature"] == 0, "only greedy decoding is stood in for"
    steps = torch.log_softmax(plain(scorer, request.ids), dim=-1)
    prompt = None
    if "prompt_logprobs" in sampling:
        assert sampling["prompt_logprobs"] == 1
        prompt = [None, *(_scores(row, [token]) for row, token in zip(steps, request.ids[1:], strict=False))]
    made, text = _greedy(scorer, request)
    named = [_scores(steps[-1], [made[0], *sampling["logprob_token_ids"]])] if "logprob_token_ids" in sampling else None
    return RequestOutput(name, None, request.ids, prompt, [CompletionOutput(0, text, made, None, named)], True)


def _scores(row: torch.Tensor, tokens: list[int]) -> dict[int, Logprob]:
    """The named tokens, and the likeliest: of equals, one is called the first, and the others share the last place."""
    found = {token: Logprob(float(row[token]), int((row >= row[token]).sum())) for token in tokens}
    likeliest = int(row.argmax())
    return {**found, likeliest: Logprob(float(row[likeliest]), 1)}


def _greedy(scorer: Scorer, request: VllmRequest) -> tuple[list[int], str]:
    """Tokens up to the one that completes a stop, which are all returned, and the text before the stop."""
    sampling, made, text = request.sampling, list[int](), ""
    decode = scorer.tokenizer.decode
    while len(made) < sampling["max_tokens"]:
        ids = [*request.ids, *made]
        logits = plain(scorer, ids)[-1]
        seen = torch.tensor(sorted(set(ids)))
        penalty = sampling.get("repetition_penalty", 1.0)
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        made.append(int(logits.argmax()))
        if made[-1] == scorer.tokenizer.eos_token_id:
            break
        text = str(decode([*ids, made[-1]], skip_special_tokens=True))
        text = text[len(decode(request.ids, skip_special_tokens=True)) :]
        ends = [text.find(stop) for stop in sampling.get("stop", []) if stop in text]
        if ends:
            return made, text[: min(ends)]
    return made, text


def answered(scorer: Scorer, requests: Sequence[ModelRequest]) -> list[Any]:
    loaded, read = vllm_requests(scorer, requests)
    return read(engine(scorer, loaded))


def test_endings_are_scored_as_in_a_plain_pass_over_prompt_and_ending(scorer: Scorer) -> None:
    for request, pairs, torchs in zip(CHOICES, answered(scorer, CHOICES), scorer.answer(CHOICES), strict=True):
        assert [greedy for _, greedy in pairs] == [greedy for _, greedy in torchs]
        assert [value for value, _ in pairs] == pytest.approx([value for value, _ in torchs], abs=1e-3)
        [before] = scorer.encode([request.prompt])
        if len(before) > scorer.context - 10:
            continue  # cut: what stands before is torch's business
        for ending, (value, greedy) in zip(request.endings, pairs, strict=True):
            [whole] = scorer.encode([request.prompt + ending])
            if len(whole) <= len(before):
                continue  # merged with the prompt, or nothing: torch's business too
            rows = torch.log_softmax(plain(scorer, whole), dim=-1)[len(before) - 1 : -1]
            wanted = torch.tensor(whole[len(before) :])
            assert value == pytest.approx(float(rows.gather(1, wanted[:, None]).double().sum()), abs=1e-4)
            assert greedy is bool((rows.argmax(dim=1) == wanted).all())


def test_an_ending_that_greedy_decoding_gives_is_said_to_be_so(scorer: Scorer) -> None:
    [said] = scorer.answer([Continuation("the doctor treats", 3, stops=())])
    request = Choice("the doctor treats", (said, said + " the"))
    [torchs], [[first, second]] = scorer.answer([request]), answered(scorer, [request])
    assert [first[1], second[1]] == [greedy for _, greedy in torchs]


def test_of_tokens_that_are_as_likely_only_the_one_that_is_taken_is_greedy() -> None:
    """vLLM counts as the rank of a token how many are at least as likely, but calls the likeliest that it names 1."""
    made = CompletionOutput(0, "", [7], None, [{7: Logprob(-0.5, 1)}])

    def read(scores: dict[int, Logprob]) -> tuple[float, bool]:
        return TokenSpan([1, 5, 7], 1).read(RequestOutput("0", None, [1, 5], [None, scores], [made], True))

    assert read({5: Logprob(-0.25, 1)}) == (-0.75, True)
    assert read({5: Logprob(-0.25, 2), 6: Logprob(-0.25, 1)}) == (-0.75, False)
    assert TokenSpan([1, 5, 7], 1).request().sampling["prompt_logprobs"] == 1


def test_one_scored_token_asks_for_no_scores_of_the_prompt(scorer: Scorer) -> None:
    """vLLM reads a prompt anew, whatever it has cached, where it has to score it."""
    assert "prompt_logprobs" not in TokenSpan([1, 2, 3], 2).request().sampling
    assert "prompt_logprobs" in TokenSpan([1, 2, 3], 1).request().sampling


def test_texts_are_as_likely_as_in_plain_passes_over_their_windows(scorer: Scorer) -> None:
    found = answered(scorer, LIKELIHOODS)
    size, start = scorer.context - 1, scorer.tokenizer.bos_token_id
    for ids, value in zip(scorer.encode([request.text for request in LIKELIHOODS], special=False), found, strict=True):
        expected = 0.0
        for window in ([start, *ids[first : first + size]] for first in range(0, len(ids), size)):
            rows = torch.log_softmax(plain(scorer, window), dim=-1)[:-1]
            expected -= float(rows.gather(1, torch.tensor(window[1:])[:, None]).double().sum())
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-4)
    assert found == pytest.approx(scorer.answer(LIKELIHOODS), rel=1e-5)
    assert len(ids) > size


def test_words_that_may_come_next_differ_as_their_logits_do(scorer: Scorer) -> None:
    for found, logits in zip(answered(scorer, NEXT), scorer.answer(NEXT), strict=True):
        assert [value - found[0] for value in found] == pytest.approx([x - logits[0] for x in logits], abs=1e-4)
        assert max(found) < 0


@pytest.mark.parametrize("requests", [CONTINUATIONS, PENALISED], ids=["plain", "penalised"])
def test_greedy_continuations_are_torchs(scorer: Scorer, requests: list[Continuation]) -> None:
    found = answered(scorer, requests)
    assert found == [scorer.answer([request])[0] for request in requests]
    assert not any(stop in text for request, text in zip(requests, found, strict=True) for stop in request.stops)


def test_an_output_is_its_tokens_text_up_to_the_stop_and_keeps_its_leading_space(scorer: Scorer) -> None:
    _, read = vllm_requests(scorer, [Continuation("the doctor", 9, stops=("\n", "ball"))])
    [before, whole] = scorer.encode(["the doctor", "the doctor treats the ball quickly"])
    made = CompletionOutput(0, "", whole[len(before) :], None, None)
    assert read([RequestOutput("0", None, before, None, [made], True)]) == [" treats the "]


def test_drawn_continuations_are_asked_for_with_the_settings_of_the_question(scorer: Scorer) -> None:
    request = Continuation("the", 9999, ("\n", "\\n"), temperature=0.1, top_p=0.9, penalty=1.2, seed=2**63 + 5)
    [[made], _] = vllm_requests(scorer, [request])
    assert [made.ids] == scorer.encode(["the"])
    assert made.sampling == {
        "temperature": 0.1,
        "top_p": 0.9,
        "repetition_penalty": 1.2,
        "max_tokens": scorer.context // 2,
        "stop": ["\n", "\\n"],
        "seed": 5,
    }


def test_a_batch_is_of_one_kind_and_large(scorer: Scorer) -> None:
    requests: list[Any] = [
        *CONTINUATIONS,
        *[Likelihood(str(number)) for number in range(3 * BATCHES_AT_ONCE)],
        *CONTINUATIONS,
    ]
    found = batches(requests, 2)
    assert sorted(number for batch in found for number in batch) == list(range(len(requests)))
    assert all(len({type(requests[number]) for number in batch}) == 1 and batch == sorted(batch) for batch in found)
    assert [len(batch) for batch in found] == [2 * len(CONTINUATIONS), 2 * BATCHES_AT_ONCE, BATCHES_AT_ONCE]


def test_without_vllm_it_is_said_what_to_install_before_anything_is_loaded(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"needs the package vllm.*cpt-study\[vllm\].*CUDA or ROCm.*torch of its own"):
        VllmScorer("/nowhere", scorer.tokenizer, revision=None, dtype="bfloat16")


def _no_engine() -> str | None:
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed: it wants another torch than the rest is tested with"
    from vllm.platforms import current_platform

    return "vllm finds no device that it was built for" if current_platform.is_unspecified() else None


@pytest.mark.skipif(_no_engine() is not None, reason=str(_no_engine()))
def test_vllm_itself_gives_torchs_answers(scorer: Scorer, tmp_path: Path) -> None:
    scorer.model.save_pretrained(tmp_path)
    vllm = VllmScorer(str(tmp_path), scorer.tokenizer, revision=None, dtype="float32", memory_share=0.2)
    assert vllm.context == scorer.context
    greedy = Choice("the doctor treats", tuple(scorer.answer([Continuation("the doctor treats", 3, stops=())])))
    for pairs, torchs in zip(vllm.answer([*CHOICES, greedy]), scorer.answer([*CHOICES, greedy]), strict=True):
        assert [value for value, _ in pairs] == pytest.approx([value for value, _ in torchs], abs=1e-2)
        assert [greedy for _, greedy in pairs] == [greedy for _, greedy in torchs]
    assert vllm.answer(LIKELIHOODS) == pytest.approx(scorer.answer(LIKELIHOODS), rel=1e-4, abs=1e-2)
    for found, logits in zip(vllm.answer(NEXT), scorer.answer(NEXT), strict=True):
        assert [value - found[0] for value in found] == pytest.approx([x - logits[0] for x in logits], abs=1e-2)
    for requests in (CONTINUATIONS, PENALISED):
        assert vllm.answer(requests) == [scorer.answer([request])[0] for request in requests]
    sampled = [replace(request, temperature=0.7, top_p=0.9, penalty=1.2, seed=3) for request in CONTINUATIONS]
    assert vllm.answer(sampled) == [vllm.answer([request])[0] for request in sampled]

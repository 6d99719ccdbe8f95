"""Batches, trees of endings and shared prefixes give what one plain forward pass at a time gives; so does lm-eval.

With the three tokenizers of test_paper_protocol.py. Numbers agree to 1e-4 nats, in fp32 on a CPU.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from test_paper_protocol import CLOSE, MAKERS, SENTENCES, TOKENIZERS, tiny
from tokenizers.processors import TemplateProcessing
from transformers import RepetitionPenaltyLogitsProcessor

from cpt.config import BenchmarkConfig
from cpt.evals.benchmark import Item, ScoringResources, Unit
from cpt.evals.benchmarks.bpb import BitsPerByte, bits_per_byte
from cpt.evals.benchmarks.sib200 import LABELS
from cpt.evals.questions import Choice, Continuation, Likelihood, ModelRequest, NextToken
from cpt.evals.scorers.continuations import sample
from cpt.evals.scorers.torch_scorer import Scorer

CONTEXT = 128
START = "Topic: one of many, of which these are some, and there are others beside them, which nobody has named yet. "
"""More tokens than are read anew for each row."""
LONG = "The doctor treats the patient. Врач лечит больного. " * 40


@pytest.fixture(scope="module", params=TOKENIZERS)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    tokenizer = MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    return Scorer(tiny(tokenizer, CONTEXT), tokenizer, "cpu")


def steps(scorer: Scorer, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of what follows each token, by one forward pass over one row."""
    with torch.inference_mode():
        logits = scorer.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


def plain(scorer: Scorer, ids: list[int], first: int) -> tuple[float, bool]:
    """Log-likelihood of ids[first:] given what stands before, and whether greedy decoding gives them."""
    before = steps(scorer, ids)[first - 1 : len(ids) - 1]
    wanted = torch.tensor(ids[first:])
    return float(before.gather(1, wanted[:, None]).double().sum()), bool((before.argmax(dim=1) == wanted).all())


def answers(scorer: Scorer, requests: list[Any], size: int) -> list[Any]:
    found: dict[int, Any] = {}
    for numbers in scorer.batches(requests, size):
        assert len(numbers) <= size
        found |= zip(numbers, scorer.answer([requests[number] for number in numbers]), strict=True)
    return [found[number] for number in range(len(requests))]


def split_alike(scorer: Scorer, prompt: str, ending: str) -> bool:
    """Whether the prompt's tokens stay what they are when the ending follows."""
    before = scorer.tokenizer(prompt).input_ids
    return bool(scorer.tokenizer(prompt + ending).input_ids[: len(before)] == before)


def each_alone(scorer: Scorer, request: Choice) -> list[tuple[float, bool]]:
    """What a choice is to be answered with: each ending with its prompt in a row of its own."""
    before = len(scorer.tokenizer(request.prompt).input_ids)
    wholes = [scorer.tokenizer(request.prompt + ending).input_ids for ending in request.endings]
    over = max(0, max(map(len, wholes)) - CONTEXT)
    assert not over or all(split_alike(scorer, request.prompt, ending) for ending in request.endings)
    rows = [[ids[0], *ids[over + 1 :]] if over else ids for ids in wholes]
    return [plain(scorer, ids, min(before - over, len(ids) - 1)) for ids in rows]


TOPICS = tuple(f" {label}" for label in LABELS)
APART = [
    Choice('The topic of "Die Ärztin" is', TOPICS),
    Choice("Врач лечит", (" больного", " команду в большой больнице", " x")),
    Choice("แพทย์รักษา", ("ผู้ป่วย", " ทีม", "ลูกบอลอย่างรวดเร็ว ในโรงพยาบาล")),
    Choice("The team kicks", (" the ball", "\nthe ball, quickly!", " the ball again and again and again")),
    Choice("डॉक्टर", (" मरीज़ का इलाज करता है।", " टीम")),
]
TOGETHER = [replace(request, prompt=START + request.prompt) for request in APART]


@pytest.mark.parametrize("requests", [APART, TOGETHER, APART + TOGETHER], ids=["apart", "together", "both"])
@pytest.mark.parametrize("size", [1, 3, 16])
def test_endings_in_a_tree_are_as_likely_as_each_alone(scorer: Scorer, requests: list[Choice], size: int) -> None:
    found = answers(scorer, requests, size)
    for request, answer in zip(requests, found, strict=True):
        expected = each_alone(scorer, request)
        assert [value for value, _ in answer] == pytest.approx([value for value, _ in expected], abs=CLOSE)
        assert [greedy for _, greedy in answer] == [greedy for _, greedy in expected]
    assert len({round(value, 3) for answer in found for value, _ in answer}) > 10


def test_an_ending_that_greedy_decoding_gives_is_said_to_be_so(scorer: Scorer) -> None:
    # Wherever the text of its own continuation is split as it was made.
    prompts = [f"{START}{text}" for text in SENTENCES[:8]]
    made = scorer.answer([Continuation(prompt, 1, stops=()) for prompt in prompts])
    requests = [Choice(prompt, (text, " geography")) for prompt, text in zip(prompts, made, strict=True) if text]
    expected = [each_alone(scorer, request) for request in requests]
    assert any(greedy for request in expected for _, greedy in request)
    found = answers(scorer, requests, 4)
    assert [[greedy for _, greedy in answer] for answer in found] == [
        [greedy for _, greedy in request] for request in expected
    ]


def test_endings_that_change_how_the_prompt_is_split_are_scored_behind_as_many_tokens(scorer: Scorer) -> None:
    """Some tokenizer joins letters over the border; the ending's tokens are then the ones past the prompt's number."""
    prompts = ["The doctor tre", "The team kick", "The topic of the news is one of sci", "Врач лечит больн", "ทีมเต"]
    endings = ("ats the patient", "s the ball, quickly", "ence/technology, travel", "ого в больнице", "ะบอลอย่าง")
    requests = [Choice(start + prompt, endings) for prompt in prompts for start in ("", START)]
    alike = [split_alike(scorer, request.prompt, ending) for request in requests for ending in endings]
    assert any(alike)
    assert not all(alike)
    for request, answer in zip(requests, answers(scorer, requests, 8), strict=True):
        assert np.array(answer) == pytest.approx(np.array(each_alone(scorer, request), dtype=float), abs=CLOSE)


def test_a_prompt_longer_than_the_context_keeps_its_first_token_and_its_end(scorer: Scorer) -> None:
    requests = [Choice(LONG + prompt, TOPICS) for prompt in ("The topic is", "Die Ärztin is")] + APART
    for request, answer in zip(requests, answers(scorer, requests, 16), strict=True):
        assert np.array(answer) == pytest.approx(np.array(each_alone(scorer, request), dtype=float), abs=CLOSE)
    words = (" the", " ball", "о")
    for size in (1, 4):
        found = answers(scorer, [NextToken(LONG, words), NextToken(f"{LONG}a", words), NextToken("a", words)], size)
        for prompt, answer in zip((LONG, f"{LONG}a", "a"), found, strict=True):
            ids = scorer.tokenizer(prompt).input_ids
            ids = ids if len(ids) <= CONTEXT else [ids[0], *ids[-CONTEXT + 1 :]]
            assert answer == pytest.approx(next_logits(scorer, ids, words), abs=CLOSE)


def next_logits(scorer: Scorer, ids: list[int], words: tuple[str, ...]) -> list[float]:
    with torch.inference_mode():
        logits = scorer.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return [float(logits[scorer.tokenizer(word).input_ids[-1]]) for word in words]


@pytest.mark.parametrize("size", [1, 3, 16])
def test_next_tokens_are_as_likely_as_behind_each_prompt_alone(scorer: Scorer, size: int) -> None:
    requests = [NextToken(request.prompt, request.endings) for request in APART + TOGETHER]
    for request, answer in zip(requests, answers(scorer, requests, size), strict=True):
        ids = scorer.tokenizer(request.prompt).input_ids
        assert answer == pytest.approx(next_logits(scorer, ids, request.words), abs=CLOSE)


def test_texts_are_read_behind_a_start_in_windows_of_the_context(scorer: Scorer) -> None:
    texts = [*SENTENCES, "a", "", LONG, LONG[: len(LONG) // 2]]
    start = scorer.tokenizer.bos_token_id
    start = scorer.tokenizer.eos_token_id if start is None else start
    expected = []
    for text in texts:
        ids = scorer.tokenizer(text, add_special_tokens=False).input_ids
        likelihood_windows = [ids[first : first + CONTEXT - 1] for first in range(0, len(ids), CONTEXT - 1)]
        expected.append(-sum(plain(scorer, [start, *window], 1)[0] for window in likelihood_windows))
    assert len(scorer.tokenizer(LONG).input_ids) > 3 * CONTEXT
    for size in (1, 4, 32):
        assert answers(scorer, [Likelihood(text) for text in texts], size) == pytest.approx(expected, abs=CLOSE)


def test_an_ending_is_as_likely_as_the_whole_text_is_less_likely_than_the_prompt(scorer: Scorer) -> None:
    """Choices are padded on the left and share prefixes, whole texts are padded on the right and share none."""
    tokenizer = copy.deepcopy(scorer.tokenizer)
    mark = str(tokenizer.convert_ids_to_tokens(scorer.start))  # texts begin with it, so let choices do so too
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{mark} $A", pair=f"{mark} $A $B", special_tokens=[(mark, scorer.start)]
    )
    scorer = Scorer(scorer.model, tokenizer, "cpu")
    pairs = [(request.prompt, ending) for request in APART + TOGETHER for ending in request.endings]
    pairs = [pair for pair in pairs if split_alike(scorer, *pair)]
    assert len(pairs) > 10
    found = [answer[0][0] for answer in answers(scorer, [Choice(prompt, (ending,)) for prompt, ending in pairs], 7)]
    wholes, prompts = (
        np.array(answers(scorer, [Likelihood(text) for text in texts], 7))
        for texts in (["".join(pair) for pair in pairs], [prompt for prompt, _ in pairs])
    )
    assert found == pytest.approx(prompts - wholes, abs=CLOSE)


def test_lm_evals_own_backend_finds_endings_as_likely(scorer: Scorer) -> None:
    """Where the ending changes how the prompt is split, lm-eval shows the model the prompt as split alone: left out."""
    requests = [
        request
        for request in APART + TOGETHER
        if all(split_alike(scorer, request.prompt, ending) for ending in request.endings)
    ]
    assert len(requests) > 4
    pairs = [(request.prompt, ending) for request in requests for ending in request.endings]
    other = HFLM(pretrained=scorer.model, tokenizer=scorer.tokenizer, batch_size=4, max_length=CONTEXT)
    instances = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    expected = other.loglikelihood(instances, disable_tqdm=True)
    found = list(chain.from_iterable(answers(scorer, requests, 5)))
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=CLOSE)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_lm_evals_own_backend_finds_texts_as_likely(scorer: Scorer) -> None:
    """Of one window: lm-eval lays further ones out otherwise."""
    other = HFLM(
        pretrained=scorer.model, tokenizer=scorer.tokenizer, batch_size=4, max_length=CONTEXT, add_bos_token=False
    )
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in SENTENCES]
    expected = other.loglikelihood_rolling(requests, disable_tqdm=True)
    found = answers(scorer, [Likelihood(text) for text in SENTENCES], 5)
    assert found == pytest.approx([-value for value in expected], abs=CLOSE)


# --- Continuations ---------------------------------------------------------------------------------------------------

PROMPTS = [*SENTENCES[:5], "def f(x):\n    return x", "a", *(START + text for text in SENTENCES[5:8])]


def generated(scorer: Scorer, prompt: str, tokens: int, **how: Any) -> str:
    """What transformers itself makes of one prompt, as it reads behind the prompt."""
    ids = torch.tensor([scorer.tokenizer(prompt).input_ids])
    with torch.inference_mode():
        whole = scorer.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0, **how
        )
    before, after = (str(scorer.tokenizer.decode(text, skip_special_tokens=True)) for text in (ids[0], whole[0]))
    assert after.startswith(before)
    return after[len(before) :]


@pytest.mark.parametrize("penalty", [1.0, 1.2])
def test_greedy_continuations_are_those_of_transformers(scorer: Scorer, penalty: float) -> None:
    limits = [3 + 5 * (number % 4) for number in range(len(PROMPTS))]
    how = {} if penalty == 1 else {"repetition_penalty": penalty}
    expected = [generated(scorer, prompt, limit, **how) for prompt, limit in zip(PROMPTS, limits, strict=True)]
    requests = [Continuation(prompt, limit, (), penalty=penalty) for prompt, limit in zip(PROMPTS, limits, strict=True)]
    for size in (1, 4, 16):
        assert answers(scorer, requests, size) == expected


def test_the_penalty_is_that_of_transformers_on_known_logits(scorer: Scorer) -> None:
    """Tokens of prompt and output alike, each once, whichever sign their logits have."""
    prompt = scorer.tokenizer(PROMPTS[0]).input_ids
    processor = RepetitionPenaltyLogitsProcessor(1.2)
    ids = list(prompt)
    for _ in range(6):
        with torch.inference_mode():
            logits = scorer.model(input_ids=torch.tensor([ids])).logits[:, -1]
        ids.append(int(processor(torch.tensor([ids]), logits).argmax()))
    before, after = (scorer.tokenizer.decode(text) for text in (prompt, ids))
    assert scorer.answer([Continuation(PROMPTS[0], 6, (), penalty=1.2)]) == [after[len(before) :]]


class Told(torch.nn.Module):
    """A model that says what it is told behind one prompt: for stops, whose tokens no random model gives."""

    def __init__(self, scorer: Scorer, prompt: str, tokens: list[int]) -> None:
        super().__init__()
        self.inner, self.config = scorer.model, scorer.model.config
        self.first, self.tokens = len(scorer.tokenizer(prompt).input_ids) - 1, tokens

    def forward(self, position_ids: torch.Tensor, **rest: Any) -> Any:
        found = self.inner(position_ids=position_ids, **rest)
        for row, position in enumerate(position_ids[:, -1].tolist()):
            found.logits[row, -1, self.tokens[position - self.first]] = 1e4
        return found


def spelled(scorer: Scorer, text: str) -> list[int]:
    """A text's tokens, letter by letter: as they are split behind a letter."""
    known = scorer.encode(["a\n"], special=False)[0]
    made = [token for letter in text for token in scorer.encode([f"a\n{letter}"], special=False)[0][len(known) :]]
    assert scorer.tokenizer.decode(known + made) == f"a\n{text}"
    return made


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        (" two lines\nof text", ("\n",), " two lines"),
        (" a backslash\\n and more", ("\n", "\\n"), " a backslash"),
        (" a backslash\\ and no n", ("\n", "\\n"), " a backslash\\ and no n"),
        (" slash\\\nn", ("\\n", "\n"), " slash\\"),
        ("\nat once", ("\n",), ""),
        (" врач\nлечит", ("\n",), " врач"),
        (" แพทย์ENDผู้", ("END",), " แพทย์"),
        (" EN แพทย์ E N D", ("END",), " EN แพทย์ E N D"),
        (" ends\nwith none", (), " ends\nwith none"),
    ],
)
def test_a_continuation_ends_before_its_first_stop(
    scorer: Scorer, text: str, stops: tuple[str, ...], expected: str
) -> None:
    prompt = "The answer is:"
    model: Any = Told(scorer, prompt, [*spelled(scorer, text), scorer.tokenizer.eos_token_id])
    loaded = Scorer(model, scorer.tokenizer, "cpu")
    assert loaded.answer([Continuation(prompt, 60, stops)]) == [expected]


def test_a_continuation_has_no_more_tokens_than_asked_for(scorer: Scorer) -> None:
    tokens = spelled(scorer, " больного\nand more")
    model: Any = Told(scorer, "Врач лечит", tokens)
    loaded = Scorer(model, scorer.tokenizer, "cpu")
    for limit in (1, 2, 5):
        before, whole = (scorer.tokenizer.decode(scorer.encode(["a"])[0] + made) for made in ([], tokens[:limit]))
        assert loaded.answer([Continuation("Врач лечит", limit)]) == [whole[len(before) :]]


def test_a_prompt_with_nothing_in_it_is_a_start(scorer: Scorer) -> None:
    """As lm-eval has it: its backend reads a start token where a prompt is empty."""
    request = Choice("", ("The doctor treats", "Врач", "a"))
    expected = [
        plain(scorer, [scorer.start, *scorer.encode([ending], special=False)[0]], 1) for ending in request.endings
    ]
    [found] = scorer.answer([request])
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=CLOSE)
    [found] = scorer.answer([NextToken("", ("The", "Врач"))])
    assert found == pytest.approx(next_logits(scorer, [scorer.start], ("The", "Врач")), abs=CLOSE)


def test_an_answer_does_not_depend_on_its_batch(scorer: Scorer) -> None:
    requests: list[ModelRequest] = [
        Continuation(prompt, 6 + 3 * (number % 3), temperature=1.5, top_p=0.9, penalty=1.2, seed=number)
        for number, prompt in enumerate(PROMPTS)
    ]
    alone = answers(scorer, requests, 1)
    assert answers(scorer, requests, 4) == alone
    assert answers(scorer, requests, 16) == alone
    assert answers(scorer, requests[::-1], 16) == alone[::-1]
    other = [replace(request, seed=request.seed + 100) for request in requests]  # type: ignore[arg-type]
    assert answers(scorer, other, 16) != alone


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
def test_tokens_are_drawn_from_the_smallest_set_that_has_top_p(top_p: float) -> None:
    """Each of that set by its renewed probability, and nothing beside it."""
    probabilities = np.array([0.02, 0.4, 0.08, 0.3, 0.2])
    order = np.argsort(-probabilities)
    size = int(np.searchsorted(np.cumsum(probabilities[order]), top_p - 1e-6)) + 1
    kept = np.where(np.isin(np.arange(5), order[:size]), probabilities, 0)
    numbers = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    logits = torch.from_numpy(np.log(probabilities)).float().expand(len(numbers), -1)
    found = np.bincount(sample(logits, top_p, numbers).numpy(), minlength=5) / len(numbers)
    assert found == pytest.approx(kept / kept.sum(), abs=1e-3)


def test_questions_of_one_batch_are_alike_and_the_longest_come_first(scorer: Scorer) -> None:
    """Whatever order they are in, every question is in one batch, with others that are asked in the same way."""
    requests: list[ModelRequest] = [
        *APART,
        *(Likelihood(text) for text in SENTENCES),
        *(Continuation(text, 3) for text in SENTENCES),
        *(Continuation(text, 3, penalty=1.2) for text in SENTENCES),
        *(NextToken(text, (" a",)) for text in SENTENCES),
    ]
    found = scorer.batches(requests, 4)
    assert sorted(chain.from_iterable(found)) == list(range(len(requests)))
    for batch in found:
        assert len({type(requests[number]) for number in batch}) == 1
        assert len({getattr(requests[number], "penalty", None) for number in batch}) == 1
    assert scorer.batches(requests, 4) == found
    assert scorer.batches([], 4) == []


# --- Bits per byte ---------------------------------------------------------------------------------------------------


def test_bits_per_byte_of_a_uniform_guess_over_bytes_is_eight() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)


def test_bits_per_byte_of_a_language_are_those_worked_out_by_hand(scorer: Scorer, tmp_path: Path) -> None:
    """By plain passes: the bits of all tokens over the bytes of the text."""
    texts = [f"{text}\n{text}" for text in SENTENCES]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "rus_Cyrl.jsonl").write_text(lines, encoding="utf-8")
    benchmark, unit = (
        BitsPerByte(BenchmarkConfig([], 0, None, 4), tmp_path, ScoringResources()),
        Unit("bpb", "rus_Cyrl", "", ""),
    )
    questions = benchmark.questions(unit, lambda texts: scorer.encode(texts, special=False))
    found = answers(scorer, [question.request for question in questions], 4)
    [measured] = benchmark.measure(
        unit, [Item(question.request, {}, answer) for question, answer in zip(questions, found, strict=True)]
    )
    bits = size = 0.0
    for text in texts:
        ids = [scorer.start, *scorer.tokenizer(text, add_special_tokens=False).input_ids]
        assert len(ids) <= CONTEXT
        for place, row in enumerate(steps(scorer, ids)[:-1].tolist()):
            bits -= math.log2(math.exp(row[ids[place + 1]]))
        size += len(text.encode("utf-8"))
    assert measured.score(measured.statistics.sum(axis=0)) == pytest.approx(bits / size, rel=1e-6)


def test_endings_that_share_nothing_with_a_prompt_are_scored_as_each_alone(scorer: Scorer) -> None:
    """Together with either ending the prompt's one letter becomes another token, so no token is common to all."""
    requests = [Choice("T", ("he doctor", "eam")), Choice("T", ("he doctor",)), Choice("T", ("eam",))]
    together, *alone = scorer.answer(requests)
    for found, [expected] in zip(together, alone, strict=True):
        assert found[0] == pytest.approx(expected[0], abs=CLOSE)


def test_an_empty_ending_is_certain(scorer: Scorer) -> None:
    [[empty, other]] = scorer.answer([Choice("The doc", ("", " and more"))])
    assert empty == [0.0, True]
    assert other[0] < 0

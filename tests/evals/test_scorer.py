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
from cpt.evals.aids import Aids
from cpt.evals.benchmark import Item, Unit
from cpt.evals.benchmarks.bpb import BitsPerByte, bits_per_byte
from cpt.evals.benchmarks.sib200 import LABELS
from cpt.evals.questions import Ask, Choice, Continuation, Likelihood, NextToken
from cpt.evals.scorers.continuations import drawn
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


def answers(scorer: Scorer, asks: list[Any], size: int) -> list[Any]:
    found: dict[int, Any] = {}
    for numbers in scorer.batches(asks, size):
        assert len(numbers) <= size
        found |= zip(numbers, scorer.answer([asks[number] for number in numbers]), strict=True)
    return [found[number] for number in range(len(asks))]


def split_alike(scorer: Scorer, prompt: str, ending: str) -> bool:
    """Whether the prompt's tokens stay what they are when the ending follows."""
    before = scorer.tokenizer(prompt).input_ids
    return bool(scorer.tokenizer(prompt + ending).input_ids[: len(before)] == before)


def each_alone(scorer: Scorer, ask: Choice) -> list[tuple[float, bool]]:
    """What a choice is to be answered with: each ending with its prompt in a row of its own."""
    before = len(scorer.tokenizer(ask.prompt).input_ids)
    wholes = [scorer.tokenizer(ask.prompt + ending).input_ids for ending in ask.endings]
    over = max(0, max(map(len, wholes)) - CONTEXT)
    assert not over or all(split_alike(scorer, ask.prompt, ending) for ending in ask.endings)
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
TOGETHER = [replace(ask, prompt=START + ask.prompt) for ask in APART]


@pytest.mark.parametrize("asks", [APART, TOGETHER, APART + TOGETHER], ids=["apart", "together", "both"])
@pytest.mark.parametrize("size", [1, 3, 16])
def test_endings_in_a_tree_are_as_likely_as_each_alone(scorer: Scorer, asks: list[Choice], size: int) -> None:
    found = answers(scorer, asks, size)
    for ask, answer in zip(asks, found, strict=True):
        expected = each_alone(scorer, ask)
        assert [value for value, _ in answer] == pytest.approx([value for value, _ in expected], abs=CLOSE)
        assert [greedy for _, greedy in answer] == [greedy for _, greedy in expected]
    assert len({round(value, 3) for answer in found for value, _ in answer}) > 10


def test_an_ending_that_greedy_decoding_gives_is_said_to_be_so(scorer: Scorer) -> None:
    # Wherever the text of its own continuation is split as it was made.
    prompts = [f"{START}{text}" for text in SENTENCES[:8]]
    made = scorer.answer([Continuation(prompt, 1, stops=()) for prompt in prompts])
    asks = [Choice(prompt, (text, " geography")) for prompt, text in zip(prompts, made, strict=True) if text]
    expected = [each_alone(scorer, ask) for ask in asks]
    assert any(greedy for ask in expected for _, greedy in ask)
    found = answers(scorer, asks, 4)
    assert [[greedy for _, greedy in answer] for answer in found] == [[greedy for _, greedy in ask] for ask in expected]


def test_endings_that_change_how_the_prompt_is_split_are_scored_behind_as_many_tokens(scorer: Scorer) -> None:
    """Some tokenizer joins letters over the border; the ending's tokens are then the ones past the prompt's number."""
    prompts = ["The doctor tre", "The team kick", "The topic of the news is one of sci", "Врач лечит больн", "ทีมเต"]
    endings = ("ats the patient", "s the ball, quickly", "ence/technology, travel", "ого в больнице", "ะบอลอย่าง")
    asks = [Choice(start + prompt, endings) for prompt in prompts for start in ("", START)]
    alike = [split_alike(scorer, ask.prompt, ending) for ask in asks for ending in endings]
    assert any(alike)
    assert not all(alike)
    for ask, answer in zip(asks, answers(scorer, asks, 8), strict=True):
        assert np.array(answer) == pytest.approx(np.array(each_alone(scorer, ask), dtype=float), abs=CLOSE)


def test_a_prompt_longer_than_the_context_keeps_its_first_token_and_its_end(scorer: Scorer) -> None:
    asks = [Choice(LONG + prompt, TOPICS) for prompt in ("The topic is", "Die Ärztin is")] + APART
    for ask, answer in zip(asks, answers(scorer, asks, 16), strict=True):
        assert np.array(answer) == pytest.approx(np.array(each_alone(scorer, ask), dtype=float), abs=CLOSE)
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
    asks = [NextToken(ask.prompt, ask.endings) for ask in APART + TOGETHER]
    for ask, answer in zip(asks, answers(scorer, asks, size), strict=True):
        ids = scorer.tokenizer(ask.prompt).input_ids
        assert answer == pytest.approx(next_logits(scorer, ids, ask.words), abs=CLOSE)


def test_texts_are_read_behind_a_start_in_windows_of_the_context(scorer: Scorer) -> None:
    texts = [*SENTENCES, "a", "", LONG, LONG[: len(LONG) // 2]]
    start = scorer.tokenizer.bos_token_id
    start = scorer.tokenizer.eos_token_id if start is None else start
    expected = []
    for text in texts:
        ids = scorer.tokenizer(text, add_special_tokens=False).input_ids
        windows = [ids[first : first + CONTEXT - 1] for first in range(0, len(ids), CONTEXT - 1)]
        expected.append(-sum(plain(scorer, [start, *window], 1)[0] for window in windows))
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
    pairs = [(ask.prompt, ending) for ask in APART + TOGETHER for ending in ask.endings]
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
    asks = [ask for ask in APART + TOGETHER if all(split_alike(scorer, ask.prompt, ending) for ending in ask.endings)]
    assert len(asks) > 4
    pairs = [(ask.prompt, ending) for ask in asks for ending in ask.endings]
    other = HFLM(pretrained=scorer.model, tokenizer=scorer.tokenizer, batch_size=4, max_length=CONTEXT)
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    expected = other.loglikelihood(requests, disable_tqdm=True)
    found = list(chain.from_iterable(answers(scorer, asks, 5)))
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
    asks = [Continuation(prompt, limit, (), penalty=penalty) for prompt, limit in zip(PROMPTS, limits, strict=True)]
    for size in (1, 4, 16):
        assert answers(scorer, asks, size) == expected


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
    asked = Scorer(model, scorer.tokenizer, "cpu")
    assert asked.answer([Continuation(prompt, 60, stops)]) == [expected]


def test_a_continuation_has_no_more_tokens_than_asked_for(scorer: Scorer) -> None:
    tokens = spelled(scorer, " больного\nand more")
    model: Any = Told(scorer, "Врач лечит", tokens)
    asked = Scorer(model, scorer.tokenizer, "cpu")
    for limit in (1, 2, 5):
        before, whole = (scorer.tokenizer.decode(scorer.encode(["a"])[0] + made) for made in ([], tokens[:limit]))
        assert asked.answer([Continuation("Врач лечит", limit)]) == [whole[len(before) :]]


def test_a_prompt_with_nothing_in_it_is_a_start(scorer: Scorer) -> None:
    """As lm-eval has it: its backend reads a start token where a prompt is empty."""
    ask = Choice("", ("The doctor treats", "Врач", "a"))
    expected = [plain(scorer, [scorer.start, *scorer.encode([ending], special=False)[0]], 1) for ending in ask.endings]
    [found] = scorer.answer([ask])
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=CLOSE)
    [found] = scorer.answer([NextToken("", ("The", "Врач"))])
    assert found == pytest.approx(next_logits(scorer, [scorer.start], ("The", "Врач")), abs=CLOSE)


def test_an_answer_does_not_depend_on_its_batch(scorer: Scorer) -> None:
    asks: list[Ask] = [
        Continuation(prompt, 6 + 3 * (number % 3), temperature=1.5, top_p=0.9, penalty=1.2, seed=number)
        for number, prompt in enumerate(PROMPTS)
    ]
    alone = answers(scorer, asks, 1)
    assert answers(scorer, asks, 4) == alone
    assert answers(scorer, asks, 16) == alone
    assert answers(scorer, asks[::-1], 16) == alone[::-1]
    other = [replace(ask, seed=ask.seed + 100) for ask in asks]  # type: ignore[arg-type]
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
    found = np.bincount(drawn(logits, top_p, numbers).numpy(), minlength=5) / len(numbers)
    assert found == pytest.approx(kept / kept.sum(), abs=1e-3)


def test_questions_of_one_batch_are_alike_and_the_longest_come_first(scorer: Scorer) -> None:
    """Whatever order they are in, every question is in one batch, with others that are asked in the same way."""
    asks: list[Ask] = [
        *APART,
        *(Likelihood(text) for text in SENTENCES),
        *(Continuation(text, 3) for text in SENTENCES),
        *(Continuation(text, 3, penalty=1.2) for text in SENTENCES),
        *(NextToken(text, (" a",)) for text in SENTENCES),
    ]
    found = scorer.batches(asks, 4)
    assert sorted(chain.from_iterable(found)) == list(range(len(asks)))
    for batch in found:
        assert len({type(asks[number]) for number in batch}) == 1
        assert len({getattr(asks[number], "penalty", None) for number in batch}) == 1
    assert scorer.batches(asks, 4) == found
    assert scorer.batches([], 4) == []


# --- Bits per byte ---------------------------------------------------------------------------------------------------


def test_bits_per_byte_of_a_uniform_guess_over_bytes_is_eight() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)


def test_bits_per_byte_of_a_language_are_those_worked_out_by_hand(scorer: Scorer, tmp_path: Path) -> None:
    """By plain passes: the bits of all tokens over the bytes of the text."""
    texts = [f"{text}\n{text}" for text in SENTENCES]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "rus_Cyrl.jsonl").write_text(lines, encoding="utf-8")
    benchmark, unit = BitsPerByte(BenchmarkConfig([], 0, None, 4), tmp_path, Aids()), Unit("bpb", "rus_Cyrl", "", "")
    questions = benchmark.questions(unit, lambda texts: scorer.encode(texts, special=False))
    found = answers(scorer, [question.ask for question in questions], 4)
    [measured] = benchmark.measure(
        unit, [Item(question.ask, {}, answer) for question, answer in zip(questions, found, strict=True)]
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
    asks = [Choice("T", ("he doctor", "eam")), Choice("T", ("he doctor",)), Choice("T", ("eam",))]
    together, *alone = scorer.answer(asks)
    for found, [expected] in zip(together, alone, strict=True):
        assert found[0] == pytest.approx(expected[0], abs=CLOSE)


def test_an_empty_ending_is_certain(scorer: Scorer) -> None:
    [[empty, other]] = scorer.answer([Choice("The doc", ("", " and more"))])
    assert empty == [0.0, True]
    assert other[0] < 0

"""Protocol `paper` asks, answers and marks as a plain writing of the published procedure does, item by item.

The plain writing is tests/evals/published_protocol.py. Three tokenizers differ where answers depend on them: byte-level
BPE that begins a text with nothing, SentencePiece with its leading-space marker, and one that adds a start token.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import published_protocol as published
import pytest
import sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cpt.config import BenchmarkConfig
from cpt.corpora.toy.world import ToyWorld
from cpt.evals.benchmark import Item, Question, ScoringResources, Unit
from cpt.evals.benchmarks.flores200 import Flores200
from cpt.evals.benchmarks.sib200 import LABELS, Sib200, predicted
from cpt.evals.questions import Continuation, NextToken
from cpt.evals.rows import EN_X, X_EN
from cpt.evals.scorers.torch_scorer import Scorer
from cpt.languages import language

SENTENCES = [
    "The doctor treats the patient's knee.",
    "She said “no”, and he didn't.",
    "Die Ärztin behandelt den Kranken im Süden.",
    "Врач лечит больного в большой больнице.",
    "แพทย์รักษาผู้ป่วยในโรงพยาบาล",
    "डॉक्टर मरीज़ का इलाज करता है।",
    "The team kicks the ball, quickly!",
    "Команда бьёт по мячу.",
    "ทีมเตะบอลอย่างรวดเร็ว",
    "टीम गेंद को लात मारती है।",
    f"The topic of the news is one of {', '.join(LABELS)}.",
]
ODD = [
    '"He said ""no"", twice."',  # as files are written: quotes doubled within a quoted field
    '"a tab\tand a\nline break within quotes"',
    "NA",
    "nan",
    "null",
    "l'État, c'est moi",
    "a\\nb, with a backslash and n",
    "'quoted'",
    '5 o\'clock "sharp"',
    "</s> is the end, <s> the start",
    "  spaces around  ",
    "1999",
    "ne\u200bwidth\u2028line",
    "漢字かな🙂",
]
TOKENIZERS = ["bytes", "pieces", "start"]
CLOSE = 1e-4


def bytes_only(*marks: str, texts: Sequence[str] = (), vocabulary: int = 0) -> Tokenizer:
    """Byte-level BPE, its first tokens those that are not text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(marks),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return core


def byte_level(folder: Path) -> PreTrainedTokenizerFast:
    """Begins a text with nothing."""
    core = bytes_only("</s>", texts=SENTENCES * 3, vocabulary=700)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


def with_start(folder: Path) -> PreTrainedTokenizerFast:
    """As Llama 3's: its post-processor puts a start token before every text."""
    core = bytes_only("<pad>", "<s>", "</s>", texts=SENTENCES, vocabulary=450)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def sentence_pieces(folder: Path) -> PreTrainedTokenizerFast:
    """A real SentencePiece model, read as Llama 2's is: a marked space before all text, bytes for what is unknown."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 9),
        model_writer=file,
        model_type="bpe",
        vocab_size=600,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(file.getvalue())
    told = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"unk_token": "<unk>"}))
    return cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder))


MAKERS: dict[str, Callable[[Path], PreTrainedTokenizerFast]] = {
    "bytes": byte_level,
    "pieces": sentence_pieces,
    "start": with_start,
}


def tiny(tokenizer: PreTrainedTokenizerFast, context: int = 4096) -> LlamaForCausalLM:
    """Random, with weights so large that it is of firm and varied opinion."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module", params=TOKENIZERS)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    tokenizer = MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    return Scorer(tiny(tokenizer), tokenizer, "cpu")


def rows(rng: random.Random, count: int) -> Iterator[str]:
    for number in range(count):
        text = ODD[number] if number < len(ODD) else " ".join(rng.sample(SENTENCES, 2))
        yield f"{number}\t{rng.choice(LABELS)}\t{text}"


@pytest.fixture(scope="module")
def sib(world: ToyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three languages of the toy world, and one whose rows hold whatever is hard to read."""
    world.benchmarks()
    folder = tmp_path_factory.mktemp("sib200")
    for code in ("eng_Latn", "rus_Cyrl", "tha_Thai"):
        (folder / code).symlink_to(world.folder / "sib200" / code)
    (folder / "hin_Deva").mkdir()
    for split, count in (("train", 30), ("test", 40)):
        text = "\n".join(["index_id\tcategory\ttext", *rows(random.Random(split), count)]) + "\n"
        (folder / "hin_Deva" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


LANGUAGES = ["eng_Latn", "rus_Cyrl", "tha_Thai", "hin_Deva"]


def answered(scorer: Scorer, questions: list[Question], batch: int) -> list[Item]:
    """What an evaluation keeps of a unit's questions."""
    answers: dict[int, Any] = {}
    for numbers in scorer.batches([question.request for question in questions], batch):
        answers |= zip(numbers, scorer.answer([questions[number].request for number in numbers]), strict=True)
    return [Item(question.request, question.facts, answers[number]) for number, question in enumerate(questions)]


def encoded(scorer: Scorer) -> Callable[[list[str]], list[list[int]]]:
    return lambda texts: scorer.encode(texts, special=False)


@pytest.mark.parametrize("code", LANGUAGES)
def test_topics_are_asked_and_answered_as_published(scorer: Scorer, sib: Path, code: str) -> None:
    plain = published.classify(scorer.model, scorer.tokenizer, sib / code)
    benchmark, unit = (
        Sib200(BenchmarkConfig(["paper"], 3, None, 16), sib, ScoringResources()),
        Unit("sib200", code, "", "paper"),
    )
    questions = benchmark.questions(unit, encoded(scorer))
    assert [question.request for question in questions] == [
        NextToken(topic.prompt, tuple(f" {label}" for label in published.LABELS)) for topic in plain
    ]
    for batch in (1, 16):
        items = answered(scorer, questions, batch)
        assert np.array([item.answer for item in items]) == pytest.approx(
            np.array([topic.logits for topic in plain]), abs=CLOSE
        )
        assert [predicted("paper", item.answer) for item in items] == [topic.prediction for topic in plain]
        [measured] = benchmark.measure(unit, items)
        assert measured.statistics[:, 0].tolist() == [topic.correct for topic in plain]
        assert measured.score(measured.statistics.sum(axis=0)) == published.accuracy(plain)
    if code == "hin_Deva":
        assert len({topic.prediction for topic in plain}) > 2, "a model with one opinion shows nothing"


def test_odd_rows_reach_the_prompt_as_pandas_reads_them(sib: Path) -> None:
    """What stands in the files is seen to be hard: the prompts hold what default reading makes of it."""
    train, test = (published.read_topics(sib / "hin_Deva" / f"{split}.tsv") for split in ("train", "test"))
    last = [prompt.split("\n\n", 1)[1] for prompt in published.topic_prompts(train, test)]
    assert last[0].endswith('The topic of the news "He said "no", twice." is\n')
    assert last[1].endswith('The topic of the news "a tab\tand a\nline break within quotes" is\n')
    assert [prompt.endswith('The topic of the news "nan" is\n') for prompt in last[2:5]] == [True] * 3
    assert last[10].endswith('The topic of the news "  spaces around  " is\n')


def test_a_limit_keeps_the_first_items_and_their_shots(scorer: Scorer, sib: Path) -> None:
    benchmark = Sib200(BenchmarkConfig(["paper"], 3, 5, 16), sib, ScoringResources())
    questions = benchmark.questions(Unit("sib200", "hin_Deva", "", "paper"), encoded(scorer))
    plain = published.classify(scorer.model, scorer.tokenizer, sib / "hin_Deva", limit=5)
    assert [question.request.prompt for question in questions] == [topic.prompt for topic in plain]


@given(st.lists(st.integers(-2, 2), min_size=7, max_size=7))
def test_of_equal_logits_the_alphabetically_last_label_wins(values: list[int]) -> None:
    assert predicted("paper", [float(value) for value in values]) == published.largest(values)


def test_labels_that_share_their_last_token_are_told_apart_by_the_alphabet(tmp_path: Path, sib: Path) -> None:
    """A tokenizer that knows no words compares last letters alone, of which seven labels have five."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only("</s>"), eos_token="</s>")
    scorer = Scorer(tiny(tokenizer), tokenizer, "cpu")
    assert len(set(published.label_ids(tokenizer))) < len(LABELS)
    plain = published.classify(scorer.model, tokenizer, sib / "eng_Latn")
    benchmark = Sib200(BenchmarkConfig(["paper"], 3, None, 16), sib, ScoringResources())
    questions = benchmark.questions(Unit("sib200", "eng_Latn", "", "paper"), encoded(scorer))
    found = [predicted("paper", item.answer) for item in answered(scorer, questions, 16)]
    assert found == [topic.prediction for topic in plain]
    tied = [topic for topic in plain if topic.logits.count(max(topic.logits)) > 1]
    assert tied, "no item shows what is done with a tie"


@pytest.fixture(scope="module")
def flores(world: ToyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two directions of the toy world, and a language whose lines hold whatever is hard to read."""
    world.benchmarks()
    folder = tmp_path_factory.mktemp("flores200")
    for split in ("dev", "devtest"):
        (folder / split).mkdir()
        for code in ("eng_Latn", "rus_Cyrl"):
            (folder / split / f"{code}.{split}").symlink_to(world.folder / "flores200" / split / f"{code}.{split}")
        rng = random.Random(split)
        lines = [" led by a space", "trailed by two  ", "\tby tabs\t", "a\u2028b\x0bc\x85d", "NA", '"quoted"', "a\\nb"]
        text = "\n".join([*lines, *rng.choices(SENTENCES, k=8 - len(lines))])
        (folder / split / f"hin_Deva.{split}").write_text(text, encoding="utf-8")  # no line break at the end
    return folder


def translations(scorer: Scorer, flores: Path, code: str, direction: str) -> list[Question]:
    benchmark = Flores200(BenchmarkConfig(["paper"], 3, None, 4), flores, ScoringResources())
    return benchmark.questions(Unit("flores200", code, direction, "paper"), encoded(scorer))


@pytest.mark.parametrize("direction", [EN_X, X_EN])
@pytest.mark.parametrize("code", ["rus_Cyrl", "hin_Deva"])
def test_translations_are_asked_for_as_published(scorer: Scorer, flores: Path, code: str, direction: str) -> None:
    sides = [("eng_Latn", "English"), (code, language(code).name)]
    sides = sides if direction == EN_X else sides[::-1]
    questions = translations(scorer, flores, code, direction)
    assert [question.request.prompt for question in questions] == published.flores_prompts(flores, *sides)
    for number, question in enumerate(questions):
        assert question.request == Continuation(
            question.request.prompt,
            tokens=published.MAX_TOKENS,
            stops=published.STOPS,
            temperature=published.TEMPERATURE,
            top_p=published.TOP_P,
            penalty=published.PENALTY,
            seed=number,
        )
    assert [question.facts["source"] for question in questions] == published.read_sentences(
        flores / "devtest" / f"{sides[0][0]}.devtest"
    )
    assert [question.facts["reference"] for question in questions] == published.read_sentences(
        flores / "devtest" / f"{sides[1][0]}.devtest"
    )


def test_seeds_and_shots_of_the_whole_test_set_are_the_published_ones() -> None:
    from cpt.evals.benchmarks.flores200 import draw_shots

    assert draw_shots(997, 1012, 3) == published.flores_shots(1012, 997)


def test_penalised_decoding_is_the_plain_one(scorer: Scorer, flores: Path) -> None:
    requests: list[Any] = [question.request for question in translations(scorer, flores, "hin_Deva", X_EN)]
    greedy = [replace(request, temperature=0.0, top_p=1.0, tokens=16) for request in requests]
    expected = [
        published.penalised_greedy(scorer.model, scorer.tokenizer, request.prompt, max_tokens=16)
        for request in requests
    ]
    assert scorer.answer(greedy) == [text for _, text in expected]
    free = scorer.answer([replace(request, penalty=1.0) for request in greedy])
    assert free != [text for _, text in expected], "the penalty changed nothing"


def test_drawn_translations_are_the_plain_ones_by_the_same_numbers(scorer: Scorer, flores: Path) -> None:
    requests: list[Any] = [question.request for question in translations(scorer, flores, "hin_Deva", EN_X)]
    sampled = [
        replace(request, temperature=2.0, tokens=16) for request in requests
    ]  # high enough that unlikely tokens are drawn
    expected = [
        published.sampled(
            scorer.model,
            scorer.tokenizer,
            request.prompt,
            np.random.default_rng(request.seed).random(request.tokens).tolist(),
            temperature=request.temperature,
        )
        for request in sampled
    ]
    assert scorer.answer(sampled) == [text for _, text in expected]
    assert scorer.answer(sampled) != scorer.answer([replace(request, temperature=0.0) for request in sampled])


def test_a_whole_drawn_translation_is_the_plain_one(scorer: Scorer, flores: Path) -> None:
    """With the published settings to the letter, up to the published limit."""
    request = translations(scorer, flores, "rus_Cyrl", EN_X)[1].request
    numbers = np.random.default_rng(request.seed).random(published.MAX_TOKENS).tolist()
    tokens, text = published.sampled(scorer.model, scorer.tokenizer, request.prompt, numbers)
    assert scorer.answer([request]) == [text]
    assert len(tokens) > 3


def test_in_bf16_topics_asked_alone_have_the_published_logits_to_the_bit(scorer: Scorer, sib: Path) -> None:
    """Where rounding is coarse a batch may move a logit by a last digit; alone, nothing may differ."""
    half = Scorer(tiny(scorer.tokenizer).bfloat16(), scorer.tokenizer, "cpu")
    plain = published.classify(half.model, half.tokenizer, sib / "hin_Deva", limit=12)
    benchmark = Sib200(BenchmarkConfig(["paper"], 3, 12, 1), sib, ScoringResources())
    questions = benchmark.questions(Unit("sib200", "hin_Deva", "", "paper"), encoded(half))
    assert [item.answer for item in answered(half, questions, 1)] == [topic.logits for topic in plain]

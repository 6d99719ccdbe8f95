"""The study's published evaluation, written plainly: one item at a time, nothing shared, nothing batched.

It exists to be compared with. It was written from the description of the published procedure before the project's own
evaluation was looked at, uses none of the project's code, and trades every speed for being readable beside the
description. What the description leaves open is said where it is decided.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

# --- SIB-200 ---------------------------------------------------------------------------------------------------------

LABELS = ["science/technology", "travel", "politics", "sports", "health", "entertainment", "geography"]
HEADER = "Topic Classification: science/technology, travel, politics, sports, health, entertainment, geography.\n\n"


@dataclass(frozen=True)
class Topic:
    """One item of SIB-200 as it was asked, answered and marked."""

    prompt: str
    gold: str
    logits: list[float]
    prediction: str
    correct: bool


def read_topics(path: Path) -> pd.DataFrame:
    """A SIB-200 file as pandas reads it with nothing but a tab given: quotes are undone and `NA` is a missing value."""
    return pd.read_csv(path, delimiter="\t", index_col="index_id")


def item_seeds(items: int) -> list[int]:
    """One seed an item, in the files' order."""
    random.seed(42)
    return [random.randint(0, 1000) for _ in range(items)]


def topic_prompt(train: pd.DataFrame, text: object, seed: int) -> str:
    """The whole prompt of one item; a missing value is written the way Python writes it, as `nan`."""
    prompt = HEADER
    for _, shot in train.sample(n=3, random_state=seed).iterrows():
        prompt += f'The topic of the news "{shot["text"]}" is {shot["category"]}\n'
    return prompt + f'The topic of the news "{text}" is\n'


def topic_prompts(train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """The prompts of all items of a language."""
    seeds = item_seeds(len(test))
    return [topic_prompt(train, text, seed) for text, seed in zip(test["text"], seeds, strict=True)]


def label_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Of each label the last sub-token; the only one that is compared."""
    return [tokenizer(" " + label).input_ids[-1] for label in LABELS]


def last_logits(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """The next token's logits after these ids, by one forward pass over one row."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0, -1]


def largest(logits: Sequence[float]) -> str:
    """The label with the largest logit; of equal ones the alphabetically last, as a reversed sort has it."""
    pairs = sorted(zip(logits, LABELS, strict=True), reverse=True)
    return pairs[0][1]


def classify(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, limit: int | None = None
) -> list[Topic]:
    """Every item (or the first `limit`) of one language's folder, asked one at a time."""
    train, test = read_topics(folder / "train.tsv"), read_topics(folder / "test.tsv")
    answers = []
    ids = label_ids(tokenizer)
    for prompt, gold in list(zip(topic_prompts(train, test), test["category"], strict=True))[:limit]:
        logits = last_logits(model, tokenizer(prompt).input_ids)
        compared = [logits[index].item() for index in ids]
        answer = largest(compared)
        answers.append(Topic(prompt, gold, compared, answer, answer == gold))
    return answers


def accuracy(answers: Sequence[Topic]) -> float:
    """The published metric."""
    return sum(answer.correct for answer in answers) / len(answers)


# --- FLORES-200 ------------------------------------------------------------------------------------------------------

PENALTY, TEMPERATURE, TOP_P, MAX_TOKENS = 1.2, 0.1, 0.9, 128
STOPS = ("\n", "\\n")


def read_sentences(path: Path) -> list[str]:
    """A FLORES-200 file: one sentence a line, each stripped."""
    with path.open(encoding="utf-8") as lines:
        return [line.strip() for line in lines]


def flores_shots(sentences: int, pool: int) -> list[list[int]]:
    """Which three lines of the pool each sentence is shown; the same line may come twice.

    The range the seeds are drawn from is not described for this task; SIB-200's is taken.
    """
    shots = []
    for seed in item_seeds(sentences):
        random.seed(seed)
        shots.append([random.randint(0, pool - 1) for _ in range(3)])
    return shots


def flores_prompts(folder: Path, source: tuple[str, str], target: tuple[str, str]) -> list[str]:
    """The prompts of one direction; a language is its code, as files are named, and its name, as prompts say it."""
    (src, src_name), (tgt, tgt_name) = source, target
    dev_src, dev_tgt = read_sentences(folder / "dev" / f"{src}.dev"), read_sentences(folder / "dev" / f"{tgt}.dev")
    test_src = read_sentences(folder / "devtest" / f"{src}.devtest")
    prompts = []
    for sentence, shots in zip(test_src, flores_shots(len(test_src), len(dev_src)), strict=True):
        prompt = ""
        for shot in shots:
            prompt += f"[{src_name}]: {dev_src[shot]}\n[{tgt_name}]: {dev_tgt[shot]}\n"
        prompt += f"Translate the following sentence from {src_name} to {tgt_name}\n"
        prompt += f"[{src_name}]: {sentence}\n[{tgt_name}]:"
        prompts.append(prompt)
    return prompts


def penalised(logits: torch.Tensor, seen: Sequence[int], penalty: float) -> torch.Tensor:
    """The logits with every token that stands in the prompt or in the output so far made less likely, once each."""
    logits = logits.clone()
    for token in set(seen):
        logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
    return logits


def nucleus(logits: torch.Tensor, temperature: float, top_p: float) -> list[tuple[int, float]]:
    """The likeliest tokens that together first reach `top_p`, likeliest first, each with its renewed probability."""
    probabilities = torch.softmax(logits.double() / temperature, dim=-1).tolist()
    kept: list[tuple[int, float]] = []
    reached = 0.0
    for token in sorted(range(len(probabilities)), key=lambda token: (-probabilities[token], token)):
        if reached >= top_p:
            break
        kept.append((token, probabilities[token]))
        reached += probabilities[token]
    return [(token, probability / reached) for token, probability in kept]


def at_uniform(choices: Sequence[tuple[int, float]], uniform: float) -> int:
    """The token whose stretch of [0, 1), laid out likeliest first, holds the uniform number."""
    passed = 0.0
    for token, probability in choices:
        passed += probability
        if uniform < passed:
            return token
    return choices[-1][0]


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    choose: Callable[[torch.Tensor, int], int],
    penalty: float,
    max_tokens: int,
    stops: Sequence[str],
) -> tuple[list[int], str]:
    """One prompt continued a token at a time by a full forward pass each: the new ids, and their text before any stop.

    The text is what the new tokens add to the prompt's own, so that a space they begin with is kept: hypotheses are
    not stripped.
    """
    ids = tokenizer(prompt).input_ids
    before = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    new: list[int] = []
    text = ""
    while len(new) < max_tokens:
        token = choose(penalised(last_logits(model, ids + new).float(), ids + new, penalty), len(new))
        if token == tokenizer.eos_token_id:
            break
        new.append(token)
        whole = str(tokenizer.decode(ids + new, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        text = whole[len(before) :]
        found = [text.index(stop) for stop in stops if stop in text]
        if found:
            return new, text[: min(found)]
    return new, text


def penalised_greedy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    penalty: float = PENALTY,
    max_tokens: int = MAX_TOKENS,
    stops: Sequence[str] = STOPS,
) -> tuple[list[int], str]:
    """The published decoding at temperature nought: the part of it that every engine must agree on."""
    return decode(model, tokenizer, prompt, lambda logits, _: int(logits.argmax()), penalty, max_tokens, stops)


def sampled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    uniforms: Sequence[float],
    penalty: float = PENALTY,
    temperature: float = TEMPERATURE,
    top_p: float = TOP_P,
    stops: Sequence[str] = STOPS,
) -> tuple[list[int], str]:
    """The published decoding with its chance handed in: one uniform number a token.

    The published runs had no seed, so how a number becomes a token is a choice made here: likeliest first.
    """

    def choose(logits: torch.Tensor, step: int) -> int:
        return at_uniform(nucleus(logits, temperature, top_p), uniforms[step])

    return decode(model, tokenizer, prompt, choose, penalty, len(uniforms), stops)

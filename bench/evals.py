"""Evaluation speed against peers: one question at a time, lm-eval's HF backend, and one translation at a time.

    python bench/evals.py
    python bench/evals.py --device cuda

All in one process, on one model with random weights, over the same prompts: made-up text in the benchmarks' own file
layouts, sentences of 20 to 25 words, three shots. Shots are drawn for each item, so prompts have no more in common than
their first line; an item's seven labels share the item's own prompt. The clock runs from the texts of the prompts to
the answers. A ratio is of two measurements taken one after the other, each side first in every other pair; only ratios
of one run are to be quoted. All must give the same answers, or it ends with 1.

lm-eval reads a prompt once for all labels of one token, and once more for each longer one. So it is measured under two
tokenizers, which split the labels as Llama 2's and as Llama 3's do. A random model hardly ever ends a line, so both
sides translate up to the limits, over the same tokens. Of the sentences that ours takes every sixth is taken alone.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from machine import load, machine, shown
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.append(str(Path(__file__).parent / "peers"))
from corpus import ALPHABETS, Language

from cpt.config import BenchmarkConfig
from cpt.evals.benchmark import ScoringResources, Unit
from cpt.evals.benchmarks.sib200 import LABELS
from cpt.evals.rows import EN_X, X_EN
from cpt.evals.scorers.torch_scorer import Scorer
from cpt.evals.suite import BENCHMARKS
from cpt.files import write_json, write_text
from cpt.processes import ALLOCATOR, usable_cores

VOCABULARY, SHOTS, OTHER = 16_384, 3, "ssw_Latn"
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
SHAPES = {"cpu": (512, 1536, 12, 8, 2), "cuda": (2048, 8192, 16, 32, 8)}
ITEMS, PAIRS = {"cpu": (6, 32), "cuda": (128, 192)}, (5, 3)
"""Of SIB-200 and of FLORES-200."""
ALONE = 6  # one sentence of so many is translated alone
# One document of so many that tokenizers learn from is not English: sentences then have 2.2 times as many tokens as
# English ones, as African ones in Latin script have by Llama 3.1's tokenizer (arXiv:2606.24460).
RARELY = 800
BATCHES = 16, 32
"""As conf/evals/ has them; lm-eval's is the first."""
# Read off the tokenizers themselves, in the npm packages llama-tokenizer-js 1.2.2 and llama3-tokenizer-js 1.2.0.
SPLITS = {
    "Llama 2": (("techn", "ology", " entertain", "ment", " ge", "ography"), [4, 1, 1, 1, 1, 2, 2]),
    "Llama 3": (("technology", " entertainment", " geography"), [3, 1, 1, 1, 1, 1, 1]),
}
"""What the longer labels are made of, and how many tokens each of the seven then is."""
FRAME = "Topic Classification: The topic of the news is Translate the following sentence from to [ English Swati ]"
SHORT = (" science", "/", " travel", " politics", " sports", " health")


def make_files(folder: Path) -> list[Language]:
    """Benchmark files, each item as large as a real one; English and the other language as they are made up."""
    rng = np.random.default_rng(0)
    tongues = [Language.made_up(*alphabet, rng) for alphabet in ALPHABETS[:2]]

    def sentence(tongue: Language) -> str:
        chosen = tongue.reach.searchsorted(rng.random(rng.integers(20, 26)))
        return " ".join([tongue.capitals[chosen[0]], *tongue.words[chosen[1:]]]) + "."

    for split, size in (("train", 701), ("test", 204)):
        rows = (f"{row}\t{LABELS[row % len(LABELS)]}\t{sentence(tongues[1])}\n" for row in range(size))
        write_text(folder / "sib200" / OTHER / f"{split}.tsv", "index_id\tcategory\ttext\n" + "".join(rows))
    for split in ("dev", "devtest"):
        for code, tongue in zip(("eng_Latn", OTHER), tongues, strict=True):
            text = "".join(f"{sentence(tongue)}\n" for _ in range(200))
            write_text(folder / "flores200" / split / f"{code}.{split}", text)
    return tongues


def make_tokenizer(tongues: list[Language], pieces: tuple[str, ...]) -> Any:
    """A byte-level BPE that knows English, the prompts' words, these pieces of labels, and little else."""

    def texts() -> Iterator[str]:
        rng = np.random.default_rng(1)
        for number in range(2_000):
            yield from (tongues[number % RARELY == 0].document(rng), FRAME, *SHORT, *pieces)

    core: Any = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    settings: Any = {"special_tokens": [*special.values()], "initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    core.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False, **settings))
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=core, **special)


class Sides:
    """A model under a tokenizer, asked in every way that is measured: each takes questions to their answers."""

    def __init__(self, model: Any, tokenizer: Any, device: str) -> None:
        self.scorer, self.model, self.device = Scorer(model, tokenizer, device), model, device
        self.harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCHES[0])
        breaks = [token for token in range(VOCABULARY) if "\n" in tokenizer.decode([token])]
        self.line_ends = [*sorted(self.scorer.ends), *breaks]
        self.ended_early = 0

    def requests(self, folder: Path, unit: Unit, items: int) -> list[Any]:
        config = BenchmarkConfig(protocol=[unit.protocol], shots=SHOTS, items=items)
        benchmark = BENCHMARKS[unit.task](config, folder / unit.task, ScoringResources())
        return [
            question.request for question in benchmark.questions(unit, lambda texts: self.scorer.encode(texts, False))
        ]

    def ours(self, requests: Sequence[Any], batch: int = BATCHES[0]) -> list[Any]:
        answers: dict[int, Any] = {}
        for numbers in self.scorer.batches(requests, batch):
            answers |= zip(numbers, self.scorer.answer([requests[number] for number in numbers]), strict=True)
        return [answers[number] for number in range(len(requests))]

    def labels_alone(self, requests: Sequence[Any]) -> list[Any]:
        """A forward pass for each label of each item."""
        return [[self._label(request.prompt, ending) for ending in request.endings] for request in requests]

    def _label(self, prompt: str, ending: str) -> tuple[float, bool]:
        before, whole = self.scorer.encode([prompt])[0], self.scorer.encode([prompt + ending])[0]
        rows = torch.log_softmax(self._logits(whole)[len(before) - 1 : -1].float(), dim=-1)
        wanted = torch.tensor(whole[len(before) :], device=self.device)
        return float(rows.gather(1, wanted[:, None]).sum()), bool((rows.argmax(dim=1) == wanted).all())

    @torch.inference_mode()
    def _logits(self, ids: list[int]) -> Any:
        return self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False).logits[0]

    def paper_alone(self, requests: Sequence[Any]) -> list[Any]:
        """A forward pass for each item."""
        last = [ids[-1] for ids in self.scorer.encode(list(requests[0].words), special=False)]
        return [self._logits(self.scorer.encode([request.prompt])[0])[-1][last].tolist() for request in requests]

    def lm_eval(self, requests: Sequence[Any]) -> list[Any]:
        pairs = [(request.prompt, ending) for request in requests for ending in request.endings]
        requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
        found = self.harness.loglikelihood(requests, disable_tqdm=True)
        return [found[first : first + len(LABELS)] for first in range(0, len(found), len(LABELS))]

    @torch.inference_mode()
    def translations_alone(self, requests: Sequence[Any]) -> list[Any]:
        """`generate`, greedy, up to a line break; it is told the tokens that have one, which is the cheapest stop."""
        texts = []
        for request in requests:
            ids = torch.tensor(self.scorer.encode([request.prompt]), device=self.device)
            settings = {"max_new_tokens": request.tokens, "eos_token_id": self.line_ends, "pad_token_id": 0}
            whole = self.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **settings)
            self.ended_early += whole.shape[1] - ids.shape[1] < request.tokens
            texts.append(self.harness.tok_decode(whole[0, ids.shape[1] :]).partition("\n")[0])
        return texts


@dataclass(frozen=True)
class Contest:
    """A peer with ours beside it, and the least that we want to reach of its items a second."""

    name: str
    peer: Callable[[Sequence[Any]], list[Any]]
    theirs: list[Any]
    ours: Callable[[Sequence[Any]], list[Any]]
    requests: list[Any]
    target: float | None = None
    pairs: int = PAIRS[0]

    def measure(self, pair: int) -> dict[str, Any]:
        """Seconds an item of both sides, one after the other; in the first pair also how far their answers agree."""
        sides = {"ours": (self.ours, self.requests), "peer": (self.peer, self.theirs)}
        found, answers = {"contest": self.name, "pair": pair, "load": load()}, dict[str, list[Any]]()
        for side in sorted(sides, reverse=bool(pair % 2)):
            answer, requests = sides[side]
            if pair == 0:
                answer(requests[:1])  # whatever a first call makes
            begin = time.perf_counter()
            answers[side] = answer(requests)
            found[side] = (time.perf_counter() - begin) / len(requests)
        if pair == 0:
            found["answers"] = agreement(answers["peer"], self.ours(self.theirs))
        print(f"{pair + 1} {self.name:34} ours {found['ours']:6.3f} s/item, peer {found['peer']:6.3f}", flush=True)
        return found

    def judged(self, measured: list[dict[str, Any]]) -> dict[str, Any]:
        mine = [one for one in measured if one["contest"] == self.name]
        ratios = [round(one["peer"] / one["ours"], 3) for one in mine]
        ratio = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        return {
            **{"peer": self.name, "items": {"ours": len(self.requests), "peer": len(self.theirs)}},
            "items_per_second": {side: 1 / statistics.median(one[side] for one in mine) for side in ("ours", "peer")},
            **{"ratio": ratio, "ratios": ratios, "answers": mine[0]["answers"], "target": self.target},
            "met": None if self.target is None else ratio["median"] >= self.target,
        }


def agreement(theirs: list[Any], ours: list[Any]) -> dict[str, Any]:
    """Of how many items the text or the best label is the same, and how far scores lie apart: at most 0.001."""
    if isinstance(ours[0], str):
        return {"same": sum(map(str.__eq__, theirs, ours)), "of": len(ours), "alike": theirs == ours}
    a, b = (np.array(side, dtype=float).reshape(len(ours), len(LABELS), -1)[:, :, 0] for side in (theirs, ours))
    same, apart = int((a.argmax(axis=1) == b.argmax(axis=1)).sum()), float(abs(a - b).max())
    return {"same": same, "of": len(ours), "largest_difference": apart, "alike": same == len(ours) and apart <= 1e-3}


def contests(two: Sides, three: Sides, folder: Path, items: Sequence[int]) -> list[Contest]:
    sound, paper = (
        two.requests(folder, Unit("sib200", OTHER, "", protocol), items[0]) for protocol in ("sound", "paper")
    )
    short = three.requests(folder, Unit("sib200", OTHER, "", "sound"), items[0])
    found = [
        Contest("sound, one label at a time", two.labels_alone, sound, two.ours, sound, 4.0),
        Contest("sound, lm-eval, Llama 2's labels", two.lm_eval, sound, two.ours, sound, 2.0),
        Contest("sound, lm-eval, Llama 3's labels", three.lm_eval, short, three.ours, short, 2.0),
        Contest("paper, one item at a time", two.paper_alone, paper, two.ours, sound),
    ]
    for direction in (EN_X, X_EN):
        whole = two.requests(folder, Unit("flores200", OTHER, direction, "sound"), items[1])
        sample = sorted(whole, key=lambda request: request.tokens)[ALONE // 2 :: ALONE]
        sides = (two.translations_alone, sample, partial(two.ours, batch=BATCHES[1]), whole)
        found.append(Contest(f"FLORES-200 {direction}, one at a time", *sides, 4.0, PAIRS[1]))
    return found


def facts(two: Sides, three: Sides, held: list[Contest]) -> dict[str, Any]:
    """What the ratios depend on."""
    labels = [f" {label}" for label in LABELS]
    lengths = [[len(ids) for ids in side.scorer.encode(labels, special=False)] for side in (two, three)]
    assert lengths == [expected for _, expected in SPLITS.values()], f"labels are split otherwise: {lengths}"
    prompts = {
        one.name: two.scorer.encode([request.prompt for request in one.requests]) for one in (held[0], *held[-2:])
    }
    limits = {
        one.name: [[request.tokens for request in requests] for requests in (one.requests, one.theirs)]
        for one in held[-2:]
    }
    return {
        "device": torch.cuda.get_device_name() if two.model.device.type == "cuda" else "cpu",
        "versions": {package: version(package) for package in ("torch", "transformers", "tokenizers", "lm_eval")},
        "environment": {"GLIBC_TUNABLES": os.environ["GLIBC_TUNABLES"]},
        **{"parameters": two.model.num_parameters(), "dtype": str(two.model.dtype)},
        "mean_prompt_tokens": {name: statistics.mean(map(len, found)) for name, found in prompts.items()},
        "label_tokens": dict(zip(SPLITS, lengths, strict=True)),
        "shots": f"{SHOTS}, drawn for each item: shared by its seven labels, and by no two items",
        "batch": dict(zip(("sib200 and lm-eval", "flores200"), BATCHES, strict=True)),
        "mean_limit_ours_and_alone": {name: list(map(statistics.mean, both)) for name, both in limits.items()},
        "translations_alone_that_ended_before": two.ended_early,
    }


def print_table(results: list[dict[str, Any]], setting: dict[str, Any]) -> None:
    print("\n" + "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in setting.items()))
    print(f"\n{'items/s, medians':34}   ours   peer  ratio    min    max  target     answers")
    for one in results:
        figures = [*one["items_per_second"].values(), *one["ratio"].values()]
        verdict = {None: "", True: f"{one['target']} met", False: f"{one['target']} MISSED"}[one["met"]]
        print(f"{one['peer']:34}", *(f"{figure:6.2f}" for figure in figures), f" {verdict:10} {one['answers']}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=SHAPES, default="cpu", help="cpu is fp32; cuda is bf16, a larger model")
    parser.add_argument("--items", type=int, nargs=2, metavar=("SIB", "FLORES"), help=f"default {ITEMS}")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default all; 1 where other work goes on")
    parser.add_argument("--output", type=Path, help="default bench/results/evals-<device>.json")
    return parser.parse_args()


def main(asked: argparse.Namespace) -> int:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    begun = {"command": shlex.join(["python", "bench/evals.py", *shown(sys.argv[1:])]), "machine": machine()}
    shape: dict[str, Any] = {"vocab_size": VOCABULARY, **dict(zip(SIZES, SHAPES[asked.device], strict=True))}
    model: Any = LlamaForCausalLM(LlamaConfig(**shape))
    model = model.to(torch.float32 if asked.device == "cpu" else torch.bfloat16).to(asked.device)
    with tempfile.TemporaryDirectory(prefix="bench-evals-") as name:
        tongues = make_files(Path(name))
        two, three = (Sides(model, make_tokenizer(tongues, pieces), asked.device) for pieces, _ in SPLITS.values())
        held = contests(two, three, Path(name), asked.items or ITEMS[asked.device])
    measured = [one.measure(pair) for pair in range(max(PAIRS)) for one in held if pair < one.pairs]
    results = [one.judged(measured) for one in held]
    setting = {"threads": asked.threads, "model": shape, **facts(two, three, held)}
    print_table(results, begun | setting)
    path = asked.output or Path(__file__).parent / "results" / f"evals-{asked.device}.json"
    write_json(path, {**begun, "setting": setting, "contests": results, "measured": measured})
    return int(asked.device == "cpu" and not all(one["answers"]["alike"] for one in results))


if __name__ == "__main__":
    if "GLIBC_TUNABLES" not in os.environ:  # read when a process starts; our launcher sets it, and peers are to have it
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": ALLOCATOR})  # noqa: S606
    sys.exit(main(arguments()))

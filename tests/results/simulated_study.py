"""A study of any size that nobody ran: folders in the real layout, with scores that differ by axis and by chance."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from study_folder import row, write_curve, write_run

from cpt.evals.rows import Row

MODELS, DATA, CODE = ("l2", "l3", "v7"), ("mono", "bi"), (False, True)
LANGUAGES = {
    "alt": ("zho_Hans ceb_Latn mar_Deva zul_Latn khm_Khmr", "yue_Hant tgl_Latn ilo_Latn hin_Deva npi_Deva xho_Latn"),
    "sel": ("deu_Latn bel_Cyrl mri_Latn kir_Cyrl nya_Latn", "nld_Latn dan_Latn rus_Cyrl ukr_Cyrl smo_Latn kaz_Cyrl"),
    "stag": ("sna_Latn tha_Thai yor_Latn wol_Latn som_Latn", "lao_Laoo shn_Mymr ibo_Latn hau_Latn bam_Latn ewe_Latn"),
}
Scored = tuple[str, str, str, str]
"""Task, direction, protocol, metric."""
SHARES: list[Scored] = [
    ("sib200", "", "sound", "accuracy"),
    ("sib200", "", "paper", "accuracy"),
    ("belebele", "", "lm-eval", "accuracy"),
    ("xlsum", "", "lm-eval", "rouge_l"),
    *(("flores200", way, "sound", metric) for way in ("en-x", "x-en") for metric in ("wrong_language", "empty")),
]
OVERLAPS: list[Scored] = [
    ("flores200", way, "sound", metric) for way in ("en-x", "x-en") for metric in ("chrf++", "spbleu")
]
BITS: list[Scored] = [("bpb", "", "", "bits_per_byte"), ("bpb_flores", "", "", "bits_per_byte")]
MEASURES = [*SHARES, *OVERLAPS, *BITS]


@dataclass(frozen=True)
class SimulatedRun:
    model: str
    data: str
    code: bool
    langcat: str
    seed: int

    @property
    def run(self) -> str:
        middle = "Base" if self.data == "base" else f"{self.data.title()}{'+Code' * self.code}"
        return f"{self.model.upper()}-{middle}-{self.langcat.title()}"

    @property
    def run_id(self) -> str:
        return f"{self.run}-{random.Random(repr(self)).getrandbits(32):08x}"


def runs(count: int) -> list[SimulatedRun]:
    """As many runs as asked for: the 36 points of the study, again and again with other seeds."""
    points = list(product(MODELS, DATA, CODE, LANGUAGES))
    return [SimulatedRun(*points[number % len(points)], seed=number // len(points) + 1) for number in range(count)]


def write_study(study: Path, count: int, steps: int = 150, measures: Sequence[Scored] = MEASURES) -> Path:
    """That many finished runs and the base models of their categories, with plan, ledgers and curves."""
    everyone = runs(count)
    bases = {(run.model, run.langcat): SimulatedRun(run.model, "base", False, run.langcat, 0) for run in everyone}
    for run in [*bases.values(), *everyone]:
        folder = write_run(study, run.run_id, list(_rows(run, measures)), run=run.run, step=steps, steps=steps)
        if run.data != "base":
            _train(folder, run, steps)
    heads = "run,run_id,model,data,code,langcat,seed,words,tokens,planned_steps,minutes,devices\n"
    lines = (
        f"{run.run},{run.run_id},{run.model},{run.data},{run.code},{run.langcat},{run.seed},40000,60000,{steps},2.5,8\n"
        for run in everyone
    )
    (study / "plan.csv").write_text(heads + "".join(lines), encoding="utf-8")
    return study


def _rows(run: SimulatedRun, measures: Sequence[Scored]) -> Iterator[Row]:
    chance = random.Random(run.run_id)
    trained, related = (words.split() for words in LANGUAGES[run.langcat])
    roles = [("english", "eng_Latn"), *(("train", code) for code in trained), *(("related", code) for code in related)]
    gain = 0.0 if run.data == "base" else 0.08 + 0.04 * (run.data == "bi") + 0.02 * run.code
    axes = {"model": run.model, "data": run.data, "code": run.code, "langcat": run.langcat}
    whose = axes | {"run": run.run, "seed": None if run.data == "base" else run.seed}
    for (role, language), measure in product(roles, measures):
        learnt = {"train": 1.0, "related": 0.3, "english": -0.4}[role] * gain + chance.gauss(0, 0.03)
        if measure[3] in ("wrong_language", "empty"):
            value, half = max(0.0, 0.3 - learnt), 0.04
        elif measure in SHARES:
            value, half = min(1.0, max(0.0, 0.4 + learnt)), 0.05
        elif measure in OVERLAPS:
            value, half = 20 * (1 + learnt), 1.5
        else:
            value, half = 2 * (1 - 2 * learnt), 0.05
        yield row(run.run_id, language, value, measure, role=role, ci_low=value - half, ci_high=value + half, **whose)


def _train(folder: Path, run: SimulatedRun, steps: int) -> None:
    chance = random.Random(run.run_id)
    rest = '"lr": 0.0004, "gradient_norm": 0.7, "tokens": 768, "tokens_per_second": 5145.7, "seconds": 0.15}'
    losses = (1.5 + 4 / (1 + step / 20) + chance.gauss(0, 0.1) for step in range(1, steps + 1))
    lines = [f'{{"step": {step}, "loss": {loss}, {rest}\n' for step, loss in enumerate(losses, start=1)]
    (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    write_curve(
        folder, [{"train": 4 - place / 2, "related": 4 - place / 5, "english": 0.5 + place / 9} for place in range(5)]
    )
    sources = [
        {"source": f"{run.data}/{code}", "language": code, "words_seen": 16_000, "tokens_seen": 24_000}
        | {"words_unique": 8_000, "tokens_unique": 12_000}
        for code in LANGUAGES[run.langcat][0].split()
    ]
    ledger = {"steps": steps, "epochs": 2.0, "tokens_seen": 120_000, "tokens_unique": 60_000, "flops": 6.2e17}
    rest_of_it = {"trainable_parameters": 8_030_261_248, "seconds": 153.2, "processes": 8, "seed": run.seed}
    (folder / "ledger.json").write_text(json.dumps(ledger | rest_of_it | {"sources": sources}), encoding="utf-8")

"""Studies whose effects are known because they were put in: languages, items and trainings vary as they do in life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cpt.results.analysis.change.against_base import resource_of
from cpt.results.analysis.effects.design import Layout, RunPoint

CATEGORIES = {
    "alt": ("zho_Hans", "ceb_Latn", "mar_Deva", "zul_Latn", "khm_Khmr"),
    "sel": ("deu_Latn", "bel_Cyrl", "mri_Latn", "kir_Cyrl", "nya_Latn"),
    "stag": ("tha_Thai", "yor_Latn", "sna_Latn", "wol_Latn"),
}
"""The study's categories and the languages trained on in each."""
MODELS = ("l2", "l3", "v7")
LANGUAGES = tuple(language for languages in CATEGORIES.values() for language in languages)
Scores = NDArray[np.float64]
Planted = Callable[[RunPoint, str], float]


def paper_layout(seeds: int = 1) -> Layout:
    """The 36 runs, each in the trained languages of its category, and the three base models in all."""
    bases = [RunPoint(model, "base", False, category) for model in MODELS for category in CATEGORIES]
    runs = [
        RunPoint(model, data, code, category, seed)
        for model in MODELS
        for data in ("mono", "bi")
        for code in (False, True)
        for category in CATEGORIES
        for seed in range(seeds)
    ]
    points = (*bases, *runs)
    scored = np.array([[language in CATEGORIES[run.langcat] for language in LANGUAGES] for run in points])
    return Layout(points, tuple(map(resource_of, LANGUAGES)), scored)


@dataclass(frozen=True)
class Life:
    """How much everything varies, as standard deviations."""

    languages: float = 1.0
    """Of every effect from language to language."""
    items: float = 0.0
    """Of a single item in a single language."""
    shared: float = 0.0
    """Of what each effect does to an item in every language."""
    luck: float = 0.0
    """Of a training, in all its languages."""
    number: int = 60
    """Of items."""


def simulate(
    layout: Layout, life: Life, rng: np.random.Generator, planted: Planted | None = None
) -> tuple[Scores, Scores | None]:
    """Scores of runs by languages, and single items, centred, where they vary."""
    causes = ("train", "bi", "code", "bi code", *MODELS, *(f"{model} bi" for model in MODELS))
    slopes = dict(zip(causes, rng.normal(0, life.languages, (len(causes), len(LANGUAGES))), strict=True))
    profiles = dict(zip(causes, rng.normal(0, life.shared, (len(causes), life.number)), strict=True))
    scores = np.tile(rng.normal(20, 5, len(LANGUAGES)), (len(layout.runs), 1))
    items = np.zeros((len(layout.runs), len(LANGUAGES), life.number if life.items else 1))
    trained = [not run.is_base for run in layout.runs]
    present = np.array([_causes_of(run) for run in layout.runs], dtype=float)
    scores += present @ np.array([slopes[cause] for cause in causes])
    drawn = items[0].size if life.items else 0
    noise = rng.standard_normal(len(layout.runs) * drawn + sum(trained))
    begins = np.cumsum([0, *(drawn + is_trained for is_trained in trained)])  # each run's items, then its training
    if life.items:
        of_items = np.stack([noise[begin : begin + drawn] for begin in begins[:-1]]).reshape(items.shape)
        items = (present @ np.array([profiles[cause] for cause in causes]))[:, None] + life.items * of_items
    scores[trained] += life.luck * noise[begins[1:] - 1][trained, None]
    if planted:
        scores += _planted_in(layout.runs, planted)
    scores = np.where(layout.scored, scores + items.mean(axis=2), 0.0)
    centred = (items - items.mean(axis=2, keepdims=True)) * layout.scored[:, :, None]
    return scores, centred if life.items else None


def _causes_of(run: RunPoint) -> list[bool]:
    """Which causes are at work in a run, in their order."""
    bi, models = run.data == "bi", [run.model == model for model in MODELS]
    return [not run.is_base, bi, run.code, bi and run.code, *models, *(bi and model for model in models)]


@cache
def _planted_in(runs: tuple[RunPoint, ...], planted: Planted) -> Scores:
    return np.array([[0.0 if run.is_base else planted(run, language) for language in LANGUAGES] for run in runs])

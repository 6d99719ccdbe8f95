"""Effects that were put into simulated studies are found, as exactly as their intervals say, and no others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from simulated import LANGUAGES, Life, paper_layout, simulate

from cpt.results.analysis.effects.design import Contrast, Layout, RunPoint, contrasts, weights
from cpt.results.analysis.effects.effect_estimates import Estimate, Observed, estimate
from cpt.results.analysis.intervals import LEVEL, adjusted

STUDIES = 1000
LIVES = {
    "languages differ": (Life(), 1),
    "items are noisy": (Life(languages=0.3, items=3), 1),
    "items are shared": (Life(languages=0.1, items=2, shared=3, number=24), 1),
    "trainings have luck": (Life(languages=0.3, luck=0.6), 2),
    "luck, and one seed": (Life(languages=0.3, luck=0.6), 1),
}
Found = list[tuple[Contrast, Estimate]]


def planted(run: RunPoint, language: str) -> float:
    """Training gives 2; bilingual text 1.5, in model l3 none; code nothing; the third category 1 more."""
    del language
    bilingual = 1.5 if run.data == "bi" and run.model != "l3" else 0.0
    return 2.0 + bilingual + (1.0 if run.langcat == "stag" else 0.0)


TRUTH = {
    ("base", "trained − base"): None,  # a mean over runs of everything planted; see below
    ("data", "bi − mono"): 1.0,
    ("code", "with − without code"): 0.0,
    ("model", "l3 − l2"): -0.75,
    ("langcat", "stag − alt"): 1.0,
    ("langcat", "sel − alt"): 0.0,
    ("model×data", "l3 − l2, bi − mono"): -1.5,
    ("model×data", "v7 − l2, bi − mono"): 0.0,
    ("data×code", "bi − mono, with − without code"): 0.0,
}
"""What of it each effect is, in mean over languages and everything else."""


def of_study(layout: Layout, chosen: list[Contrast]) -> Callable[..., Found]:
    weighed = [(contrast, weights(contrast, layout)) for contrast in chosen]

    def found(life: Life, rng: np.random.Generator, effect: Callable[[RunPoint, str], float] | None) -> Found:
        scores, items = simulate(layout, life, rng, effect)
        observed = Observed(layout, scores, items)
        return [(contrast, estimate(weighing, observed)) for contrast, weighing in weighed]

    return found


@pytest.mark.parametrize("name", LIVES)
def test_intervals_cover_what_was_planted(name: str) -> None:
    life, seeds = LIVES[name]
    layout = paper_layout(seeds)
    chosen = [c for c in contrasts(layout) if TRUTH.get((c.effect, c.words)) is not None]
    assert len(chosen) == len(TRUTH) - 1
    study, rng = of_study(layout, chosen), np.random.default_rng(20261122)
    inside: dict[Contrast, int] = defaultdict(int)
    values: dict[Contrast, list[float]] = defaultdict(list)
    for _ in range(STUDIES):
        for contrast, found in study(life, rng, planted):
            truth = TRUTH[contrast.effect, contrast.words]
            inside[contrast] += found.low <= truth <= found.high
            values[contrast].append(found.value)
    for contrast in chosen:
        truth = TRUTH[contrast.effect, contrast.words]
        error = float(np.std(values[contrast])) / STUDIES**0.5
        assert np.mean(values[contrast]) == pytest.approx(truth, abs=4 * error), contrast.words
        assert 0.93 <= inside[contrast] / STUDIES <= 0.97, f"{contrast.words}: {inside[contrast]} of {STUDIES}"


@pytest.mark.parametrize("name", ["languages differ", "items are shared", "luck, and one seed"])
def test_where_nothing_was_planted_nothing_is_found(name: str) -> None:
    """All effects of a study that can be told, its interactions too, corrected together."""
    life, seeds = LIVES[name]
    layout = paper_layout(seeds)
    study, rng = of_study(layout, contrasts(layout)), np.random.default_rng(20261123)
    shown = sum(
        bool((adjusted([found.p for _, found in study(life, rng, None)]) < LEVEL).any()) for _ in range(STUDIES)
    )
    assert shown <= 0.05 * STUDIES


def test_large_effects_are_found_after_correction() -> None:
    layout = paper_layout()
    study, rng = of_study(layout, contrasts(layout)), np.random.default_rng(20261124)
    named: dict[tuple[str, str], int] = defaultdict(int)
    for _ in range(50):
        found = study(Life(languages=0.3), rng, planted)
        corrected = adjusted([each.p for _, each in found])
        for (contrast, _), p in zip(found, corrected, strict=True):
            named[contrast.effect, contrast.words] += bool(p < LEVEL)
    for effect in (("base", "trained − base"), ("data", "bi − mono"), ("model×data", "l3 − l2, bi − mono")):
        assert named[effect] >= 48
    assert named["code", "with − without code"] <= 10
    assert len(LANGUAGES) == 14

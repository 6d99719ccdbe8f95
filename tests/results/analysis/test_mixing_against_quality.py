"""Mixing against quality, on tables whose slope is planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from study_folder import row

from cpt.results.analysis.language_confusion import against_quality

LANGUAGES = ("zho_Hans", "ceb_Latn", "mar_Deva", "zul_Latn", "khm_Khmr")
QUALITY, SHARE = ("flores200", "x-en", "sound", "chrf++"), ("flores200", "x-en", "sound", "wrong_language")


def study(slope: float, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Six runs from either of two bases, whose languages and models differ in level, and scores by their mixing."""
    rng = np.random.default_rng(seed)
    rows = []
    for model, level in (("l2", 30.0), ("l3", 60.0)):
        for number in range(6):
            for place, language in enumerate(LANGUAGES):
                share = float(rng.uniform(0.0, 0.5)) + (0.5 if model == "l3" else 0.0)
                score = level + 3 * place + slope * share + float(rng.normal(0, noise))
                axes = {"model": model, "role": "train"}
                rows.append(row(f"{model}-Run{number}-0{number}", language, share, SHARE, **axes))
                rows.append(row(f"{model}-Run{number}-0{number}", language, score, QUALITY, **axes))
    return pd.DataFrame([each.record() for each in rows])


def test_the_slope_is_within_a_language_and_a_base() -> None:
    found = against_quality(study(-20.0))
    assert list(found[["task", "direction", "protocol", "metric", "role"]].iloc[0]) == [*QUALITY, "train"]
    line = found.iloc[0]
    assert (line["slope"], line["correlation"]) == (pytest.approx(-20), pytest.approx(-1))
    assert (line["languages"], line["runs"]) == (5, 12)


def test_the_interval_holds_what_was_planted() -> None:
    lines = pd.concat([against_quality(study(-20.0, 2.0, seed)) for seed in range(60)])
    assert 53 <= ((lines["slope_low"] < -20) & (lines["slope_high"] > -20)).sum() <= 60
    assert lines["slope"].mean() == pytest.approx(-20, abs=0.6)
    assert lines["correlation"].between(-1, -0.5).all()


def test_nothing_is_told_of_two_languages_or_where_nothing_mixes() -> None:
    table = study(-20.0)
    assert against_quality(table[table["language"].isin(LANGUAGES[:2])]).empty
    never = table.assign(value=table["value"].where(table["metric"] != "wrong_language", 0.0))
    assert against_quality(never).empty
    assert against_quality(table[table["metric"] == "chrf++"]).empty

"""Effects of axes on tables whose answer is known, from hand, from scipy's own tests, or from the published numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zstandard
from scipy import stats
from study_folder import row

from cpt.evals.rows import COLUMNS
from cpt.results.analysis.change.against_base import change_of_groups, change_of_resources, group_change
from cpt.results.analysis.change.item_scores import ItemScores
from cpt.results.analysis.effects.effects_table import EFFECTS, current_effects, effects, runs_at_shared_points, verdict
from cpt.results.analysis.intervals import adjusted
from cpt.results.output.published_study import published_rows

ALT = ("zho_Hans", "ceb_Latn", "mar_Deva", "zul_Latn")
SEL = ("deu_Latn", "bel_Cyrl", "mri_Latn", "kir_Cyrl", "nya_Latn")
POINTS = [("mono", False), ("mono", True), ("bi", False), ("bi", True)]


def study(scores: dict[tuple[Any, ...], list[float]], seed: int = 1) -> pd.DataFrame:
    """A table from scores by (model, data, code, category); those of a category are of its languages."""
    rows = []
    for (model, data, code, langcat), values in scores.items():
        name = f"{model}-{data}-{code}-{langcat}"
        axes = {"model": model, "data": data, "code": code, "langcat": langcat}
        axes["seed"] = None if data == "base" else seed
        for language, value in zip(ALT if langcat == "alt" else SEL, values, strict=True):
            rows.append(row(f"{name}-0{seed}", language, value, **axes).record())
    return pd.DataFrame(rows)[list(COLUMNS)].astype({"seed": "Int64"})


def drawn(models: tuple[str, ...] = ("l2", "l3"), categories: tuple[str, ...] = ("alt", "sel")) -> dict[Any, Any]:
    rng = np.random.default_rng(7)
    points = [(model, data, code, c) for model in models for data, code in POINTS for c in categories]
    points += [(model, "base", False, c) for model in models for c in categories]
    return {point: list(rng.uniform(0.2, 0.8, len(ALT if point[3] == "alt" else SEL))) for point in points}


def line(found: pd.DataFrame, effect: str, contrast: str, **where: str) -> Any:
    chosen = found[(found["effect"] == effect) & (found["contrast"] == contrast)]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1, f"{effect}: {contrast}: {len(chosen)} lines"
    return chosen.iloc[0]


def test_a_crossed_axis_is_a_paired_test_over_languages() -> None:
    scores = drawn(("l2",))  # of one model nothing is left of third order, so of luck nothing is known
    found = line(effects(study(scores)), "data", "bi − mono")
    differences = []
    for category, languages in (("alt", ALT), ("sel", SEL)):
        for place in range(len(languages)):
            pairs = [(model, code) for model in ("l2",) for code in (False, True)]
            differences.append(
                np.mean([scores[m, "bi", c, category][place] - scores[m, "mono", c, category][place] for m, c in pairs])
            )
    test = stats.ttest_1samp(differences, 0)
    span = test.confidence_interval(0.95)
    assert found["estimate"] == pytest.approx(np.mean(differences))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((span.low, span.high))
    assert found["p"] == pytest.approx(test.pvalue)
    assert (found["languages"], found["runs"], found["seeds"], found["items"]) == (9, 8, 1, 0)


def test_a_category_is_welch_s_test_of_changes_against_base() -> None:
    scores = drawn(("l2",))  # of one model nothing is left of third order, so of luck nothing is known
    found = line(effects(study(scores)), "langcat", "sel − alt")
    gains = {
        category: [
            np.mean(
                [
                    scores[m, d, c, category][place] - scores[m, "base", False, category][place]
                    for m in ("l2",)
                    for d, c in POINTS
                ]
            )
            for place in range(len(languages))
        ]
        for category, languages in (("alt", ALT), ("sel", SEL))
    }
    test = stats.ttest_ind(gains["sel"], gains["alt"], equal_var=False)
    span = test.confidence_interval(0.95)
    assert found["estimate"] == pytest.approx(np.mean(gains["sel"]) - np.mean(gains["alt"]))
    assert (found["ci_low"], found["ci_high"], found["p"]) == pytest.approx((span.low, span.high, test.pvalue))


def test_an_interaction_is_a_difference_of_differences() -> None:
    scores = {point: [0.5] * len(values) for point, values in drawn().items()}
    for (model, data, code, category), values in scores.items():
        if model == "l3" and data == "bi":
            scores[model, data, code, category] = [value + 0.1 + 0.01 * place for place, value in enumerate(values)]
    found = effects(study(scores))
    wanted = np.mean([*(0.1 + 0.01 * np.arange(4)), *(0.1 + 0.01 * np.arange(5))])
    assert line(found, "model×data", "l3 − l2, bi − mono")["estimate"] == pytest.approx(wanted)
    assert line(found, "data", "bi − mono")["estimate"] == pytest.approx(wanted / 2)
    assert line(found, "code", "with − without code")["estimate"] == pytest.approx(0)
    assert line(found, "code", "with − without code")["why"] == "no difference anywhere"


def test_a_run_that_is_missing_leaves_its_counterpart_out_of_that_effect_alone() -> None:
    scores = drawn(("l2",), ("alt",))
    del scores["l2", "bi", True, "alt"]
    found = effects(study(scores))
    data, code = line(found, "data", "bi − mono"), line(found, "code", "with − without code")
    assert (data["runs"], code["runs"]) == (2, 2)
    pair = np.array(scores["l2", "bi", False, "alt"]) - np.array(scores["l2", "mono", False, "alt"])
    assert data["estimate"] == pytest.approx(pair.mean())
    assert math.isnan(line(found, "data×code", "bi − mono, with − without code")["estimate"])
    assert "no counterpart" in line(found, "data×code", "bi − mono, with − without code")["why"]


def test_without_a_base_only_what_needs_none_is_told() -> None:
    scores = {point: values for point, values in drawn().items() if point[:2] != ("l3", "base")}
    found = effects(study(scores))
    assert math.isnan(line(found, "model", "l3 − l2")["estimate"])
    assert line(found, "data", "bi − mono")["runs"] == 16
    assert line(found, "base", "trained − base")["runs"] == 8


def test_a_category_is_compared_where_the_other_has_the_same_mix() -> None:
    """What a run that one category lacks would have changed must not pass for the category's own."""
    scores = drawn(("l2",))
    for (model, data, code, category), values in scores.items():
        gain = {"base": 0.0, "mono": 0.1, "bi": -0.3}[data]
        scores[model, data, code, category] = [0.5 + gain + 0.01 * place for place in range(len(values))]
    del scores["l2", "bi", True, "alt"], scores["l2", "bi", False, "alt"]
    found = line(effects(study(scores)), "langcat", "sel − alt")
    assert (found["estimate"], found["runs"]) == (pytest.approx(0), 4)
    del scores["l2", "mono", True, "alt"], scores["l2", "mono", False, "sel"]
    assert "no counterpart" in line(effects(study(scores)), "langcat", "sel − alt")["why"]


@pytest.mark.parametrize(("gain", "why"), [(0.0, "no difference anywhere"), (0.1, "the same difference everywhere")])
def test_what_only_rounding_makes_differ_has_no_interval(gain: float, why: str) -> None:
    """Sums of thirds come out otherwise in the last digit from language to language, always to the same side."""
    scores = drawn(("l2", "l3", "v7"), ("alt",))
    for model, data, code, category in scores:
        scores[model, data, code, category] = [level + gain * (data != "base") for level in (0.37, 0.61, 0.83, 0.29)]
    found = line(effects(study(scores)), "base", "trained − base")
    assert found["estimate"] == pytest.approx(gain, abs=1e-12)
    assert math.isnan(found["p"])
    assert math.isnan(found["ci_low"])
    assert (found["verdict"], found["why"]) == ("unclear", why)


def test_the_luck_of_trainings_is_in_effects_of_cells_with_one_seed_too() -> None:
    table = study(drawn(("l2", "l3", "v7")))
    again = table[(table["model"] == "l3") & (table["data"] != "base")].copy()
    again["run_id"], again["seed"] = again["run_id"] + "2", 2
    alike, lucky = pd.concat([table, again]), pd.concat([table, again.assign(value=again["value"] + 0.3)])
    spans = [line(effects(each), "model", "v7 − l2") for each in (table, alike, lucky)]
    assert [span["luck"] for span in spans] == ["third order", "seeds", "seeds"]
    _, same, wide = (span["ci_high"] - span["ci_low"] for span in spans)
    assert wide > 1.2 * same


def test_the_luck_of_trainings_is_what_two_axes_together_leave_unexplained() -> None:
    """Of 12 runs alike but for chance, two degrees of freedom are of third order: a residual by least squares."""
    scores = drawn(("l2", "l3", "v7"), ("alt",))
    rng = np.random.default_rng(5)
    for point in scores:
        scores[point] = [0.5 + (rng.normal(0, 0.1) if point[1] != "base" else 0.0)] * 4
    runs = [(point, values[0]) for point, values in scores.items() if point[1] != "base"]
    axes = pd.DataFrame([point[:3] for point, _ in runs], columns=["model", "data", "code"]).astype(str)
    terms = [pd.get_dummies(axes[name]) for name in axes]
    terms += [
        pd.get_dummies(axes[one] + axes[other])
        for one, other in (("model", "data"), ("model", "code"), ("data", "code"))
    ]
    columns, values = np.hstack([term.to_numpy(float) for term in terms]), np.array([value for _, value in runs])
    residual = values - columns @ np.linalg.lstsq(columns, values)[0]
    found = line(effects(study(scores)), "data", "bi − mono")
    error = math.sqrt(float(residual @ residual) / 2 / 3)  # 12 runs of weight 1/6
    assert found["ci_high"] - found["estimate"] == pytest.approx(stats.t.ppf(0.975, 2) * error)
    assert found["luck"] == "third order"


def test_seeds_are_compared_in_the_languages_that_all_were_scored_in() -> None:
    table = study(drawn(("l2",), ("alt",)))
    again = table[(table["data"] == "mono") & ~table["language"].isin(ALT[:2])].copy()
    again["run_id"], again["seed"] = again["run_id"] + "2", 2
    one, same = (line(effects(each), "data", "bi − mono") for each in (table, pd.concat([table, again])))
    assert (same["ci_low"], same["ci_high"]) == pytest.approx((one["ci_low"], one["ci_high"]))


def test_too_few_languages_have_an_estimate_and_no_interval() -> None:
    table = study(drawn(("l2",), ("alt",)))
    found = line(effects(table[table["language"].isin(ALT[:2])]), "data", "bi − mono")
    assert not math.isnan(found["estimate"])
    assert math.isnan(found["ci_low"])
    assert (found["verdict"], found["why"]) == ("unclear", "2 languages")


def test_english_is_compared_with_itself_after_each_category_over_its_items(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(3), []
    kept: dict[str, np.ndarray[Any, Any]] = {}
    for langcat in ("alt", "sel"):
        for data in ("base", "mono"):
            name = f"L3-{data.title()}-{langcat}-01"
            kept[name] = rng.integers(0, 2, 50).astype(float)
            folder = tmp_path / name / "scores"
            folder.mkdir(parents=True)
            lines = "".join(json.dumps({"item": n, "scores": {"accuracy": v}}) + "\n" for n, v in enumerate(kept[name]))
            path = folder / "sib200.eng_Latn.sound.jsonl.zst"
            path.write_bytes(zstandard.ZstdCompressor().compress(lines.encode()))
            axes: dict[str, Any] = {"model": "l3", "data": data, "langcat": langcat, "role": "english"}
            rows.append(row(name, "eng_Latn", float(kept[name].mean()), **axes).record())
    found = line(effects(pd.DataFrame(rows), ItemScores(tmp_path)), "langcat", "sel − alt")
    gains = {c: kept[f"L3-Mono-{c}-01"] - kept[f"L3-Base-{c}-01"] for c in ("alt", "sel")}
    test = stats.ttest_1samp(gains["sel"] - gains["alt"], 0)
    assert (found["estimate"], found["p"]) == pytest.approx((np.mean(gains["sel"] - gains["alt"]), test.pvalue))
    assert (found["items"], found["why"]) == (50, "1 language: over items alone")


def test_items_that_do_not_count_make_an_interval_no_narrower(tmp_path: Path) -> None:
    rng, rows, kept = np.random.default_rng(4), [], []
    for data in ("base", "mono"):
        name = f"L3-{data.title()}-01"
        values = rng.integers(0, 2, 20).astype(float)
        kept.append(values)
        folder = tmp_path / name / "scores"
        folder.mkdir(parents=True)
        scores = [*values, *[None] * 20]
        lines = "".join(json.dumps({"item": n, "scores": {"accuracy": v}}) + "\n" for n, v in enumerate(scores))
        path = folder / "sib200.eng_Latn.sound.jsonl.zst"
        path.write_bytes(zstandard.ZstdCompressor().compress(lines.encode()))
        rows.append(row(name, "eng_Latn", float(values.mean()), data=data, role="english").record())
    found = line(effects(pd.DataFrame(rows), ItemScores(tmp_path)), "base", "trained − base")
    span = stats.ttest_1samp(kept[1] - kept[0], 0).confidence_interval(0.95)
    assert found["ci_high"] - found["ci_low"] == pytest.approx(span.high - span.low, rel=0.05)


def test_runs_that_differ_in_no_axis_are_named() -> None:
    table = study(drawn(("l2",), ("alt",)))
    assert runs_at_shared_points(table) == []
    again = table[table["run_id"] == "l2-bi-True-alt-01"].assign(run_id="l2-bi-True-alt-02")
    assert runs_at_shared_points(pd.concat([table, again])) == ["l2-bi-True-alt-01", "l2-bi-True-alt-02"]
    assert runs_at_shared_points(pd.concat([table, again.assign(seed=2)])) == []


def updated(study: Path, table: pd.DataFrame) -> Path | None:
    return EFFECTS.write(study, current_effects(study, table, EFFECTS.read(study)))


def test_effects_are_kept_until_a_score_changes(tmp_path: Path) -> None:
    table = study(drawn())
    path = updated(tmp_path, table)
    assert path is not None
    first, modified = EFFECTS.read(tmp_path), path.stat().st_mtime_ns
    pd.testing.assert_frame_equal(first.drop(columns="key"), effects(table).drop(columns="key"))
    updated(tmp_path, table)
    assert path.stat().st_mtime_ns == modified
    table["value"] = table["value"] + 0.1 * (table.index == 0)
    updated(tmp_path, table)
    assert EFFECTS.read(tmp_path)["key"].iloc[0] != first["key"].iloc[0]
    path.write_bytes(path.read_bytes()[:-5])  # torn: as good as none, and made anew
    assert EFFECTS.read(tmp_path).empty
    updated(tmp_path, table)
    assert len(EFFECTS.read(tmp_path)) == len(first)
    assert updated(tmp_path, table[table["data"] == "base"]) is None
    assert EFFECTS.read(tmp_path).empty


def test_correction_as_known_from_benjamini_and_hochberg() -> None:
    p = [0.01, math.nan, 0.04, 0.03, 0.5]
    assert adjusted(p) == pytest.approx([0.04, math.nan, 0.16 / 3, 0.16 / 3, 0.5], nan_ok=True)
    known = [value for value in p if value == value]
    assert adjusted(known) == pytest.approx(stats.false_discovery_control(known))
    assert adjusted([]).size == 0


@pytest.mark.parametrize(
    ("metric", "value", "p", "said"),
    [
        ("accuracy", 0.1, 0.01, "better"),
        ("bits_per_byte", 0.1, 0.01, "worse"),
        ("accuracy", -0.1, 0.01, "worse"),
        ("accuracy", 0.1, 0.05, "unclear"),
        ("accuracy", 0.1, math.nan, "unclear"),
        ("of_unknown_sense", 0.1, 0.01, "unclear"),
    ],
)
def test_verdict(metric: str, value: float, p: float, said: str) -> None:
    assert verdict(metric, value, p) == said


def test_group_change_has_intervals_over_languages() -> None:
    run, base = {"a": 0.3, "b": 0.5, "c": 0.4, "d": 0.6}, {"a": 0.2, "b": 0.5, "c": 0.3, "d": 0.4}
    found = group_change(run, base)
    span = stats.ttest_rel(list(run.values()), list(base.values())).confidence_interval(0.95)
    assert (found.difference_low, found.difference_high) == pytest.approx((span.low, span.high))
    assert found.low < found.change < found.high
    few = group_change({"a": 0.3, "b": 0.5}, {"a": 0.2, "b": 0.5})
    assert math.isnan(few.low)
    assert math.isnan(few.difference_low)


def test_relative_changes_cover_in_simulated_groups() -> None:
    rng, inside = np.random.default_rng(11), 0
    names = [str(place) for place in range(14)]
    for _ in range(1000):
        base = rng.normal(30, 5, 14)
        run = 1.2 * base + rng.normal(0, 3, 14)
        found = group_change(dict(zip(names, run, strict=True)), dict(zip(names, base, strict=True)))
        inside += found.low <= 20 <= found.high
    assert 930 <= inside <= 970


def test_published_changes_by_hand() -> None:
    rows = published_rows()
    groups = change_of_groups(rows[rows["task"] == "sib200"])
    mine = groups[groups["run"] == "L3-Mono-Alt"].set_index("role")["change"]
    assert (round(mine["train"], 2), round(mine["related"], 2)) == (-24.37, -31.26)
    low = change_of_resources(rows[(rows["task"] == "sib200") & rows["run"].isin(["L3-Mono-Alt", "L3-Base"])])
    of_low = low[(low["resource"] == "low") & (low["role"] == "train")]
    scores = rows[
        (rows["task"] == "sib200") & (rows["langcat"] == "alt") & rows["language"].isin(["zul_Latn", "khm_Khmr"])
    ]
    means = scores.groupby("run")["value"].mean()
    assert of_low["change"].iloc[0] == pytest.approx(100 * (means["L3-Mono-Alt"] / means["L3-Base"] - 1))


def test_published_effects_by_hand() -> None:
    rows = published_rows()
    sound = rows[rows["odd"] == ""]
    found = effects(sound)
    scores = sound[(sound["task"] == "flores200") & (sound["direction"] == "x-en") & (sound["role"] == "train")]
    keys = ["model", "code", "langcat", "language"]
    wide = scores[scores["data"] != "base"].pivot(index=keys, columns="data", values="value").dropna()
    by_language = (wide["bi"] - wide["mono"]).groupby("language").mean()
    collapse = line(found, "data", "bi − mono", task="flores200", direction="x-en", role="train")
    assert collapse["estimate"] == pytest.approx(by_language.mean())
    assert collapse["ci_high"] < -7
    assert collapse["verdict"] == "worse"
    code = line(found, "code", "with − without code", task="sib200", role="related")
    assert (code["runs"], code["languages"], code["luck"]) == (36, 25, "third order")
    assert 0 < code["ci_low"] < 0.03 < code["estimate"] < code["ci_high"] < 0.08

"""Which run to use: the set of candidates for the best and the share of resamples, on studies whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_folder import row, write_run

from cpt.cli import main
from cpt.commands.best import advice, by_category, certainty, left_out
from cpt.errors import UserError
from cpt.evals.benchmark import Unit
from cpt.evals.items import unit_name, write_item_scores
from cpt.evals.metrics.bootstrap import ratio
from cpt.evals.metrics.measured import Measured
from cpt.evals.rows import Row
from cpt.results.analysis.change.item_scores import SCORES, ItemScores
from cpt.results.analysis.choice import best_table as best_lines
from cpt.results.analysis.choice.candidates import Candidate
from cpt.results.analysis.choice.noise import INTERVALS, ITEMS, UNKNOWN, noise
from cpt.results.analysis.choice.query import TASKS_FIRST, requested_languages, requested_measure
from cpt.results.analysis.choice.ranking import Best, best, best_shares, confidence_set, may_be_best
from cpt.results.analysis.study_results import StudyResults
from cpt.results.output.published_study import published_rows, sound_rows
from cpt.results.rows.measures import Measure
from cpt.results.rows.table import read_table

ACCURACY = Measure("sib200", "", "sound", "accuracy")
CHRF_OUT, CHRF_IN = (Measure("flores200", way, "sound", "chrf++") for way in ("en-x", "x-en"))
BITS = Measure("bpb", "", "", "bits_per_byte")
STUDIES, RESAMPLES, ITEMS_EACH = 1_000, 400, 60
LANGUAGES = ("zul_Latn", "xho_Latn")


def simulated(rng: np.random.Generator, truths: np.ndarray, luck: float = 0.0, seeds: int = 1) -> list[Candidate]:
    """Candidates scored in two languages on the same items, whose difficulty they share; each seed has its luck."""
    shape = len(truths), seeds, 2, ITEMS_EACH
    difficulty = rng.normal(0, 2, ITEMS_EACH)
    shift = truths[:, None] + rng.normal(0, luck, (len(truths), seeds))
    kept = rng.normal(0, 1, shape) + difficulty + shift[:, :, None, None]
    reach = stats.t.ppf(0.975, ITEMS_EACH - 1) * kept.std(axis=-1, ddof=1) / math.sqrt(ITEMS_EACH)
    found = []
    for number, values in enumerate(kept.mean(axis=-1)):
        names = tuple(f"L3-Mono-Alt-{number}{seed}" for seed in range(seeds))
        bounds = values - reach[number], values + reach[number], np.full(values.shape, ITEMS_EACH)
        items = tuple(tuple(line) for line in kept[number])
        named = (str(number), names, "l3", "mono", False, "alt", ("train", "train"))
        found.append(Candidate(*named, values, *bounds, items))
    return found


def scored(candidates: list[Candidate]) -> tuple[np.ndarray, np.ndarray]:
    known = noise(candidates, RESAMPLES)
    assert known.basis == ITEMS
    return np.array([each.value for each in candidates]), known.draws


@pytest.mark.parametrize(("count", "luck", "seeds"), [(6, 0.0, 1), (4, 1.0, 3)])
def test_of_equal_candidates_the_set_holds_the_truly_best_in_95_of_100_studies(
    count: int, luck: float, seeds: int
) -> None:
    rng = np.random.default_rng(count)
    studies = (scored(simulated(rng, np.zeros(count), luck, seeds)) for _ in range(STUDIES))
    held = [may_be_best(0, values, draws) for values, draws in studies]
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_share_is_calibrated_where_candidates_differ_and_too_high_where_they_do_not() -> None:
    rng = np.random.default_rng(7)
    found: list[tuple[float, bool, bool]] = []
    for _ in range(STUDIES // 2):
        truths = rng.normal(0, 0.5, 5)
        values, draws = scored(simulated(rng, truths))
        leader, truly = int(values.argmax()), int(truths.argmax())
        found.append((best_shares(values, draws)[leader], leader == truly, may_be_best(truly, values, draws)))
    shares, right, held = map(np.array, zip(*found, strict=True))
    for low, high in ((0.4, 0.8), (0.8, 0.97), (0.97, 1.01)):
        inside = (shares >= low) & (shares < high)
        assert inside.sum() > 50
        assert right[inside].mean() == pytest.approx(shares[inside].mean(), abs=0.1)
    assert held.mean() >= 0.95  # equal candidates are the hardest

    equal = [best_shares(*scored(simulated(rng, np.zeros(5)))).max() for _ in range(100)]
    assert np.mean(equal) > 0.4  # each is the best of five equal ones by chance alone


def test_a_clearly_better_one_is_named_and_alone() -> None:
    rng = np.random.default_rng(1)
    values, draws = scored(simulated(rng, np.array([0.0, 0.0, 1.5, 0.0])))
    assert best_shares(values, draws)[2] == 1
    assert confidence_set(values, draws).tolist() == [False, False, True, False]


def table_of(rows: Iterable[Row]) -> pd.DataFrame:
    return pd.DataFrame([each.record() for each in rows])


def asked(table: pd.DataFrame, languages: str = "zul_Latn", measure: Measure = ACCURACY) -> Best:
    found = best(table, languages.split(","), measure)
    assert found is not None
    return found


def names(found: Best) -> list[str]:
    return [each.candidate.name for each in found.standings]


def test_the_mean_over_the_languages_decides_and_a_run_that_lacks_one_is_left_out() -> None:
    scores = {"L3-Mono-Alt-1": (0.9, 0.1), "L3-Bi-Alt-1": (0.5, 0.6), "L3-Base-1": (0.2, 0.2)}
    rows = [
        row(run, code, value, ACCURACY)
        for run, both in scores.items()
        for code, value in zip(LANGUAGES, both, strict=True)
    ]
    rows += [row("L3-Mono-Stag-1", "zul_Latn", 0.99, ACCURACY), row("L3-Mono-Sel-1", "tha_Thai", 0.99, ACCURACY)]
    found = asked(table_of(rows), ",".join(LANGUAGES))
    assert names(found) == ["L3-Bi-Alt", "L3-Mono-Alt", "L3-Base"]
    assert found.leader.score.value == pytest.approx(0.55)
    assert found.leader.gain.value == pytest.approx(0.35)
    assert found.standings[2].behind.value == pytest.approx(-0.35)
    assert found.lacking == {"L3-Mono-Stag-1": ("xho_Latn",), "L3-Mono-Sel-1": LANGUAGES}
    told = " ".join(left_out(found, 2))
    assert "not scored in Xhosa: L3-Mono-Stag-1." in told
    assert "Left out, not finished: 2 of the study's runs" in told


def test_fewer_bits_are_better_and_a_gain_below_zero_is_one() -> None:
    rows = [row("L3-Mono-Alt-1", "zul_Latn", 1.5, BITS), row("L3-Base-1", "zul_Latn", 2.5, BITS)]
    found = asked(table_of(rows), measure=BITS)
    assert names(found) == ["L3-Mono-Alt", "L3-Base"]
    assert "1.000 below its base L3-Base" in advice(found)
    assert found.leader.share > 0.99


def test_to_train_nothing_is_an_answer() -> None:
    rows = [row("L3-Mono-Alt-1", "zul_Latn", 0.2, ACCURACY), row("L3-Base-1", "zul_Latn", 0.8, ACCURACY)]
    assert advice(asked(table_of(rows))).startswith(
        "Train nothing: use the untouched L3-Base for Zulu: SIB-200 accuracy 80.0 %"
    )


def test_a_base_model_counts_once_however_many_categories_it_is_in() -> None:
    rows = [row("L3-Base-1", "zul_Latn", 0.5, ACCURACY, langcat=langcat) for langcat in ("alt", "stag")]
    rows += [
        row("L3-Mono-Alt-1", "zul_Latn", 0.7, ACCURACY),
        row("L3-Mono-Stag-1", "zul_Latn", 0.6, ACCURACY, langcat="stag", role="related"),
    ]
    found = asked(table_of(rows))
    assert names(found) == ["L3-Mono-Alt", "L3-Mono-Stag", "L3-Base"]
    assert "alt (trained) L3-Mono-Alt 70.0; stag (related) L3-Mono-Stag 60.0" in by_category(found)
    differing = table_of([*rows[1:], replace(rows[0], value=0.4)])
    assert names(asked(differing)) == ["L3-Mono-Alt", "L3-Mono-Stag"]


def test_seeds_of_a_mix_are_one_candidate_and_their_luck_widens_all_intervals() -> None:
    once = [row("L3-Mono-Alt-1", "zul_Latn", 0.6, ACCURACY), row("L3-Base-1", "zul_Latn", 0.4, ACCURACY)]
    bi = [
        row(f"L3-Bi-Alt-{seed}", "zul_Latn", value, ACCURACY, data="bi", seed=seed)
        for seed, value in ((1, 0.3), (2, 0.7))
    ]
    found = asked(table_of([*once, *bi]))
    assert names(found) == ["L3-Mono-Alt", "L3-Bi-Alt", "L3-Base"]
    assert found.standings[1].candidate.run_ids == ("L3-Bi-Alt-1", "L3-Bi-Alt-2")
    assert found.standings[1].score.value == pytest.approx(0.5)
    alone, wider = asked(table_of(once)).leader.score, found.leader.score
    assert wider.high - wider.low > 5 * (alone.high - alone.low)
    same_seed = [replace(each, seed=1) for each in bi]
    assert names(asked(table_of([*once, *same_seed])))[0] == "L3-Bi-Alt-2"


def write_study(folder: Path, studies: dict[str, np.ndarray]) -> Path:
    """A finished study, every run with the items it got right or wrong in each of the languages."""
    folder.mkdir()
    (folder / ".lock").touch()
    for run_id, right in studies.items():
        rows = []
        for code, values in zip(LANGUAGES, right, strict=True):
            share, reach = values.mean(), 1.96 * values.std() / math.sqrt(len(values))
            bounds = {"n": len(values), "ci_low": share - reach, "ci_high": share + reach}
            rows.append(row(run_id, code, share, ACCURACY, data="base" if "Base" in run_id else "bi", **bounds))
        run = write_run(folder, run_id, rows)
        (run / "config.yaml").write_text("scale: toy\n", encoding="utf-8")
        for code, values in zip(LANGUAGES, right, strict=True):
            path = run / SCORES / f"{unit_name(Unit(ACCURACY.task, code, '', 'sound'))}.jsonl.zst"
            path.parent.mkdir(exist_ok=True)
            write_item_scores(path, [Measured("accuracy", np.stack([values, np.ones(len(values))], axis=1), ratio)])
    return folder


def right_answers(shift: float) -> np.ndarray:
    """Of 200 items of increasing difficulty, in both languages the same ones right."""
    return np.array([np.arange(200) < 100 + shift] * 2, dtype="float64")


def test_what_is_hard_for_all_cancels_where_single_items_are_kept(tmp_path: Path) -> None:
    studies = {"L3-Bi-Alt-1": right_answers(10), "L3-Base-1": right_answers(0)}
    study = write_study(tmp_path / "toy", studies)
    table = read_table(study)
    paired, apart = best(table, LANGUAGES, ACCURACY, ItemScores(study)), best(table, LANGUAGES, ACCURACY)
    assert paired is not None
    assert apart is not None
    assert (paired.basis, apart.basis) == (ITEMS, INTERVALS)
    # Ten items of 200 differ, all to one side: 5 points, with a standard error of √(0.05 · 0.95 / 200).
    assert paired.leader.gain.value == pytest.approx(0.05)
    assert paired.leader.gain.high - paired.leader.gain.low == pytest.approx(2 * 1.96 * 0.0154, rel=0.1)
    assert paired.held == ()
    # The same sentences in both languages are no more evidence than in one.
    one = best(table, LANGUAGES[:1], ACCURACY, ItemScores(study))
    assert one is not None
    assert one.leader.gain.low == pytest.approx(paired.leader.gain.low, abs=1e-9)
    # As if independent: two standard errors of √(0.25 / 200), over two languages.
    assert apart.leader.gain.high - apart.leader.gain.low == pytest.approx(2 * 1.96 * 0.0354, rel=0.1)
    assert names(apart)[1] in [each.candidate.name for each in apart.held]


def test_scores_without_intervals_are_ranked_and_nothing_more_is_claimed() -> None:
    measure = Measure("flores200", "x-en", "paper", "spbleu")
    found = asked(sound_rows(published_rows()), measure=measure)
    assert found.basis == UNKNOWN
    assert certainty(found).startswith("The uncertainty is not known")
    assert math.isnan(found.leader.share)
    assert math.isnan(found.leader.gain.low)
    values = [each.score.value for each in found.standings]
    assert values == sorted(values, reverse=True)


def test_published_accuracy_has_the_noise_of_204_items() -> None:
    found = asked(sound_rows(published_rows()), measure=Measure("sib200", "", "paper", "accuracy"))
    assert (found.basis, names(found)[0]) == (INTERVALS, "L3-Mono+Code-Alt")
    leader = found.leader
    assert leader.score.value == 0.6765
    assert leader.gain.value == pytest.approx(0.6765 - 0.5441)
    error = math.sqrt((0.6765 * 0.3235 + 0.5441 * 0.4559) / 204)
    assert leader.gain.high - leader.gain.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert {"L3-Bi-Alt", "L3-Bi+Code-Alt"} == {each.candidate.name for each in found.held}


def many(languages: Iterable[str] = LANGUAGES, measures: Iterable[Measure] = (BITS, CHRF_IN, CHRF_OUT, ACCURACY)):
    return table_of(row("L3-Mono-Alt-1", code, 0.5, each) for each in measures for code in languages)


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ({}, CHRF_OUT),
        ({"direction": "x-en"}, CHRF_IN),
        ({"metric": "bits_per_byte"}, BITS),
        ({"task": "sib200"}, ACCURACY),
        ({"task": "sib200", "protocol": "paper"}, ACCURACY._replace(protocol="paper")),
        ({"metric": "empty"}, CHRF_OUT._replace(metric="empty")),
    ],
)
def test_what_is_not_named_is_chosen_by_rule(named: dict[str, str], meant: Measure) -> None:
    others = (ACCURACY._replace(protocol="paper"), CHRF_OUT._replace(metric="empty"))
    table = many(measures=(*others, BITS, CHRF_IN, CHRF_OUT, ACCURACY))
    assert requested_measure(table, LANGUAGES, **named) == meant


def test_several_benchmarks_without_a_rule_are_listed() -> None:
    table = many(measures=(Measure("xnli", "", "sound", "accuracy"), Measure("belebele", "", "sound", "accuracy")))
    with pytest.raises(UserError, match=r"several measures fit.*belebele sound accuracy"):
        requested_measure(table, LANGUAGES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("zulu", "no such language; did you mean zul_Latn?"),
        ("zul_Latn,Xhosa", "--for Xhosa: no such language; did you mean xho_Latn?"),
        ("tha_Thai", "no run was scored in Thai; scored: zul_Latn, xho_Latn"),
        ("qqq", "no such language; scored"),
        (",", "name one language or several"),
    ],
)
def test_a_language_nobody_was_scored_in_is_an_error_that_helps(words: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        requested_languages(many(), words)
    assert said in str(caught.value)


def test_a_measure_nobody_was_scored_in_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(UserError, match=r"--metric chrf: not scored in Zulu, Xhosa; did you mean 'chrf\+\+'"):
        requested_measure(many(), LANGUAGES, metric="chrf")
    with pytest.raises(UserError, match="not scored together"):
        requested_measure(many(), LANGUAGES, task="bpb", metric="accuracy")


def test_the_command_says_what_to_use_how_sure_that_is_and_that_it_is_toy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(
        tmp_path / "s",
        {"L3-Bi-Alt-1": right_answers(40), "L3-Mono-Alt-1": right_answers(37), "L3-Base-1": right_answers(0)},
    )
    write_run(tmp_path / "s", "L3-Bi-Sel-1")
    with pytest.raises(SystemExit) as ended:
        main(["--runs", str(tmp_path), "best", "s", "--for", ",".join(LANGUAGES)])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert said.startswith("TOY")
    assert "Use L3-Bi-Alt for Zulu, Xhosa: SIB-200 accuracy 70.0 % (95 % " in said
    assert "n = 200 in each), 20.0 above its base L3-Base" in said
    assert "Not distinguishable from it with 95 % confidence (corrected for 3 candidates): L3-Mono-Alt." in said
    assert "Each mix was trained once" in said
    assert "Left out, not finished: 1 of the study's runs" in said
    with pytest.raises(SystemExit) as ended:
        main(["--runs", str(tmp_path), "best", "s", "--for", "zul_Latn", "--model", "l2"])
    assert ended.value.code == 2
    assert "known: l3" in capsys.readouterr().err


def test_the_help_tells_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["best", "--help"])
    assert ", ".join(TASKS_FIRST) in " ".join(capsys.readouterr().out.split())


def test_lines_are_reckoned_anew_only_where_scores_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = {"L3-Bi-Alt-1": right_answers(40), "L3-Base-1": right_answers(0)}
    study = write_study(tmp_path / "s", studies)
    assert best_lines.BEST.write(study, StudyResults.read(study).best) == study / "best.csv"
    found = best_lines.BEST.read(study)
    assert found[["model", "language", "run", "candidates", "n"]].to_numpy().tolist() == [
        ["l3", code, "L3-Bi-Alt", 2, 200] for code in sorted(LANGUAGES)
    ]
    assert found["value"].tolist() == [0.7, 0.7]
    assert (found["share"] > 0.99).all()
    assert (found["held"] == "").all()
    anew: list[object] = []
    monkeypatch.setattr(best_lines, "best_of", lambda *given, **named: anew.append(given[1]))
    table = read_table(study)
    again = best_lines.best_lines(table, study, found)
    pd.testing.assert_frame_equal(again, found)
    assert anew == []
    table.loc[(table["language"] == "xho_Latn") & (table["data"] == "bi"), "value"] = 0.1
    best_lines.best_lines(table, study, found)
    assert anew == [["xho_Latn"]]

"""Prompts and shots word for word, intervals on known values, and evaluations that go on where they stopped."""

import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpt.config import BenchmarkConfig
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.evals import flores200, sib200
from cpt.evals.benchmark import Unit
from cpt.evals.bootstrap import interval, ratio
from cpt.evals.suite import FOLDERS, Suite, evaluate, known_scores
from cpt.files import read_lines


def test_the_sib_prompt_is_the_studys_up_to_is() -> None:
    shots = [("a b", "travel"), ("c", "sports"), ("d", "health")]
    assert sib200.prompt(shots, "e f") == (
        "Topic Classification: science/technology, travel, politics, sports, health, entertainment, geography.\n\n"
        'The topic of the news "a b" is travel\n'
        'The topic of the news "c" is sports\n'
        'The topic of the news "d" is health\n'
        'The topic of the news "e f" is'
    )


def test_sib_shots_are_drawn_as_the_study_draws_them() -> None:
    train = pd.DataFrame({"text": [f"t{i}" for i in range(50)], "category": ["travel"] * 50})
    random.seed(42)
    seeds = [random.randint(0, 1000) for _ in range(5)]
    expected = [list(train.sample(n=3, random_state=seed)["text"]) for seed in seeds]
    assert [[text for text, _ in shots] for shots in sib200.draw_shots(train, 5, 3)] == expected


def test_the_flores_prompt_is_the_studys() -> None:
    shots = [("one", "ukunye"), ("two", "kubili"), ("three", "kuthathu")]
    assert flores200.prompt(("English", "Zulu"), shots, "four") == (
        "[English]: one\n[Zulu]: ukunye\n[English]: two\n[Zulu]: kubili\n[English]: three\n[Zulu]: kuthathu\n"
        "Translate the following sentence from English to Zulu\n[English]: four\n[Zulu]:"
    )


def test_flores_shots_are_drawn_as_the_study_draws_them() -> None:
    random.seed(42)
    seeds = [random.randint(0, 1000) for _ in range(4)]
    expected = []
    for seed in seeds:
        random.seed(seed)
        expected.append([random.randint(0, 996) for _ in range(3)])
    assert flores200.draw_shots(997, 4, 3) == expected


def test_sib_files_are_read_as_written_and_bad_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text('index_id\tcategory\ttext\n1\ttravel\t"a ""b"" c\nd"\n2\tsports\tNA\n')
    assert list(sib200.read_split(path)["text"]) == ['a "b" c\nd', "NA"]
    path.write_text("index_id\tcategory\ttext\n1\tcooking\tx\n")
    with pytest.raises(UserError, match=r"test\.tsv: category 'cooking' is not one of the seven"):
        sib200.read_split(path)
    path.write_text("id\ttext\n1\tx\n")
    with pytest.raises(UserError, match="columns category, index_id are missing"):
        sib200.read_split(path)


def test_an_interval_of_a_proportion_is_near_its_known_width() -> None:
    right = np.array([1.0] * 60 + [0.0] * 40)
    low, high = interval(np.stack([right, np.ones(100)], axis=1), ratio, samples=4000)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 100)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.015)
    assert interval(np.ones((10, 2)), ratio, samples=100) == (1.0, 1.0)


class Counting:
    """Counts how often a benchmark is asked for a score, and stops like a killed process after some."""

    def __init__(self, suite: Suite, stop_after: int) -> None:
        self.left, self.asked = stop_after, 0
        for benchmark in suite.benchmarks.values():
            original = benchmark.score
            benchmark.score = lambda unit, scorer, original=original: self._score(original, unit, scorer)  # type: ignore[method-assign]

    def _score(self, original, unit, scorer):
        if self.asked == self.left:
            raise KeyboardInterrupt
        self.asked += 1
        return original(unit, scorer)


def suite_of(folder: Path) -> Suite:
    settings = {name: BenchmarkConfig(["sound"] if name != "bpb" else [], 3, None, 8) for name in FOLDERS}
    return Suite.of(settings, {name: folder / where for name, where in FOLDERS.items()}, bootstrap=100)


@pytest.fixture
def scorer(world: ToyWorld):
    import torch
    from transformers import LlamaForCausalLM

    from cpt.evals.scorer import Scorer
    from cpt.models.base import BaseModel
    from cpt.models.toy import STAND_INS, architecture

    torch.manual_seed(0)
    model = LlamaForCausalLM(architecture(STAND_INS["l3"]))
    return Scorer(model, BaseModel("toy:l3", "main", world).tokenizer(), "cpu")


def test_a_killed_evaluation_goes_on_at_the_unit_where_it_stopped(world: ToyWorld, scorer, tmp_path: Path) -> None:
    world.benchmarks()
    languages = ["eng_Latn", "zul_Latn"]
    straight, broken = tmp_path / "straight.jsonl", tmp_path / "broken.jsonl"
    evaluate(suite_of(world.folder), languages, lambda: scorer, straight, lambda done, of: None)
    units = 3 + 2 + 2  # bits per byte with code, SIB-200, FLORES-200 both ways

    killed = suite_of(world.folder)
    Counting(killed, 3)
    with pytest.raises(KeyboardInterrupt):
        evaluate(killed, languages, lambda: scorer, broken, lambda done, of: None)
    with broken.open("a") as file:
        file.write('{"key": "torn')  # what a kill leaves of a line
    rest = suite_of(world.folder)
    counting = Counting(rest, 99)
    evaluate(rest, languages, lambda: scorer, broken, lambda done, of: None)
    assert counting.asked == units - 3
    assert read_lines(broken) == read_lines(straight)
    again = suite_of(world.folder)
    counting = Counting(again, 0)
    evaluate(again, languages, lambda: pytest.fail("no model is needed"), broken, lambda done, of: None)
    assert counting.asked == 0


def test_scores_carry_n_and_an_interval(world: ToyWorld, scorer, tmp_path: Path) -> None:
    world.benchmarks()
    suite = suite_of(world.folder)
    evaluate(suite, ["eng_Latn", "zho_Hans"], lambda: scorer, tmp_path / "evals.jsonl", lambda done, of: None)
    scores = [score for found in known_scores(tmp_path / "evals.jsonl").values() for score in found]
    assert {score.metric for score in scores} == {"bits_per_byte", "accuracy", "chrf++", "bleu"}
    assert all(score.ci_low <= score.value <= score.ci_high for score in scores)
    assert {score.n for score in scores} == {4, 14, 8}
    signatures = {score.signature for score in scores if score.metric == "bleu"}
    assert any("tok:zh" in signature for signature in signatures)
    assert any("tok:13a" in signature for signature in signatures)


def test_a_language_without_files_is_left_out_and_a_changed_file_is_scored_anew(
    world: ToyWorld, tmp_path: Path
) -> None:
    world.benchmarks()
    shutil.copytree(world.folder, tmp_path / "copy")
    (tmp_path / "copy/sib200/zul_Latn/test.tsv").unlink()
    suite = suite_of(tmp_path / "copy")
    there, missing = suite.units(["eng_Latn", "zul_Latn"])
    assert missing == [Unit("sib200", "zul_Latn", "", "sound")]
    assert len(there) == 6
    unit = Unit("bpb", "eng_Latn", "", "")
    before = suite.key(unit)
    with (tmp_path / "copy/heldout/eng_Latn.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    assert suite_of(tmp_path / "copy").key(unit) != before

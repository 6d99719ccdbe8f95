"""What makes another run, and what does not."""

from collections.abc import Callable

import pytest

from cpt.config import StudyConfig
from cpt.study.state.run import Run

Compose = Callable[..., list[StudyConfig]]


@pytest.mark.parametrize(
    "argument",
    [
        "train.lr=1e-3",
        "train.epochs=1",
        "train.global_batch=8",
        "train.precision=bf16",
        "schedule=constant",
        "schedule.epochs=4",
        "seed=2",
        "model=l2",
        "data=bi",
        "code=true",
        "langcat=sel",
        "lang_category.words.zul_Latn=5",
        "mixing.budget_factor=1e-4",
        "model.path=toy:v7",
    ],
)
def test_another_experiment_is_another_run(compose: Compose, argument: str) -> None:
    [one], [two] = compose(), compose(argument)
    assert Run(one).run_id != Run(two).run_id


@pytest.mark.parametrize(
    "argument",
    [
        "train.save_every=7",
        "hardware.micro_batch=2",
        "hardware.threads=2",
        "tracking=none",
        "paths.runs=elsewhere",
        "study=other",
        "evals=[bpb]",
        "evals.benchmarks.sib200.shots=1",
    ],
)
def test_where_and_how_it_is_measured_is_not(compose: Compose, argument: str) -> None:
    [one], [two] = compose(), compose(argument)
    assert Run(one).run_id == Run(two).run_id


def test_another_benchmark_changes_only_the_evaluate_key(compose: Compose, tmp_path) -> None:
    [one] = compose(f"paths.cache={tmp_path}")
    [two] = compose(f"paths.cache={tmp_path}", "evals=[bpb]")
    Run(one).world.benchmarks()
    assert Run(one).train_key == Run(two).train_key
    assert Run(one).evaluate_key != Run(two).evaluate_key


def test_content_of_a_corpus_is_part_of_the_run(compose: Compose, tmp_path) -> None:
    [config] = compose("langcat=alt", "corpora=folder", f"paths.corpora={tmp_path}", "dry_run=true")
    for code in config.lang_category.words:
        path = tmp_path / "monolingual" / f"{code}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"text": "a b c"}\n')
    before = Run(config).run_id
    (tmp_path / "monolingual/zul_Latn.jsonl").write_text('{"text": "a b d e"}\n')
    assert Run(config).run_id != before

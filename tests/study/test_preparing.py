"""What runs are trained on: amounts by every kind of mixing, from shards that all runs of a study share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpt.config import StudyConfig
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.files import read_json
from cpt.processes import WorkerPool
from cpt.study.data.prepare_run import prepare_runs
from cpt.study.data.prepare_study import data_rows
from cpt.study.plan.matched_arms import by_language, matched_lines, unmatched
from cpt.study.plan.run_estimates import estimate_run
from cpt.study.state.run import Run
from cpt.tokens.prepare_shards import Preparation
from cpt.tokens.sequences import Sequences
from cpt.tokens.shards import ShardMaker

Compose = Callable[..., list[StudyConfig]]
Prepared = Callable[..., tuple[list[Run], list[Sequences]]]


@pytest.fixture
def prepared(compose: Compose, cache: Path, tmp_path: Path) -> Prepared:
    """Runs of these arguments with their data on disk, made in this process."""

    def made(*arguments: str) -> tuple[list[Run], list[Sequences]]:
        runs = [Run(config) for config in compose(*arguments, f"paths.cache={cache}", f"paths.runs={tmp_path}")]
        return runs, prepare_runs(runs, Preparation(cache))

    return made


def facts(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(run.files.marker("prepare"))["sources"]
    return found


def words(run: Run) -> dict[str, int]:
    return {fact["source"]: fact["words"] for fact in facts(run)}


def test_explicit_budgets_are_met_to_the_word_and_mono_and_bi_are_matched(prepared: Prepared) -> None:
    runs, _ = prepared("-m", "data=mono,bi", "langcat=alt,stag", "corpora.matched=false")
    for run in runs:
        for fact in facts(run):
            short = fact["source"] == "mono/wol_Latn"
            if run.config.data_mix.name == "mono":
                assert fact["words"] == pytest.approx(fact["budget"], abs=1) or short
    by = {(run.config.data_mix.name, run.config.lang_category.name): by_language(run) for run in runs}
    assert unmatched(by["mono", "alt"], by["bi", "alt"], 0.35) == [], "pairs share their words as they come"
    assert sum(by["mono", "alt"].values()) == pytest.approx(sum(by["bi", "alt"].values()), rel=0.01)
    told = matched_lines(runs, {run.run_id: estimate_run(run).planned_steps for run in runs})
    assert [line.split(":")[0] for line in told] == ["alt", "stag"]
    assert all("in L3's tokens and steps mono has " in line for line in told)
    stag = next(run for run in runs if run.name == "L3-Mono-Stag")
    assert "mono/wol_Latn" in estimate_run(stag).short


def test_mono_takes_what_bi_holds_where_they_are_matched(prepared: Prepared) -> None:
    runs, _ = prepared("-m", "data=mono,bi", "langcat=alt,stag", "corpora.matched=true")
    by = {(run.config.data_mix.name, run.config.lang_category.name): by_language(run) for run in runs}
    assert unmatched(by["mono", "alt"], by["bi", "alt"], 0.001) == []
    assert unmatched(by["mono", "stag"], by["bi", "stag"], 0.001) == ["wol_Latn"], "there is no more Wolof"
    alone, _ = prepared("data=mono", "langcat=alt", "corpora.matched=true")
    assert by_language(alone[0]) == by["mono", "alt"], "whatever else is launched"


def test_documents_are_the_same_for_every_model(prepared: Prepared) -> None:
    runs, _ = prepared("-m", "model=l3,l2,v7", "data=bi", "code=true")
    amounts = [{(fact["source"], fact["language"]): fact["words"] for fact in facts(run)} for run in runs]
    assert amounts[0] == amounts[1] == amounts[2]
    tokens = [sum(fact["tokens"] for fact in facts(run)) for run in runs]
    assert len(set(tokens)) == 3, "tokens are each model's own"
    code = [next(fact["tokens"] for fact in facts(run) if fact["source"] == "code") for run in runs]
    assert code[0] == pytest.approx(10_000, abs=1), "counted by the tokenizer that is named"


def test_a_source_that_is_short_is_repeated_up_to_the_cap_where_asked(prepared: Prepared) -> None:
    runs, [mix] = prepared("langcat=stag", "mixing.short=repeat", "mixing.max_epochs=6")
    wolof = next(fact for fact in facts(runs[0]) if fact["source"] == "mono/wol_Latn")
    there = wolof["available"]
    assert wolof["words"] == pytest.approx(min(wolof["budget"], 3 * there), abs=1)
    assert wolof["epochs"] == pytest.approx(wolof["words"] / there, abs=0.02)
    assert f"read {wolof['epochs']:.1f} times an epoch" in estimate_run(runs[0]).short
    seen = mix.seen(mix.steps(1, 1))["mono/wol_Latn", "wol_Latn"]
    assert seen["tokens_seen"] == pytest.approx(wolof["epochs"] * seen["tokens_unique"], rel=0.05)
    assert wolof["epochs"] > 1.2


@pytest.mark.parametrize(
    ("kind", "more"), [("unimax", []), ("proportional", []), ("temperature", ["mixing.temperature=2"])]
)
def test_a_total_is_shared_out(prepared: Prepared, kind: str, more: list[str]) -> None:
    runs, [mix] = prepared(f"mixing={kind}", "mixing.total=6000", "langcat=stag", *more)
    taken = words(runs[0])
    assert sum(taken.values()) == pytest.approx(6_000, abs=3)
    there = {fact["source"]: fact["available"] for fact in facts(runs[0])}
    cap = runs[0].config.mixing.max_epochs / runs[0].config.train.epochs
    assert taken["mono/wol_Latn"] <= cap * there["mono/wol_Latn"] + 1
    others = [source for source in taken if source != "mono/wol_Latn"]
    if kind == "unimax":
        assert max(taken[s] for s in others) - min(taken[s] for s in others) <= 1
    else:
        power = 1 if kind == "proportional" else 1 / 2
        ratios = [taken[s] / there[s] ** power for s in others]
        assert max(ratios) == pytest.approx(min(ratios), rel=0.01)
    sequences = -(-mix.epoch_tokens // mix.length)
    tokens = {fact["source"]: fact["tokens"] for fact in facts(runs[0])}
    seen = mix.seen(sequences)
    for (source, _), amounts in seen.items():
        assert abs(amounts["tokens_seen"] - tokens[source]) <= mix.length, "realised within one sequence of declared"


def test_a_total_of_tokens_is_counted_by_the_tokenizer_that_is_named(prepared: Prepared) -> None:
    unit = ["mixing.unit=tokens", "mixing.tokenizer=toy:l2", "mixing.total=9000", "mixing.replay.share=0.1"]
    runs, _ = prepared("-m", "model=l3,l2", "mixing=unimax", "langcat=alt", *unit)
    l3, l2 = (facts(run) for run in runs)
    assert [fact["words"] for fact in l3] == [fact["words"] for fact in l2], "the same text for every model"
    tokens = [fact["tokens"] for fact in l2 if fact["role"] == "language"]
    assert sum(tokens) == pytest.approx(9_000, abs=6)
    assert max(tokens) - min(tokens) <= 2
    assert sum(fact["tokens"] for fact in l2) == pytest.approx(10_000, abs=8)


def test_shares_of_code_and_replay_are_of_the_whole(prepared: Prepared) -> None:
    runs, _ = prepared("code=true", "mixing.code.share=0.2", "mixing.replay.share=0.1")
    taken = words(runs[0])
    replay, code, total = taken["general/eng_Latn"], taken["code"], sum(taken.values())
    assert replay / total == pytest.approx(0.1, abs=0.001)
    assert code / (total - replay) == pytest.approx(0.2, abs=0.001)


def test_stages_change_the_mix_where_they_say(prepared: Prepared) -> None:
    stages = "mixing.stages=[{until:0.5,factors:{eng_Latn:0}},{until:1,factors:{eng_Latn:2,code:0}}]"
    runs, [mix] = prepared("code=true", stages)
    train = runs[0].config.train
    half = mix.steps(train.epochs, 1) // 2
    early, late = mix.seen(half), mix.seen(2 * half)
    assert early["mono/eng_Latn", "eng_Latn"]["tokens_seen"] == 0
    assert late["mono/eng_Latn", "eng_Latn"]["tokens_seen"] > 0
    code = early["code", "code"]["tokens_seen"]
    assert code > 0
    assert late["code", "code"]["tokens_seen"] == pytest.approx(code, abs=mix.length)
    again = prepared("code=true", stages)[1][0]
    assert (again.batch(half - 1, 3).inputs == mix.batch(half - 1, 3).inputs).all()


def test_stages_that_read_a_source_too_often_are_refused(prepared: Prepared) -> None:
    with pytest.raises(UserError, match=r"mixing\.stages=1 stages: they read mono/khm_Khmr .* times, more than"):
        prepared("mixing.stages=[{until:1,factors:{khm_Khmr:20}}]")


def test_each_source_is_tokenised_once_for_a_whole_study(
    compose: Compose, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = ["model=l3,l2", "data=mono,bi", "code=true,false", "langcat=alt,sel"]
    configs = compose("-m", *axes, f"paths.cache={tmp_path / 'cache'}", f"paths.runs={tmp_path}")
    runs, made, grow = [Run(config) for config in configs], [], ShardMaker._grow

    def noted(self: ShardMaker, *rest: Any) -> None:
        made.append(self.folder.name)
        grow(self, *rest)

    monkeypatch.setattr(ShardMaker, "_grow", noted)
    prepare_runs(runs, Preparation(tmp_path / "cache"))
    wanted = {(item.source.name, run.config.model.name) for run in runs for item in run.recipe}
    assert len(made) == len(set(made)) == len(wanted)
    assert len(list(data_rows(runs[0].folder.parent))) == sum(len(facts(run)) for run in runs)


def test_processes_make_what_one_makes(compose: Compose, tmp_path: Path) -> None:
    made = {}
    for processes in (0, 2):
        cache = tmp_path / f"cache{processes}"
        [config] = compose("data=bi", f"paths.cache={cache}", f"paths.runs={tmp_path / str(processes)}")
        with WorkerPool(processes) as pool:
            [mix] = prepare_runs([Run(config)], Preparation(cache, pool))
        made[processes] = {path.relative_to(cache): path.read_bytes() for path in cache.glob("shards/*/*.bin")}
        assert mix.batch(0, 2).inputs.shape == (2, config.train.sequence_length)
    assert made[0] == made[2]


def test_packing_joined_is_another_run(prepared: Prepared) -> None:
    runs, mixes = prepared("-m", "train.packing=masked,joined")
    assert runs[0].run_id != runs[1].run_id
    assert read_json(runs[0].files.marker("prepare"))["packing"] == {"padded": 0, "dropped": 0, "overwritten": 0}
    assert 0 < read_json(runs[1].files.marker("prepare"))["packing"]["dropped"] < 0.1
    assert mixes[1].batch(0, 1).documents.max() == 0


CLEANING = ["cleaning=sound", "~cleaning.steps.near"]


def test_cleaning_counts_what_it_removes_and_test_text_is_not_trained_on(compose: Compose, tmp_path: Path) -> None:
    """Duplicates, a document in another language and one with a test sentence, in a corpus of one's own."""
    toy = ToyWorld(tmp_path / "cache")
    toy.benchmarks()
    folder = tmp_path / "corpora" / "monolingual"
    folder.mkdir(parents=True)
    [config] = compose("langcat=alt", "dry_run=true")
    for code in config.lang_category.words:
        lines = toy.file(f"monolingual/{code}.jsonl").read_text(encoding="utf-8").splitlines()[:200]
        if code == "zul_Latn":
            tested = (toy.folder / "flores200/devtest/zul_Latn.devtest").read_text(encoding="utf-8").splitlines()
            longest = max(tested, key=lambda line: len(line.split()))
            german = toy.file("monolingual/deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()[0]
            planted = longest + " " + json.loads(lines[5])["text"]
            lines = [lines[0], *lines, german, json.dumps({"text": planted})]
        (folder / f"{code}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    [config] = compose(
        "corpora=folder",
        f"paths.corpora={tmp_path / 'corpora'}",
        *CLEANING,
        "cleaning.steps.contamination.n=5",
        "mixing.budget_factor=1.0e-5",
        f"paths.cache={tmp_path / 'cache'}",
        f"paths.runs={tmp_path / 'runs'}",
    )
    run = Run(config)
    preparation = Preparation(tmp_path / "cache")
    prepare_runs([run], preparation)
    zulu = next(item.source for item in run.recipe if item.source.name == "mono/zul_Latn")
    text = preparation.text(zulu)
    assert text is not None
    report = read_json(text.folder / "marker.json")["cleaning"]
    removed = {step: counts["removed"] for step, counts in report["steps"].items() if counts["removed"]}
    assert removed["exact"]["exact duplicate"]["records"] >= 1
    assert removed["contamination"]["test set overlap"]["records"] >= 1
    assert any(longest[:40] in sample["text"] for sample in report["steps"]["contamination"]["samples"])
    assert report["read"]["records"] == 203
    assert "held-out" in run.cleaning_setup.accuracy_note()

"""The data of a study's arms side by side, and whether mono and bi are matched per language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from cpt.config import StudyConfig
from cpt.files import read_json
from cpt.study.state.run import Run

Facts = list[dict[str, Any]]


def arm_of(config: StudyConfig) -> str:
    return f"{config.data_mix.label}{'+Code' if config.code else ''}-{config.lang_category.label}"


def print_sources(runs: list[Run], console: Console) -> None:
    """Print the sources of every arm with each model's tokens, and the losses of packing."""
    arms: dict[str, dict[str, Run]] = {}
    for run in runs:
        arms.setdefault(arm_of(run.config), {}).setdefault(run.config.model.label, run)
    models = list(dict.fromkeys(run.config.model.label for run in runs))
    console.print(sources_table(arms, models))
    for packing in dict.fromkeys(run.config.train.packing for run in runs):
        losses = [_packing(run) for run in runs if run.config.train.packing == packing]
        for stages in {str(run.config.mixing.stages): run.config.mixing.stages for run in runs}.values():
            for stage in stages:
                factors = ", ".join(f"{name} × {factor:g}" for name, factor in stage.factors.items()) or "as it is"
                console.print(
                    f"Until {stage.until:.0%} of the training this mix is changed: {factors}", highlight=False
                )
        most = ", ".join(f"{max(shares[name] for shares in losses):.2%} {name}" for name in losses[0])
        console.print(f"Packing {packing}: of an epoch's tokens at most {most}.", highlight=False)


def _facts(run: Run) -> Facts:
    facts: Facts = read_json(run.files.marker("prepare"))["sources"]
    return facts


def _packing(run: Run) -> dict[str, float]:
    shares: dict[str, float] = read_json(run.files.marker("prepare"))["packing"]
    return shares


def sources_table(arms: dict[str, dict[str, Run]], models: list[str]) -> Table:
    """An arm with code shares its language rows with the arm without code."""
    table = Table(title="Data: what an epoch takes", title_justify="left")
    for name in ("arm", "source", "language"):
        table.add_column(name, no_wrap=True)
    for name in ("available", "words", "share", "epochs", *(f"tokens {model}" for model in models)):
        table.add_column(name, justify="right", no_wrap=True)
    shown: set[tuple[Any, ...]] = set()
    for arm, runs in arms.items():
        facts = _facts(next(iter(runs.values())))
        total = sum(fact["words"] for fact in facts)
        for index, fact in enumerate(facts):
            mine = arm.replace("+Code", "") if fact["role"] == "language" else arm
            key = (mine, fact["source"], fact["language"], fact["words"])
            if key in shown:
                continue
            shown.add(key)
            tokens = [f"{_facts(runs[model])[index]['tokens']:,}" if model in runs else "" for model in models]
            available = "more" if fact["available"] is None else f"{fact['available']:,}"
            epochs = "<1" if fact["epochs"] is None else f"{fact['epochs']:.2f}"
            share = f"{fact['words'] / total:.1%}"
            table.add_row(
                arm, fact["source"], fact["language"], available, f"{fact['words']:,}", share, epochs, *tokens
            )
    return table


def by_language(run: Run) -> dict[str, int]:
    """Words of an epoch by language, without code and replay: counted if prepared, else planned."""
    words: dict[str, int] = {}
    if run.state.done("prepare"):
        for fact in _facts(run):
            if fact["role"] == "language":
                words[fact["language"]] = words.get(fact["language"], 0) + fact["words"]
        return words
    for item in run.recipe:
        if item.role == "language":
            for code, amount in item.budget_by_language.items():
                words[code] = words.get(code, 0) + amount
    return words


def unmatched(mono: dict[str, int], bi: dict[str, int], tolerance: float) -> list[str]:
    """Languages whose amounts differ between two arms by more than a share of the larger."""
    codes = {**mono, **bi}
    return [
        code
        for code in codes
        if abs(mono.get(code, 0) - bi.get(code, 0)) > tolerance * max(mono.get(code, 0), bi.get(code, 0))
    ]


TOLERANCE = 0.01


def matched_lines(runs: Iterable[Run], steps: dict[str, int]) -> list[str]:
    """Whether mono and bi are matched in words, and their ratio in each model's tokens and steps; `steps` by run id."""
    arms: dict[tuple[str, bool, str], dict[str, Run]] = {}
    for run in runs:
        key = (run.config.lang_category.name, run.config.code, run.config.model.label)
        arms.setdefault(key, {}).setdefault(run.config.data_mix.name, run)
    lines: dict[str, str] = {}
    for (category, code, model), pair in arms.items():
        if set(pair) != {"mono", "bi"} or (code and (category, False, model) in arms):
            continue
        if any(run.config.mixing.kind != "explicit" for run in pair.values()):
            continue  # a total is divided in each arm by what its sources hold
        mono, bi = pair["mono"], pair["bi"]
        if category not in lines:
            lines[category] = _words_line(category, by_language(mono), by_language(bi), mono.config.corpora.matched)
        ratio = steps[mono.run_id] / steps[bi.run_id]
        lines[category] += f"; in {model}'s tokens and steps mono has {ratio:.2f} times as many"
    return list(lines.values())


def _words_line(category: str, mono: dict[str, int], bi: dict[str, int], matched: bool) -> str:
    totals = f"{sum(mono.values()):,} and {sum(bi.values()):,} words"
    if differing := unmatched(mono, bi, TOLERANCE):
        listed = ", ".join(f"{code} {mono.get(code, 0):,} and {bi.get(code, 0):,}" for code in differing)
        how = "" if matched else " (corpora.matched=true gives mono what bi takes)"
        return f"{category}: mono and bi ({totals}) are matched per language in words but for {listed}{how}"
    return f"{category}: mono and bi ({totals}) are matched per language in words"

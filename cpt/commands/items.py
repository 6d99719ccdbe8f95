"""`cpt items`: prints prompts and answers of a run, to see what is behind a score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from cpt.commands.arguments import RunName, runs_of
from cpt.console import make_console
from cpt.evals.benchmark import Item
from cpt.evals.benchmarks.bpb import bits_per_byte
from cpt.evals.questions import Choice, Continuation, Likelihood, NextToken
from cpt.study.state.evaluated_run import EvaluatedRun, chosen, find_run

PROMPT = 400
"""Characters shown of a prompt, from its end; examples come before."""
RANKED = 3
"""How many of the ranked endings are shown."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_items(evaluated: EvaluatedRun, console: Console, n: int, **wanted: str | None) -> int:
    """Print the first items of every selected unit."""
    for unit in chosen(evaluated.units, **wanted):
        answered = (evaluated.items(unit, key) for key in reversed(evaluated.keys(unit)))
        items = next(filter(None, answered), [])
        title = f"{evaluated.run_id}: {unit.title}, {min(n, len(items)):,} of {len(items):,} items"
        console.print(Text(title if items else f"{evaluated.run_id}: {unit.title}, no saved answers", style="bold"))
        for number, item in enumerate(items[:n]):
            console.print(Text(f"item {number}", style="dim"))
            for name, text in shown(item):
                console.print(Text(f"  {name:<10}{_printable(text)}"), soft_wrap=True)
    return 0


def shown(item: Item) -> Iterator[tuple[str, str]]:
    """What is shown of an item, by name: the end of its prompt, its facts, and the answer."""
    request = item.request
    prompt = request.text if isinstance(request, Likelihood) else request.prompt
    if isinstance(request, Likelihood):
        yield "text", f"{prompt[:PROMPT]}…" if len(prompt) > PROMPT else prompt
    else:
        yield "prompt", f"…{prompt[-PROMPT:]}" if len(prompt) > PROMPT else prompt
    for name, value in item.facts.items():
        yield name, str(value)
    yield "output" if isinstance(request, Continuation) else "answer", _answer(item)


def _answer(item: Item) -> str:
    request, answer = item.request, item.answer
    if isinstance(request, Likelihood):
        return f"{bits_per_byte(answer, len(request.text.encode())):.3f} bits per byte"
    if isinstance(request, Choice):
        return _ranked({ending: nats for ending, (nats, _) in zip(request.endings, answer, strict=True)}, "nats")
    if isinstance(request, NextToken):
        return _ranked(dict(zip(request.words, answer, strict=True)), "logit")
    return str(answer)


def _ranked(values: dict[str, Any], unit: str) -> str:
    """The best endings with their scores, the best first."""
    best = sorted(values.items(), key=lambda pair: -pair[1])[:RANKED]
    return ", ".join(f"{word.strip()} ({value:.2f} {unit})" for word, value in best)


def _printable(text: str) -> str:
    """Text with its lines indented and control characters replaced, which a model's output may contain."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.strip()).replace("\n", f"\n{'':<12}")


def command(
    ctx: typer.Context,
    run: RunName,
    task: Annotated[str, typer.Option(help="A benchmark.")],
    language: Annotated[str, typer.Option(help="A language.")],
    direction: Annotated[Literal["en-x", "x-en"] | None, typer.Option(help="Of a translation; none: both.")] = None,
    protocol: Annotated[str | None, typer.Option(help="How it was scored; none: all.")] = None,
    n: Annotated[int, typer.Option("--n", help="Number of items.")] = 5,
) -> int:
    """Questions of a benchmark with the answers of a run or base model."""
    wanted = {"task": task, "language": language, "direction": direction, "protocol": protocol}
    return show_items(find_run(runs_of(ctx), run), make_console(), n, **wanted)

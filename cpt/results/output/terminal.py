"""Print the comparison at the end of a study to a terminal or a log file."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpt.evals.rows import HIGHER_IS_BETTER
from cpt.results.analysis.conclusions import SAID
from cpt.results.analysis.study_results import StudyResults
from cpt.results.analysis.summary import MAIN, MeanColumn, benchmarks, columns, headline_protocols, missing_in, summary
from cpt.results.rows.banners import BANNERS
from cpt.results.rows.measures import METRICS, number
from cpt.results.rows.run_folders import labels


def print_comparison(results: StudyResults, console: Console) -> None:
    """Print the summary of all finished runs: a table in a terminal, aligned plain lines elsewhere."""
    if results.rows.empty:
        print_plain(console, f"{results.folder or results.name}: no finished run to compare")
        return
    print_summary(results.name, results.rows, results.summary, console, results.banner)


def print_table(name: str, rows: pd.DataFrame, console: Console, scale: str) -> None:
    """Print the summary of some rows of a study, below the banner of its scale."""
    print_summary(name, rows, summary(rows), console, BANNERS.get(scale, ""))


def print_summary(name: str, table: pd.DataFrame, summary_rows: pd.DataFrame, console: Console, banner: str) -> None:
    shown, others = columns(table), benchmarks(table)
    if banner:
        console.print(Text(banner, style="bold"), soft_wrap=True)
    # Tables of their own for further benchmarks: all side by side would be wider than any terminal.
    for part in ([column for column in shown if column not in others], others):
        if part:
            _print_means(console, f"{name}: means over languages", summary_rows, part)
    protocols = [f"{task} {protocol}" for task, protocol in headline_protocols(table).items() if protocol]
    if protocols:
        print_plain(console, f"protocols: {', '.join(protocols)}")
    if summary_rows["partial"].any():
        print_plain(console, "* lacks languages that other runs of its category have")


def print_answer(results: StudyResults, console: Console) -> None:
    """Print the conclusions in words; nothing if no effect can be estimated."""
    for answer in results.answers:
        print_plain(console, answer.question)
        for conclusion in answer.conclusions:
            sentences = [f"{SAID[verdict]}: {words}." for verdict, words in conclusion.verdicts.items()]
            print_plain(console, f"  {conclusion.choice}. {' '.join(sentences)}")


def _print_means(console: Console, title: str, summary_rows: pd.DataFrame, shown: list[MeanColumn]) -> None:
    heads = ["run", "category", *(_head(column) for column in shown)]
    print_words(console, title, heads, _lines(summary_rows, shown))


def print_words(console: Console, title: str, heads: list[str], lines: list[list[str]]) -> None:
    """Print a table whose first two columns are names: with borders in a terminal, as aligned lines elsewhere."""
    if console.is_terminal:
        grid = Table(title=title, title_justify="left")
        for index, head in enumerate(heads):
            grid.add_column(head, justify="left" if index < 2 else "right", no_wrap=index == 0)
        for line in lines:
            grid.add_row(*(Text(word) for word in line))
        console.print(grid)
    else:
        for words in _aligned([[head.replace("\n", " ") for head in heads], *lines]):
            print_plain(console, words)


def _head(column: MeanColumn) -> str:
    way = {"en-x": "\nen→x", "x-en": "\nx→en"}.get(column.direction or "", "")
    short = {"bits_per_byte": "bpb", "wrong_language": "wrong\nlang %"} | dict.fromkeys(MAIN, f"{column.task} %")
    label = short.get(column.metric, METRICS[column.metric].label)
    return f"{label}{way} {'↑' if HIGHER_IS_BETTER[column.metric] else '↓'}\n{column.group}"


def _lines(summary_rows: pd.DataFrame, shown: list[MeanColumn]) -> list[list[str]]:
    run_names = labels(summary_rows[["run", "run_id"]].itertuples(index=False, name=None))
    lines = []
    for row in summary_rows.to_dict("records"):
        scores = []
        for column in shown:
            metric = METRICS[column.metric]
            mark = "*" if missing_in(column, row["partial"]) else ""
            scores.append(number(row[column.name] * metric.factor, metric.digits) + mark)
        lines.append([run_names[row["run_id"]], row["langcat"], *scores])
    return lines


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(word.ljust(width) if index < 2 else word.rjust(width) for index, (word, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]


def print_plain(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)

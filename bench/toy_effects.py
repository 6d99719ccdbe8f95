"""Are the toy world's effects there? Read from a study's comparison, never from the training code.

    python bench/toy_effects.py runs/toy

The toy world is only worth having if what the study measures can be seen in it. Numbers here are toy numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from cpt.results.rows.table import read_comparison

RUN = ["model", "langcat", "seed"]


def main(study: Path) -> int:
    """Print each effect with its count; exit code 1 when one is missing."""
    table = read_comparison(study / "comparison.csv")
    base, runs = table[table["data"] == "base"], table[table["data"] != "base"]
    found = [learnt(runs, base), code_helps_code(runs), bitext_helps_translation(runs), topics_known(base)]
    for name, count, of, needed in found:
        print(f"{'ok ' if count >= needed else 'MISSING'} {name}: {count} of {of} (at least {needed})")
    return int(any(count < needed for _, count, _, needed in found))


Effect = tuple[str, int, int, int]


def learnt(runs: pd.DataFrame, base: pd.DataFrame) -> Effect:
    bpb = runs[(runs["metric"] == "bits_per_byte") & (runs["role"] == "train")]
    before = base[base["metric"] == "bits_per_byte"][["model", "langcat", "language", "value"]]
    both = bpb.merge(before, on=["model", "langcat", "language"], suffixes=("", "_base"))
    lower = (both["value"] < both["value_base"]).groupby(both["run_id"]).all()
    return "bits per byte of every trained language below the base's", int(lower.sum()), len(lower), len(lower)


def code_helps_code(runs: pd.DataFrame) -> Effect:
    bpb = runs[(runs["metric"] == "bits_per_byte") & (runs["role"] == "code")]
    pairs = bpb.pivot_table(index=[*RUN, "data"], columns="code", values="value").dropna()
    count = int((pairs[True] < pairs[False]).sum())
    return "bits per byte of code lower with code than without", count, len(pairs), len(pairs)


def bitext_helps_translation(runs: pd.DataFrame) -> Effect:
    chrf = runs[(runs["metric"] == "chrf++") & (runs["direction"] == "en-x") & (runs["role"] == "train")]
    means = chrf.groupby([*RUN, "code", "data"])["value"].mean().unstack("data").dropna()
    count = int((means["bi"] > means["mono"]).sum())
    return (
        "mean chrF++ of En→X over trained languages higher for bi than mono",
        count,
        len(means),
        len(means) * 15 // 18,
    )


def topics_known(base: pd.DataFrame) -> Effect:
    english = base[(base["metric"] == "accuracy") & (base["language"] == "eng_Latn")].drop_duplicates("model")
    count = int((english["ci_low"] > 2 / 7).sum())
    values = ", ".join(f"{row.model} {row.value:.2f}" for row in english.itertuples())
    return (
        f"base models classify toy English above twice chance, interval included ({values})",
        count,
        len(english),
        len(english),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")))

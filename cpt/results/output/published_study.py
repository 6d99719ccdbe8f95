"""Write the published numbers as a study of their own, with the same tables and report.

`comparison.csv` has all published values; those known to be odd are listed in `odd.csv` and left out of the report.
`change.csv` includes and marks them. Accuracy gets an interval from the share and the number of items; BLEU has none.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console

from cpt.errors import UserError
from cpt.evals.metrics.bootstrap import wilson
from cpt.evals.rows import COLUMNS
from cpt.results.analysis.change.against_base import GROUPS, OWNER, RUN, change_of_groups
from cpt.results.analysis.claims import tally
from cpt.results.analysis.effects.effects_table import EFFECTS
from cpt.results.analysis.study_results import StudyResults
from cpt.results.figures.save import FOLDER, write_plots
from cpt.results.output.terminal import print_answer, print_plain, print_summary
from cpt.results.report.page import REPORT, write_page
from cpt.results.rows.banners import PUBLISHED
from cpt.results.rows.published import ITEMS, SOURCE, read_published
from cpt.results.rows.schema import TABLE_NAMES
from cpt.results.rows.table import COMPARISON, MEASURE, in_order, in_study, write_csv

CHANGE, CATEGORIES, ODD = "change.csv", "categories.csv", "odd.csv"
PROVENANCE = {
    "Source": f"Li, Ji, Luo, Tiedemann: Rethinking Multilingual Continual Pretraining ({SOURCE}, COLM 2025), its "
    "tables of scores by language. Nothing here was trained or evaluated by this software.",
    "Seeds": "None are published: each run is one training.",
    "Intervals": "None are published. Those of accuracy are Wilson's, of the published share over "
    f"{ITEMS['sib200']} items; BLEU has none.",
    "Odd values": f"Listed in {ODD} with the reason; in no table of this report.",
}


def published_rows() -> pd.DataFrame:
    """All published values as a study's table, with `odd`, and intervals where they follow."""
    rows = in_order(read_published())
    shares = rows["metric"] == "accuracy"
    spans = [wilson(share, n) for share, n in zip(rows.loc[shares, "value"], rows.loc[shares, "n"], strict=True)]
    rows.loc[shares, "ci_low"], rows.loc[shares, "ci_high"] = ([span[side] for span in spans] for side in (0, 1))
    return in_study(rows, PUBLISHED, PUBLISHED)


def sound_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not odd, with the columns of any table."""
    return rows[rows["odd"] == ""][list(TABLE_NAMES)].reset_index(drop=True)


def group_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """The change of every run and group; `odd` is the reason why a value behind it is known to be odd, or empty."""
    changes = change_of_groups(rows)
    odd = rows[(rows["odd"] != "") & rows["role"].isin(GROUPS)]
    what = [*MEASURE, "role"]
    of_base, of_run = odd[odd["data"] == "base"], odd[odd["data"] != "base"]
    from_base = dict(zip(of_base[[*OWNER, *what]].itertuples(index=False, name=None), of_base["odd"], strict=True))
    from_run = dict(zip(of_run[["run_id", *what]].itertuples(index=False, name=None), of_run["odd"], strict=True))
    reasons = []
    for line in changes[[*RUN, *what]].to_dict("records"):
        measure = tuple(line[name] for name in what)
        own, base = from_run.get((line["run_id"], *measure)), from_base.get((line["model"], line["langcat"], *measure))
        reasons.append("; ".join(filter(None, [own, base])))
    return changes.assign(odd=pd.Series(reasons, dtype="str"))


def report_published(runs: Path, console: Console) -> None:
    """Write the published numbers as the study `published`, and print the summary and where the files are."""
    study = runs / PUBLISHED
    results = write_published(study)
    print_summary(study.name, results.rows, results.summary, console, results.banner)
    print_answer(results, console)
    console.print("What the categories claim of transfer, on SIB-200:", highlight=False)
    for sentence in tally(results.claims):
        console.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    written = {"Rows": COMPARISON, "Changes": CHANGE, "Claims": CATEGORIES, "Effects": EFFECTS.name, "Odd": ODD}
    for title, name in written.items():
        print_plain(console, f"{title}: {study / name}")
    print_plain(console, f"Report: {study / REPORT}")
    print_plain(console, f"Plots: {study / FOLDER}")


def write_published(study: Path) -> StudyResults:
    """Write the published numbers as a study in a folder of its own."""
    if (study / ".lock").exists():
        raise UserError(f"{study} is a study that was launched; say with --runs where the published one is to go")
    rows = published_rows()
    odd = rows["odd"] != ""
    sound = sound_rows(rows)
    write_csv(study / COMPARISON, rows)
    write_csv(study / CHANGE, group_changes(rows))
    results = StudyResults.of_rows(sound, rows[odd], "Published results of the study", PUBLISHED, PROVENANCE)
    write_csv(study / CATEGORIES, results.claims)
    EFFECTS.write(study, results.effects)
    write_csv(study / ODD, rows[odd][[*COLUMNS, "odd"]])
    write_page(results, study)
    write_plots(results, study)
    return results

"""The study's published numbers as result rows, to compare our studies with them.

Li, Ji, Luo, Tiedemann: Rethinking Multilingual Continual Pretraining (arXiv 2504.04152, COLM 2025), its tables by
language: SIB-200 accuracy, and FLORES-200 BLEU by sacrebleu with tokenize=flores200, which we call spBLEU. Each of
the three tables, one per language category, also has the three untouched models. Intervals, seeds, and English of the
stagnant runs were not published. Values known to be odd are marked in `odd` and never used as a target.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cpt.evals.rows import COLUMNS, EN_X, SCHEMA
from cpt.results.rows.table import DTYPES

SOURCE = "arXiv 2504.04152"
PROTOCOL = "paper"
FACTS = Path(__file__).with_name("published.csv")
ITEMS = {"sib200": 204, "flores200": 1012}
"""Test items of a language, all of which the study used."""
ROUNDING = {"accuracy": 0.00005, "spbleu": 0.005}
"""The most that the published digits can be off by rounding alone."""
OUT_OF_LINE = (
    "En→X of untouched Llama 3.1 8B is out of line across rows in all three tables, as if permuted: Zulu 26.2 and "
    "Bambara 22.5 beside Russian 4.0 and Danish 1.4"
)
LIKE_ITS_TWIN = (
    "FLORES-200 of L2-Bi-Alt is within 1.7 of L2-Mono-Alt in every language, where X→En of every other bilingual run "
    "from Llama 2 or 3.1 has a mean more than a quarter below its monolingual twin's"
)


def read_published() -> pd.DataFrame:
    """The 1,785 published values with the columns of a row, and `odd`: why a value is no target, or empty."""
    # An empty direction is a value, so pandas' default list of missing values is switched off.
    facts = pd.read_csv(FACTS, dtype="str", keep_default_na=False)
    facts["code"] = facts["code"] == "true"
    facts["run"] = _names(facts)
    facts["run_id"] = facts["run"]
    facts["seed"] = None
    facts["protocol"] = PROTOCOL
    facts["n"] = facts["task"].map(ITEMS)
    facts["ci_low"] = facts["ci_high"] = float("nan")
    facts["signature"], facts["schema"] = "", SCHEMA
    rows = facts[list(COLUMNS)].astype(DTYPES)
    rows["odd"] = _odd(rows)
    return rows


def _names(facts: pd.DataFrame) -> pd.Series[str]:
    code = facts["code"].map({True: "+Code", False: ""})
    category = ("-" + facts["langcat"].str.title()).where(facts["data"] != "base", "")
    return facts["model"].str.upper() + "-" + facts["data"].str.title() + code + category


def _odd(rows: pd.DataFrame) -> pd.Series[str]:
    reasons = pd.Series("", index=rows.index, dtype="str")
    base = (rows["model"] == "l3") & (rows["data"] == "base")
    reasons[base & (rows["task"] == "flores200") & (rows["direction"] == EN_X)] = OUT_OF_LINE
    reasons[(rows["run"] == "L2-Bi-Alt") & (rows["task"] == "flores200")] = LIKE_ITS_TWIN
    return reasons
